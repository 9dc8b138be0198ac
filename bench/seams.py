"""Are borders of regions seen? `python -m bench.seams`: the three ways of Mixture of Diffusers, Fig. 4.

Three regions beside each other, an object in each; prompts and noise are the same in all rows, only where the regions lie and how
they are weighted changes. `none`: they only touch, weights constant. `constant`: each overlaps the next by 6 of its 16 cells (the
paper's 256 of 640 px), weights constant. `gaussian`: the same boxes, the paper's weights.

The seam score is the gradient across the boxes' borders over the gradient elsewhere: 1 is a border that is not seen. Since gaussian
weights have their transition not at the boxes' borders but in the middle of the overlap, the steepest column of the whole overlap
stands beside it, in grey levels a px. Sharpness is that of what only one region covers. With one background for all a seam is an
object that is cut; with a background for each region it goes from top to bottom.
"""
from __future__ import annotations

import numpy as np

from bench.edges import REACH_PX, seam, sharpness, steepest
from bench.hosts import arguments, drawn, host
from bench.scores import interval, mean, ratio_of_means
from lib_mixdiff.boxes import CELL_PX
from minihost.shapes import world

SEED, WIDTH, HEIGHT = 80_000, 288, 128
TOUCHING, OVERLAPPING = [(0, 12), (12, 24), (24, 36)], [(0, 16), (10, 26), (20, 36)]        # cells
WAYS = {"none": (TOUCHING, "constant"), "constant": (OVERLAPPING, "constant"), "gaussian": (OVERLAPPING, "gaussian")}
BORDERS = {way: sorted({CELL_PX * edge for box in boxes for edge in box} - {0, WIDTH}) for way, (boxes, _) in WAYS.items()}
OVERLAPS = [(80, 128), (160, 208)]
INSIDE = [(0, 80 - REACH_PX), (128 + REACH_PX, 160 - REACH_PX), (208 + REACH_PX, WIDTH)]     # of one region, in all ways
GROUNDS = {"one background": 1, "three backgrounds": 3}


def plan(way: str, prompts: list[str]) -> dict:
    boxes, window = WAYS[way]
    return {"regions": [{"box": [first * CELL_PX / WIDTH, 0, last * CELL_PX / WIDTH, 1], "prompt": prompt, "window": window}
                        for (first, last), prompt in zip(boxes, prompts)]}


def prompts(index: int, grounds: int) -> list[str]:
    """An object for each region; one background for all, or three that differ."""
    rng = np.random.default_rng((SEED, grounds, index))
    chosen = rng.permutation(list(world.BACKGROUNDS))[:grounds]
    things = [world.scene_at_random(rng, 64, 64, 1).things for _ in range(3)]
    return [world.caption(world.Scene(128, 128, str(chosen[k % grounds]), thing)) for k, thing in enumerate(things)]


def over(at: np.ndarray, elsewhere: np.ndarray, at_before: np.ndarray, elsewhere_before: np.ndarray) -> np.ndarray:
    """A seam score over another's, picture by picture of the same prompts and noise."""
    return ratio_of_means(at, elsewhere) / ratio_of_means(at_before, elsewhere_before)


def main() -> None:
    chosen = arguments(__doc__, 24).parse_args()
    print("| regions | overlap and weights | seam score | over the row above | steepest column of the overlaps | sharpness inside |\n"
          "|---|---|---|---|---|---|")
    with host(chosen) as on:
        for grounds, count in GROUNDS.items():
            before: tuple[np.ndarray, np.ndarray] | None = None
            for way in WAYS:
                rows = []
                for index in range(chosen.count):
                    regions = plan(way, prompts(index, count))
                    picture = drawn(on, chosen, f"{grounds} {way}", "", WIDTH, HEIGHT, SEED + index, regions)
                    rows.append((*seam(picture, BORDERS[way]), steepest(picture, OVERLAPS), sharpness(picture, INSIDE)))
                at, elsewhere, line, sharp = np.array(rows).T
                fall = interval(over, at, elsewhere, *before) if before else ""
                print(f"| {grounds} | {way} | {interval(ratio_of_means, at, elsewhere)} | {fall} | {interval(mean, line)} "
                      f"| {interval(mean, sharp)} |", flush=True)
                before = at, elsewhere


if __name__ == "__main__":
    main()
