"""Regions that overlap: borders (Fig. 4), a canvas of many (Fig. 6), one more on top (Fig. 7), styles that change along it (Fig. 9)."""
from __future__ import annotations

import numpy as np

from bench import seams
from bench.detector import detect
from bench.edges import seam, sharpness, steepest
from bench.territory import held, holders, territories
from minihost.client import Host
from minihost.demo.drawing import draw, of, seen
from minihost.demo.page import Frame, Row, Section, Shot
from minihost.demo.placement import IN_PLACE, asked

SEED = 300
OBJECTS = ["red circle", "blue square", "yellow triangle", "green cross", "white circle", "orange square", "purple triangle"]
GROUND = "teal"
# Regions of 128x128 px, each a quarter over the next. (With the paper's overlaps, 40 and 60 %, each has less ground of its own
# than its one small object needs: a quarter of them stand in place, against 94 %.)
GRID_CELLS = (40, 28)
GRID = [(x, y, x + 16, y + 16) for y in (0, 12) for x in (0, 12, 24)]
CENTRE = (16, 10, 24, 18)     # 64x64 px
GRID_PX = (GRID_CELLS[0] * seams.CELL_PX, GRID_CELLS[1] * seams.CELL_PX)
STYLES = ["red", "orange", "yellow", "green", "blue"]
STRIP_CELLS = (8 + 9 * 5, 8)        # ten regions of 8x8 cells, two a style; each overlaps the next by 3, the paper's third


def prompt_of(name: str, ground: str = GROUND) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name} on a {ground} background"


def together(names: list[str], ground: str = GROUND) -> str:
    """One prompt that names all."""
    return " and ".join(prompt_of(name, ground).removesuffix(f" on a {ground} background") for name in names) + f" on a {ground} background"


def fractions(cells: tuple[int, int, int, int], canvas: tuple[int, int]) -> list[float]:
    return [round(edge / size, 4) for edge, size in zip(cells, (*canvas, *canvas))]


def borders(on: Host) -> Section:
    about = """Three regions, an object each; the same prompts and noise in all three pictures, once with a background for each region and
once with one for all. Where regions only touch, the border is a cut. Overlapping with constant weights there are two fainter cuts, at both
ends of the overlap, and between them the prompts are averaged. Gaussian weights fall off towards a region's edge, so nothing ends there.
<i>Seam score</i>: gradient across the boxes' borders over the gradient elsewhere, 1 = a border that is not seen. <i>Steepest
column</i>: of the whole overlap, in grey levels a pixel. <i>Sharpness</i>: of what only one region covers. Over many seeds:
<code>python -m bench.seams</code>. (The checkpoint was trained on pictures of one background; its decoder gets the colours of
several in one wrong.)"""
    titles = {"none": "No overlap", "constant": "Overlap, constant weights", "gaussian": "Overlap, gaussian weights"}
    rows, scores = [], []
    for index, grounds in ((0, 3), (1, 1)):
        prompts, shots = seams.prompts(index, grounds), []
        for way, (boxes, _) in seams.WAYS.items():
            plan = seams.plan(way, prompts)
            picture = draw(on, "", SEED + index, plan, seams.WIDTH, seams.HEIGHT)
            at, elsewhere = seam(picture, seams.BORDERS[way])
            if grounds == 3:
                scores.append(f"{titles[way].lower()} {at / elsewhere:.2f}")
            more = f"steepest column {steepest(picture, seams.OVERLAPS):.0f}, sharpness {sharpness(picture, seams.INSIDE):.0f}"
            frames = [Frame((a * seams.CELL_PX / seams.WIDTH, low, b * seams.CELL_PX / seams.WIDTH, low + 0.05), p)
                      for (a, b), low, p in zip(boxes, (0.94, 0.88, 0.94), prompts)]      # bars: a frame would hide its border
            shots.append(Shot(titles[way], picture, f"seam score {at / elsewhere:.2f}", None, more, frames, plan))
        rows.append(Row(" | ".join(prompts), shots))
    return Section("borders", "Borders of regions", "Fig. 4", about, "seam score: " + "; ".join(scores), rows)


