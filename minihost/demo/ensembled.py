"""Several checkpoints as one U-Net (AFA): each block and place is led by the one that is best there."""
from __future__ import annotations

import numpy as np

from bench.detector import detect
from bench.scores import has_only, one_background
from minihost.client import Host
from minihost.demo.checkpoints import PROMPTS, SEED, counted
from minihost.demo.drawing import draw, seen
from minihost.demo.page import Row, Section, Shot
from minihost.shapes import world

MODELS = ["shapes-a", "shapes-b", "shapes-c"]
AVERAGED = {"model": {"afa": {"models": MODELS, "mode": "noise"}}}
ENSEMBLE = {"model": {"afa": {"models": MODELS, "aggregator": "shapes-abc"}}}
GUIDANCE = 2        # where AFA is at its best (bench.afa)
PLANS = {**{name: {"model": name} for name in MODELS}, "Averaged": AVERAGED, "AFA": ENSEMBLE}


def scene(index: int) -> world.Scene:
    return world.scene_at_random(np.random.default_rng((SEED, 2000, index)), 64, 64, 1 + index % 2)


def ensemble(on: Host) -> Section:
    about = """Three specialists: <code>shapes-a</code> has forgotten the words of colours, <code>shapes-b</code> those of shapes,
<code>shapes-c</code> those of backgrounds. <em>Averaged</em> is the mean of their predictions; in <em>AFA</em> a small network that was
trained on 30,000 samples says for every block, place and step which of them to follow. Three networks' time for each step, and a few
per cent. All at a CFG scale of 2, AFA's best. Every row of the paper's tables, and what more
guidance does: <code>python -m bench.afa</code>."""
    rows, hits = [], {title: [] for title in PLANS}
    for index in range(PROMPTS):
        wanted, shots = scene(index), []
        for title, plan in PLANS.items():
            found = detect(picture := draw(on, world.caption(wanted), SEED + index, plan, 64, 64, cfg_scale=GUIDANCE))
            things, ground = has_only(found, [thing.name for thing in wanted.things]), one_background(found, wanted.background)
            hits[title].append(things and ground)
            score = f"things {'right' if things else 'wrong'}, background {'right' if ground else 'wrong'}"
            shots.append(Shot(title, picture, score, things and ground, seen(found), plan=plan))
        rows.append(Row(world.caption(wanted), shots))
    return Section("afa", "Three specialists, one U-Net", "AFA, Fig. 5", about, counted(hits), rows)


def leads(on: Host) -> Section:
    about = """The share of each model in what a block puts out, over the steps: white is all, black is none. In the WebUI: <em>Settings
&gt; mixdiff &gt; Where each model of an ensemble leads</em>."""
    prompt = world.caption(scene(1))
    maps = draw(on, prompt, SEED + 1, ENSEMBLE, 64, 64, -1, GUIDANCE, mixdiff_leads="some blocks")
    return Section("leads", "Which model leads where", "AFA, Fig. 6", about, "the second prompt above", [Row(prompt, [Shot("", maps)])])


SECTIONS = [ensemble, leads]
