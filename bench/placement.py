"""Do regions hold what their prompts say? `python -m bench.placement`: one prompt against regions, object by object.

Each of the plans has three columns or four quadrants with an object each, on one background. An object is right if a thing of
its colour and shape has its centre in its box. Beside it: the rate at which the checkpoint draws a one-object prompt at the
size that a region's network sees, which no method above it can pass; and one prompt that names the same objects.
"""
from __future__ import annotations

import numpy as np

from bench.detector import Detection, detect
from bench.hosts import arguments, drawn, host
from bench.scores import has, one_background, placed, wilson
from lib_mixdiff.boxes import CELL_PX, latent_box
from minihost.shapes import world

SEED, SIZE = 70_000, 128
COLUMNS = [[i / 3, 0, (i + 1) / 3, 1] for i in range(3)]
QUADRANTS = [[x, y, x + 0.5, y + 0.5] for y in (0, 0.5) for x in (0, 0.5)]
LAYOUTS = {"columns": COLUMNS, "quadrants": QUADRANTS}


def content(layout: str, index: int) -> list[world.Scene]:
    """A scene of one object for each region; one background for all."""
    rng = np.random.default_rng((SEED, len(LAYOUTS[layout]), index))
    ground = str(rng.choice(list(world.BACKGROUNDS)))
    return [world.Scene(SIZE, SIZE, ground, world.scene_at_random(rng, 64, 64, 1).things) for _ in LAYOUTS[layout]]


def own_size(layout: str) -> tuple[int, int]:
    """Width and height in px of what a region's network sees; the regions of a layout are all as large."""
    (size,) = {(box.width * CELL_PX, box.height * CELL_PX)
               for box in (latent_box(b, SIZE // CELL_PX, SIZE // CELL_PX) for b in LAYOUTS[layout])}
    return size


def plan(layout: str, scenes: list[world.Scene]) -> dict:
    return {"regions": [{"box": box, "prompt": world.caption(s)} for box, s in zip(LAYOUTS[layout], scenes)]}


def whole(scenes: list[world.Scene]) -> world.Scene:
    """All of the regions' objects in one scene: what one prompt has to name."""
    return world.Scene(SIZE, SIZE, scenes[0].background, tuple(t for s in scenes for t in s.things))


def in_place(found: Detection, layout: str, scenes: list[world.Scene]) -> list[bool]:
    return [placed(found, box, s.things[0].name) for box, s in zip(LAYOUTS[layout], scenes)]


def rate(hits: list[bool]) -> str:
    low, high = wilson(sum(hits), len(hits))
    return f"{np.mean(hits):.1%} ({low:.1%} to {high:.1%})"


def main() -> None:
    chosen = arguments(__doc__, 50).parse_args()
    print("| layout | what | objects in their boxes | plans with all in their boxes | background one colour |\n|---|---|---|---|---|")
    with host(chosen) as on:
        for layout in LAYOUTS:
            width, height = own_size(layout)
            rows: dict[str, tuple[list[bool], list[bool], list[bool]]] = {}
            for index in range(chosen.count):
                scenes = content(layout, index)
                prompt, seed = world.caption(whole(scenes)), SEED + index
                for what, picture in (("one prompt", drawn(on, chosen, "one prompt", prompt, SIZE, SIZE, seed)),
                                      ("regions", drawn(on, chosen, "regions", prompt, SIZE, SIZE, seed, plan(layout, scenes)))):
                    found = detect(picture)
                    hits, plans, grounds = rows.setdefault(what, ([], [], []))
                    right = in_place(found, layout, scenes)
                    hits += right
                    plans.append(all(right))
                    grounds.append(one_background(found, scenes[0].background))
            alone = [has(detect(drawn(on, chosen, "alone", world.caption(s), width, height, SEED + 1000 * k + index)), [s.things[0].name])
                     for index in range(chosen.count) for k, s in enumerate(content(layout, index))]
            for what, (hits, plans, grounds) in rows.items():
                print(f"| {layout} | {what} | {rate(hits)} | {rate(plans)} | {np.mean(grounds):.1%} |", flush=True)
            print(f"| {layout} | one object alone at {width}x{height} | {rate(alone)} | | |")
            print(f"| {layout} | regions / alone | {np.mean(rows['regions'][0]) / max(np.mean(alone), 1e-9):.3f} | | |", flush=True)


if __name__ == "__main__":
    main()