def judged(on: Host, title: str, names: list[str], ground: np.ndarray, plan: dict | None, prompt: str = "") -> tuple[Shot, list[bool]]:
    """A picture of the grid's size, each object judged by its region's territory."""
    picture = draw(on, prompt, SEED, plan, *GRID_PX)
    found = detect(picture)
    right = held(found, ground, names)
    frames = [Frame(ground == k, name, ok) for k, (name, ok) in enumerate(zip(names, right))]
    return Shot(title, picture, of(right, IN_PLACE), all(right), seen(found), frames, plan), right


def canvas(on: Host) -> Section:
    about = """Six regions of 128×128 px in two rows and three columns, each overlapping the next, make a canvas of 320×224 px: larger than
all that the checkpoint was trained on, while no picture that the network sees is larger than a region. An object is in place where it
stands on the ground on which its own region weighs most, which is framed."""
    boxes, names = [fractions(cells, GRID_CELLS) for cells in GRID], OBJECTS[:6]
    plan = {"regions": [{"box": box, "prompt": prompt_of(name)} for box, name in zip(boxes, names)]}
    ground = territories(plan, *GRID_PX)
    plain, before = judged(on, "One prompt", names, ground, None, together(names))
    regions, after = judged(on, "Six regions", names, ground, plan)
    return Section("canvas", "A large canvas of six regions", "Fig. 6", about,
                   f"one prompt: {of(before, 'objects in place')}; regions: {of(after, 'objects in place')}",
                   [Row(together(names), [asked(boxes, names, *GRID_PX), plain, regions])])


def one_more(on: Host) -> Section:
    about = """Regions may lie anywhere and have any size: a seventh, of 64×64 px, in the middle of that canvas. The rest of the plan, and
the noise, are as above."""
    boxes = [fractions(cells, GRID_CELLS) for cells in (*GRID, CENTRE)]
    plan = {"regions": [{"box": box, "prompt": prompt_of(name)} for box, name in zip(boxes, OBJECTS)]}
    shot, right = judged(on, "Seven regions", OBJECTS, territories(plan, *GRID_PX), plan)
    return Section("one-more", "One more region on top", "Fig. 7", about, of(right, "objects in place"),
                   [Row("", [asked(boxes[6:], OBJECTS[6:], *GRID_PX, "Asked for, on top of the six"), shot])])


def styles(on: Host) -> Section:
    about = """Ten regions side by side, each a third over the next. All say the same but for one word, the style: here the colour,
two regions for each of five. The five stretches are framed."""
    size = (STRIP_CELLS[0] * seams.CELL_PX, STRIP_CELLS[1] * seams.CELL_PX)
    boxes = [fractions((5 * k, 0, 5 * k + 8, 8), STRIP_CELLS) for k in range(10)]
    plan = {"regions": [{"box": box, "prompt": prompt_of(f"{STYLES[k // 2]} circle", "gray")} for k, box in enumerate(boxes)]}
    ground = territories(plan, *size) // 2
    prompt = together([f"{color} circle" for color in STYLES for _ in range(2)], "gray")
    shots, results = [], []
    for title, regions, words in (("One prompt", None, prompt), ("Ten regions", plan, "")):
        picture = draw(on, words, SEED, regions, *size)
        found = detect(picture)
        places = holders(found, ground)
        right = [t.name == f"{STYLES[k]} circle" for k, t in zip(places, found.things)]
        shown = [any(ok and place == k for place, ok in zip(places, right)) for k in range(5)]
        frames = [Frame(ground == k, f"{color} circles", shown[k]) for k, color in enumerate(STYLES)]
        score = f"{of(right, 'objects in the style of their place')}, {of(shown, 'styles there')}"
        shots.append(Shot(title, picture, score, all(right) and all(shown), seen(found), frames, regions))
        results.append(f"{title.lower()}: {of(right, 'objects in the style of their place')}")
    return Section("styles", "Styles that change along the canvas", "Fig. 9", about, "; ".join(results), [Row(prompt, shots)])


SECTIONS = [borders, canvas, one_more, styles]
