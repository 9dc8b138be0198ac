"""Several models, one latent (AMDM): one model gains what another one controls."""
from __future__ import annotations

import numpy as np

from bench.detector import detect
from bench.scores import placed
from minihost.client import Host
from minihost.demo.checkpoints import ALONE, HALVES, PROMPTS, SEED, compared, counted
from minihost.demo.drawing import draw, of, seen
from minihost.demo.page import Frame, Row, Section, Shot
from minihost.shapes import world

MIXED = 16


def beside(plan: dict, **main: str) -> dict:
    """A model with this plan of its own beside the main one."""
    return {**main, "amdm": {"steps": MIXED, "models": [{"plan": plan}]}}


def specialists(on: Host) -> Section:
    about = f"""<code>shapes-a</code> has forgotten what words of colours mean, <code>shapes-b</code> what words of shapes mean. Both sample
from the same noise; after each of the first {MIXED} of 20 steps their latents are mixed on the sphere, and each goes on from the mixture,
a little toward its own mean; the last {20 - MIXED} steps are <code>shapes-a</code>'s alone. Two guided predictions in a mixed step. Against
the number of mixed steps, eta, straight mixing and averaged predictions: <code>python -m bench.amdm</code>."""
    rows, result = compared(on, {**ALONE, "Mixed": beside({"model": "shapes-b"}, model="shapes-a")})
    return Section("amdm", "Two specialists, one latent", "AMDM, Fig. 4", about, result, rows)


def into_a_plain_prompt(on: Host) -> Section:
    about = f"""The main model hears one prompt and knows nothing of places; beside it the same checkpoint samples with a region for each
object. After {MIXED} mixed steps of 20 the plain prompt goes on alone, and its picture has the regions' layout."""
    plain, others = "One prompt", "Regions"
    rows, hits = [], {title: [] for title in (plain, others, "Mixed")}
    for index in range(PROMPTS):
        rng = np.random.default_rng((SEED, index))
        colors, shapes = rng.choice(list(world.COLORS), 2, replace=False), rng.choice(world.SHAPES, 2, replace=False)
        things = [world.Thing(str(color), str(shape), 0, 0, 0) for color, shape in zip(colors, shapes)]
        ground = str(rng.choice(list(world.BACKGROUNDS)))
        prompt = world.caption(world.Scene(128, 64, ground, tuple(things)))
        alone = [world.caption(world.Scene(64, 64, ground, (thing,))) for thing in things]
        regions = {"regions": [{"box": box, "prompt": text} for box, text in zip(HALVES, alone)]}
        shots = []
        for title, plan in ((plain, None), (others, regions), ("Mixed", beside(regions))):
            found = detect(picture := draw(on, prompt, SEED + index, plan, 128, 64))
            stands = [placed(found, box, thing.name) for box, thing in zip(HALVES, things)]
            hits[title].append(all(stands))
            frames = [Frame(box, thing.name, ok) for box, thing, ok in zip(HALVES, things, stands)]
            shots.append(Shot(title, picture, of(stands, "objects in their halves"), all(stands), seen(found), frames, plan))
        rows.append(Row(prompt, shots))
    return Section("amdm-regions", "A layout for a plain prompt", "AMDM, section 4.1", about, counted(hits), rows)


SECTIONS = [specialists, into_a_plain_prompt]
