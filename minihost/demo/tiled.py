"""A canvas in tiles: by itself (Fig. 8), under a sketch (Fig. 12), and around a picture (Fig. 18)."""
from __future__ import annotations

import math

from bench.detector import detect
from bench.scores import one_background
from bench.tiles import CANVASES, CELL_PX, GRIDS, SEED, area, as_asked, caption, tiles
from minihost.client import Host, encoded
from minihost.demo.drawing import draw, of, seen
from minihost.demo.guided import apart
from minihost.demo.page import Frame, Row, Section, Shot
from minihost.shapes import world

OVERLAP = 4     # cells, half of a tile
NEAR_PX = 16


def section(on: Host) -> Section:
    about = f"""A canvas of six times four tiles of the size that the checkpoint was trained on, all with the prompt of the job. With the
paper's overlap, half a tile, nearly every place lies under four tiles that want their things in different places. In a shifted grid the
borders move from step to step, neighbours share half as much, and there are fewer tiles: {area("fixed", OVERLAP, CANVASES[0]):.1f} and
{area("shifted", OVERLAP, CANVASES[0]):.1f} times the canvas. Against the overlap: <code>python -m bench.tiles</code>."""
    prompt, size = caption(0), tuple(CELL_PX * cells for cells in CANVASES[0])
    shots, results = [], []
    for grid in (None, *GRIDS):
        plan = {"tiles": tiles(grid, OVERLAP)} if grid else None
        picture = draw(on, prompt, SEED, plan, *size)
        score = of(as_asked(detect(picture), prompt), "things as asked")
        title = f"{grid.capitalize()} grid" if grid else "No tiles"
        shots.append(Shot(title, picture, score, plan=plan))
        results.append(f"{title.lower()}: {score}")
    return Section("tiles", "A canvas in tiles", "Fig. 8", about, "; ".join(results), [Row(prompt, shots)])


def sketched(on: Host) -> Section:
    about = f"""Tiles all over a canvas, one prompt for all, and a sketch as the guide of the whole canvas: what the prompt names is drawn
where the sketch wants something. The paper takes 25 %; at 50 % more of it is kept. Score: points of the sketch with a thing within
{NEAR_PX} px."""
    width, height, count = 384, 256, 12
    angles = [2 * math.pi * k / count for k in range(count)]
    points = [(width / 2 + 150 * math.cos(angle), height / 2 + 90 * math.sin(angle)) for angle in angles]
    blobs = [world.Thing("red", "circle", x, y, 12) for x, y in points]
    sketch = world.render(world.Scene(width, height, "gray", tuple(blobs)))
    prompt, shots, results = "a red cross on a gray background", [Shot("The sketch", sketch)], []
    for strength in (None, 0.25, 0.5):
        guides = [] if strength is None else [{"image": encoded(sketch), "strength": strength}]
        plan = {"tiles": tiles("shifted", OVERLAP), "guides": guides}
        picture = draw(on, prompt, SEED + 1, plan, width, height)
        things = detect(picture).things
        score = of([any(math.hypot(thing.x - x, thing.y - y) < NEAR_PX for thing in things) for x, y in points], "points")
        title = "Without it" if strength is None else f"Strength {strength}"
        shots.append(Shot(title, picture, score, plan=plan))
        results.append(f"{title.lower()}: {score}")
    return Section("sketch", "A sketch under a canvas in tiles", "Fig. 12", about, "; ".join(results), [Row(prompt, shots)])


def outpainted(on: Host) -> Section:
    about = """A picture in the middle of a canvas as a guide, and tiles that overlap by three quarters draw on to both sides. With the
paper's strength of 90 % the prompt has a word in the middle, too; with 1 the picture stays. <i>Distance</i>: of the middle to the
picture, the mean difference in grey levels."""
    width, height, inner = 384, 64, 128
    things = (world.Thing("yellow", "circle", 30, 34, 11), world.Thing("blue", "square", 96, 30, 11))
    guide = world.render(world.Scene(inner, height, "teal", things))
    left = (width - inner) // 2
    box = [left / width, 0, (left + inner) / width, 1]
    prompt, shots, results = "a red cross on a teal background", [Shot("The picture", guide)], []
    for strength in (0.9, 1):
        plan = {"tiles": {"width": height, "height": height, "overlap": [48, 0], "grid": "fixed"},
                "guides": [{"image": encoded(guide), "box": box, "strength": strength}]}
        picture = draw(on, prompt, SEED + 1, plan, width, height)
        found, away = detect(picture), apart(picture[:, left:left + inner], guide)
        whole = "one background" if one_background(found, "teal") else "more than one background"
        score, frames = f"distance {away:.1f}, {whole}", [Frame(box, "the picture")]
        shots.append(Shot(f"Strength {strength}", picture, score, None, seen(found), frames, plan))
        results.append(f"strength {strength}: {score}")
    return Section("outpainted", "Outpainting to both sides", "Fig. 18", about, "; ".join(results), [Row(prompt, shots)])


SECTIONS = [section, sketched, outpainted]
