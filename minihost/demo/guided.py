"""Guide images: part of a canvas (Fig. 10), and a picture made in steps (Fig. 11)."""
from __future__ import annotations

import numpy as np

from bench.detector import detect
from bench.scores import one_background
from minihost.client import Host, encoded
from minihost.demo.composition import together
from minihost.demo.drawing import draw, seen
from minihost.demo.page import Frame, Row, Section, Shot
from minihost.shapes import world

SEED, SIZE = 400, 128
LOWER = [0, 0.5, 1, 1]
HALF_PX = SIZE // 2
LIGHTLY = 0.4


def apart(picture: np.ndarray, other: np.ndarray) -> float:
    """Mean difference in grey levels."""
    return float(np.abs(picture.astype(float) - other).mean())


def outpainting(on: Host) -> Section:
    about = """The lower half of the canvas is pulled to a guide image with strength 0.6, for the first 60 % of the noise levels; one prompt
guides the whole canvas, in the manner of outpainting. <i>Distance</i>: of the lower half to the guide, the mean difference in grey
levels. Against strength: <code>python -m bench.guides</code>."""
    things = (world.Thing("blue", "square", 34, 34, 12), world.Thing("yellow", "cross", 94, 30, 12))
    guide = world.render(world.Scene(SIZE, HALF_PX, "teal", things))
    prompt = together(["red circle", "blue square", "yellow cross"])
    plan = {"guides": [{"image": encoded(guide), "box": LOWER, "strength": 0.6}]}
    shots, distances = [Shot("The guide", guide)], []
    for title, guides in (("Without it", None), ("Guided, strength 0.6", plan)):
        picture = draw(on, prompt, SEED, guides)
        found = detect(picture)
        distances.append(apart(picture[HALF_PX:], guide))
        whole = "one background" if one_background(found, "teal") else "more than one background"
        shots.append(Shot(title, picture, f"distance {distances[-1]:.1f}, {whole}", None, seen(found), [Frame(LOWER, "guide")], guides))
    return Section("outpainting", "A guide image for part of the canvas", "Fig. 10", about,
                   f"distance to the guide: without {distances[0]:.1f}, guided {distances[1]:.1f}", [Row(prompt, shots)])


def in_steps(on: Host) -> Section:
    about = f"""First, two regions draw an object each into the lower half. Then that half is held fast, a guide of strength 1, and
a new prompt and seed draw the rest. Then a third prompt and seed: the lower half still fixed, and all of the second picture a guide
of strength {LIGHTLY}, which keeps something of its composition. (The paper's 0.1 does little here: latents of 16×16 cells decide
later where things stand.) Distances are mean differences in grey levels."""
    prompts = [together(names, "gray") for names in (["yellow triangle", "green cross"], ["white circle", "purple square"])]
    regions = {"regions": [{"box": [0, 0.5, 0.5, 1], "prompt": "a red circle on a gray background"},
                           {"box": [0.5, 0.5, 1, 1], "prompt": "a blue square on a gray background"}]}
    first = draw(on, "a gray background", SEED, regions)
    below = {"image": encoded(first[HALF_PX:]), "box": LOWER, "strength": 1}
    fixed = {"guides": [below]}
    second = draw(on, prompts[0], SEED + 1, fixed)
    both = {"guides": [{"image": encoded(second), "strength": LIGHTLY}, below]}
    third, without = draw(on, prompts[1], SEED + 2, both), draw(on, prompts[1], SEED + 2, fixed)
    frames = [Frame(region["box"], region["prompt"]) for region in regions["regions"]]
    shots = [Shot("1. Two regions", first, seen=seen(detect(first)), frames=frames, plan=regions)]
    for title, picture, plan in (("2. Lower half fixed", second, fixed), (f"3. And 2 as a guide of {LIGHTLY}", third, both),
                                 ("3 without that guide", without, fixed)):
        score = f"lower half {apart(picture[HALF_PX:], first[HALF_PX:]):.1f} from 1"
        if picture is not second:
            score += f", upper half {apart(picture[:HALF_PX], second[:HALF_PX]):.1f} from 2"
        shots.append(Shot(title, picture, score, None, seen(detect(picture)), [Frame(LOWER, "fixed")], plan))
    kept = [apart(picture[HALF_PX:], first[HALF_PX:]) for picture in (second, third)]
    like = [apart(picture[:HALF_PX], second[:HALF_PX]) for picture in (third, without)]
    result = (f"fixed half: {kept[0]:.1f} and {kept[1]:.1f} from the first; "
              f"the other: {like[0]:.1f} from the second, without its guide {like[1]:.1f}")
    return Section("steps", "A picture made in steps", "Fig. 11", about, result,
                   [Row(f"1: a gray background. 2: {prompts[0]}. 3: {prompts[1]}.", shots)])


SECTIONS = [outpainting, in_steps]
