"""Fewer calls for the same seams: `python -m bench.tiles`. Fixed and shifted grids, from tiles that only touch to three times the canvas.

Every tile has the size that the checkpoint was trained on. In `things` it has the job's prompt, one thing on a background, so that things
stand all over the canvas; where grids fail, borders cut them. With `no prompt` nothing says which background, and tiles that do not
agree have one each; `one background` is the share of what is not a thing that the most common background covers. The seam score
(bench.edges) is the mean of columns and rows; a shifted grid's borders are those of the last step, the only ones that nothing smooths
afterwards. Sharpness is that of the whole picture; `named` is the share of the things that have colour and shape as asked.
"""
from __future__ import annotations

import itertools

import numpy as np

from bench.detector import Detection, detect
from bench.edges import seam, sharpness
from bench.hosts import STEPS, arguments, drawn, host
from bench.scores import interval, mean, ratio_of_means
from lib_mixdiff.boxes import CELL_PX, Box
from lib_mixdiff.plan import Tiles
from lib_mixdiff.tiles import Grid
from minihost.shapes import world

SEED, TILE_PX = 90_000, 64
CANVASES = [(48, 32), (56, 40), (64, 36)]       # cells; a tile has 8
OVERLAPS = [0, 1, 2, 3, 4]                      # cells
GRIDS = ("fixed", "shifted")


def caption(index: int) -> str:
    return world.caption(world.scene_at_random(np.random.default_rng((SEED, index)), 64, 64, 1))


SCENES = {"things": caption, "no prompt": lambda index: ""}


def tiles(grid: str, overlap: int) -> dict:
    return {"width": TILE_PX, "height": TILE_PX, "overlap": CELL_PX * overlap, "grid": grid}


def boxes(grid: str, overlap: int, canvas: tuple[int, int], step: int) -> list[Box]:
    return Grid.of(Tiles.from_dict(tiles(grid, overlap)), TILE_PX).at(step).boxes(Box(0, 0, canvas[1], canvas[0]))


def area(grid: str, overlap: int, canvas: tuple[int, int]) -> float:
    """That of all tiles over the canvas's, the mean of the steps."""
    return float(np.mean([sum(box.height * box.width for box in boxes(grid, overlap, canvas, step)) for step in range(STEPS)])
                 / (canvas[0] * canvas[1]))


def borders(edges: set[int], length: int) -> list[int]:
    return sorted(CELL_PX * edge for edge in edges - {0, length})


def seams(picture: np.ndarray, last: list[Box], canvas: tuple[int, int]) -> np.ndarray:
    """Steps at the tiles' borders, and elsewhere."""
    across = seam(picture, borders({edge for box in last for edge in (box.left, box.right)}, canvas[0]))
    down = seam(picture.swapaxes(0, 1), borders({edge for box in last for edge in (box.top, box.bottom)}, canvas[1]))
    return np.mean([across, down], axis=0)


def as_asked(found: Detection, prompt: str) -> list[bool]:
    return [thing.name is not None and thing.name in prompt for thing in found.things]


def main() -> None:
    parser = arguments(__doc__, 4)
    parser.add_argument("--scenes", nargs="+", choices=SCENES, default=list(SCENES))
    chosen = parser.parse_args()
    print("| scene | canvas, px | overlap, px | grid | tiles / canvas | seam score | sharpness | named | one background |\n"
          "|---|---|---|---|---|---|---|---|---|")
    with host(chosen) as on:
        for scene, canvas in itertools.product(chosen.scenes, CANVASES):
            width, height = (CELL_PX * cells for cells in canvas)
            for overlap in OVERLAPS:
                for grid in GRIDS:
                    rows, named, grounds = [], [], []
                    for index in range(chosen.count):
                        prompt = SCENES[scene](index)
                        picture = drawn(on, chosen, f"{grid} {overlap}", prompt, width, height, SEED + index,
                                        {"tiles": tiles(grid, overlap)})
                        found = detect(picture)
                        rows.append((*seams(picture, boxes(grid, overlap, canvas, STEPS - 1), canvas), sharpness(picture, [(0, width)])))
                        named += as_asked(found, prompt)
                        grounds.append(found.background_share)
                    at, elsewhere, sharp = np.array(rows).T
                    share = f"{np.mean(named):.0%} of {len(named)}" if prompt else ""
                    print(f"| {scene} | {width}x{height} | {CELL_PX * overlap} | {grid} | {area(grid, overlap, canvas):.2f} "
                          f"| {interval(ratio_of_means, at, elsewhere)} | {interval(mean, sharp)} "
                          f"| {share} | {interval(mean, np.array(grounds))} |", flush=True)


if __name__ == "__main__":
    main()
