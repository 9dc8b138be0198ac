"""Does paint put words where they are painted? `python -m bench.paint`, prompts of two objects at 128x128.

"a red circle and a blue square on a gray background": one phrase is painted in the left half, the other in the right one, a box or an
ellipse of a size (--areas), or the whole half. A row is a scale and a strength, "max 0.4", maybe the share of the steps in which it
acts, "max 0.4 to 0.5"; --count pictures each, always of the same prompts and seeds, so that --cells may name a few.

Drawn: both objects, anywhere. In their halves, in their areas: both have their centroid there. Inside: of the pixels that have an object's
colour (patches that are no thing left out) those in its painted area, the mean over objects of which there are any. Covered: of an area's
pixels those that have its object's colour, nothing where there is none. Alone: both objects and nothing else. Background: of one colour all
over, the one that is named.
"""
from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from bench.detector import AREA_PX, PALETTE, SOLID_PX, Detection, detect, nearest
from bench.hosts import arguments, drawn, host
from bench.placement import rate
from bench.scores import has, has_only, interval, mean, one_background, placed
from minihost.client import encoded
from minihost.shapes import world

SEED, SIZE = 110_000, 128
HALVES = ([0, 0, 0.5, 1], [0.5, 0, 1, 1])
AREAS_PX = {"small": ((10, 14), (10, 14)), "medium": ((15, 21), (15, 21)), "large": ((24, 30), (24, 30)), "halves": ((32, 32), (64, 64))}
PLAIN = "without"
CELLS = [PLAIN, *(f"max {strength}" for strength in (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.8)),
         *(f"std {strength}" for strength in (0.15, 0.3, 0.45, 0.6, 0.9, 1.2, 2.4))]


class Asked(NamedTuple):
    """Two objects, what they stand on, and of each its half and where it is painted, (height, width) px of booleans."""
    scene: world.Scene
    halves: tuple[list[float], ...]
    areas: tuple[np.ndarray, ...]

    @property
    def names(self) -> list[str]:
        return [thing.name for thing in self.scene.things]


class Verdict(NamedTuple):
    drawn: bool
    in_halves: bool
    in_areas: bool
    inside: float       # NaN where neither is there
    covered: float
    alone: bool
    background: bool


def asked(index: int, size: str = "medium") -> Asked:
    rng = np.random.default_rng((SEED, index))
    colors, shapes = rng.choice(list(world.COLORS), 2, replace=False), rng.choice(world.SHAPES, 2, replace=False)
    things = tuple(world.Thing(str(color), str(shape), 0, 0, 0) for color, shape in zip(colors, shapes))
    scene = world.Scene(SIZE, SIZE, str(rng.choice(list(world.BACKGROUNDS))), things)
    sides = rng.permutation(2)
    return Asked(scene, tuple(HALVES[side] for side in sides), tuple(area(rng, side, size) for side in sides))


def area(rng: np.random.Generator, side: int, size: str) -> np.ndarray:
    """A box or an ellipse, wholly in a half of the picture; or all of that half."""
    across, down = (rng.uniform(*bounds) for bounds in AREAS_PX[size])
    x, y = rng.uniform(across, SIZE / 2 - across) + side * SIZE / 2, rng.uniform(down, SIZE - down)
    rows, columns = np.mgrid[0:SIZE, 0:SIZE] + 0.5
    u, v = abs(columns - x) / across, abs(rows - y) / down
    return (np.maximum(u, v) if rng.random() < 0.5 or size == "halves" else np.hypot(u, v)) < 1


def plan(cell: str, wanted: Asked) -> dict | None:
    """A row's, "max 0.4" or "max 0.4 to 0.5"; None for the picture without paint."""
    if cell == PLAIN:
        return None
    scale, strength, *end = cell.split()
    masks = [encoded(np.where(area[..., None], 255, 0).repeat(3, -1).astype(np.uint8)) for area in wanted.areas]
    phrases = [{"phrase": name, "mask": mask} for name, mask in zip(wanted.names, masks)]
    paint = {"scale": scale, "strength": float(strength), "phrases": phrases}
    return {"paint": paint | {"range": {"unit": "steps", "from": 0, "to": float(end[1])}} if end else paint}


def pixels_of(picture: np.ndarray, color: str) -> np.ndarray:
    """(height, width) booleans: where a picture has a colour, in patches that the detector might call a thing."""
    classes = nearest(picture.astype(np.float64), np.array(list(PALETTE.values()), np.float64))
    solid = ndimage.minimum_filter(classes, 3) == ndimage.maximum_filter(classes, 3)
    patches, count = ndimage.label(classes == list(PALETTE).index(color))
    sizes, solids = (ndimage.sum_labels(what, patches, range(count + 1)) for what in (np.ones_like(patches), solid))
    kept = (sizes >= AREA_PX) & (solids >= SOLID_PX)
    kept[0] = False
    return kept[patches]


def in_area(found: Detection, area: np.ndarray, name: str) -> bool:
    return any(thing.name == name and area[int(thing.y), int(thing.x)] for thing in found.things)


def judged(picture: np.ndarray, wanted: Asked) -> Verdict:
    found = detect(picture)
    inside, covered = [], []
    for thing, area in zip(wanted.scene.things, wanted.areas):
        pixels = pixels_of(picture, thing.color)
        inside += [(pixels & area).sum() / pixels.sum()] if pixels.any() else []
        covered.append((pixels & area).sum() / area.sum())
    return Verdict(has(found, wanted.names), all(placed(found, half, name) for half, name in zip(wanted.halves, wanted.names)),
                   all(in_area(found, area, name) for area, name in zip(wanted.areas, wanted.names)),
                   float(np.mean(inside)) if inside else np.nan, float(np.mean(covered)),
                   has_only(found, wanted.names), one_background(found, wanted.scene.background))


def row(verdicts: list[Verdict]) -> str:
    drawn, halves, areas, inside, covered, alone, background = map(np.array, zip(*verdicts))
    return " | ".join([rate(list(drawn)), rate(list(halves)), rate(list(areas)), interval(mean, inside[~np.isnan(inside)]),
                       interval(mean, covered), f"{alone.mean():.1%}", f"{background.mean():.1%}"])


def main() -> None:
    parser = arguments(__doc__, 50)
    parser.add_argument("--cells", nargs="+", default=CELLS, help='rows: "without", "max 0.4", "std 1 to 0.5"')
    parser.add_argument("--areas", nargs="+", choices=AREAS_PX, default=["medium"], help="their sizes")
    chosen = parser.parse_args()
    print("| areas | paint | pictures | drawn | in their halves | in their areas | inside | covered | alone | background |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    with host(chosen) as on:
        for cell in chosen.cells:
            verdicts: dict[str, list[Verdict]] = {size: [] for size in chosen.areas}
            for index in range(chosen.count):
                for size, several in verdicts.items():
                    wanted = asked(index, size)
                    if cell != PLAIN or size == chosen.areas[0]:
                        prompt, seed = world.caption(wanted.scene), SEED + index
                        picture = drawn(on, chosen, f"{cell} {size}", prompt, SIZE, SIZE, seed, plan(cell, wanted))
                    several.append(judged(picture, wanted))
            for size, several in verdicts.items():
                print(f"| {size} | {cell} | {chosen.count} | {row(several)} |", flush=True)


if __name__ == "__main__":
    main()
