"""Is the noise of regions with seeds still white? `python -m bench.noise`: its statistics where none, two and three regions overlap.

What a job starts from, and what ancestral samplers add, is one field blended of the fields of all seeds. It has to be what the
checkpoint was trained on: normal with mean 0 and variance 1 in each cell, and independent from cell to cell. Errors are in
standard errors, so they should be about as large as those of the plain field, the first row of each size: beyond 2 once in 20, beyond
4 never. Kolmogorov's distance to the normal distribution is given times the root of the number of values: beyond 1.63 once in 100.
"""
from __future__ import annotations

import argparse
import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from lib_mixdiff.plan import Plan
from lib_mixdiff.regions import Canvas, located, placed
from lib_mixdiff.seeds import blended, weights_by_seed

CHANNELS = 4
SIZES = (16, 64, 128)           # cells
VALUES = 2_000_000              # of each row, about
REGIONS = [{"box": [0, 0, 0.625, 0.75], "seed": 11}, {"box": [0.375, 0, 1, 0.75], "seed": 7_000_000, "window": "quartic"},
           {"box": [0.25, 0.5, 0.75, 1], "seed": 900_000_000, "weight": 2}]
OVERLAPS = {"none": 1, "two": 2, "three": 3}
LIMIT = {"mean": 4.0, "variance": 4.0, "Kolmogorov": 1.95, "right": 4.0, "below": 4.0}      # each passed once in 1000 or less


def seed_weights(regions: list[dict], height: int, width: int) -> dict[int | None, Tensor]:
    """What `blended` takes for a plan of these regions on a canvas of so many cells."""
    plan, canvas = Plan.from_dict({"regions": regions}), Canvas(height, width)
    members = placed(located(plan, canvas, lambda image: None), plan, canvas, 7.0)
    return weights_by_seed(members, [r.seed for r in plan.regions], height, width)


def fields(weights: dict[int | None, Tensor], images: int, height: int, width: int) -> Tensor:
    """(images, CHANNELS, height, width): image k blended of the fields of each seed + k, as CPU noise of a WebUI; the job's is 0."""
    def field(seed: int) -> Tensor:
        return torch.randn(CHANNELS, height, width, generator=torch.Generator().manual_seed(seed))
    return blended({seed: torch.stack([field((seed or 0) + k) for k in range(images)]) for seed in weights}, weights)


def normal(values: np.ndarray) -> np.ndarray:
    """The standard normal's distribution function."""
    return 0.5 * torch.erfc(torch.from_numpy(-values / math.sqrt(2))).numpy()


def whiteness(noise: Tensor, where: Tensor) -> dict[str, float]:
    """How far noise (images, channels, height, width) is from white in the cells `where` (height, width): errors of mean, variance
    and the correlation with the cell to the right and below, over their standard errors; Kolmogorov's distance times sqrt(n)."""
    values = np.sort(noise[..., where].double().flatten().numpy())
    n, places = len(values), normal(values)
    steps = np.arange(n + 1) / n
    found = {"mean": values.mean() * math.sqrt(n), "variance": (np.square(values).mean() - 1) * math.sqrt(n / 2),
             "Kolmogorov": max(np.abs(places - steps[1:]).max(), np.abs(places - steps[:-1]).max()) * math.sqrt(n)}
    for name, axis in (("right", -1), ("below", -2)):
        size = where.shape[axis]
        first, second = (noise.narrow(axis, start, size - 1).double() for start in (0, 1))
        both = where.narrow(axis, 0, size - 1) & where.narrow(axis, 1, size - 1)
        products = (first * second)[..., both]
        found[name] = float(products.mean()) * math.sqrt(products.numel())
    return {name: float(value) for name, value in found.items()}


def rows(size: int, values: int = VALUES) -> Iterator[tuple[str, int, dict[str, float]]]:
    """(overlap, values, whiteness) of a canvas of size x size cells: the plain field, then where one region or several are."""
    weights = seed_weights(REGIONS, size, size)
    there = torch.stack([weight > 0 for seed, weight in weights.items() if seed is not None]).sum(0)
    count = {name: int((there == regions).sum()) for name, regions in OVERLAPS.items()}
    most = math.ceil(values / (CHANNELS * min(count.values())))
    noise, plain = fields(weights, most, size, size), fields({None: torch.ones(size, size)}, most, size, size)
    for name, regions, of in (("the plain job", 1, plain), *((name, regions, noise) for name, regions in OVERLAPS.items())):
        where = there == regions
        images = min(most, math.ceil(values / (CHANNELS * int(where.sum()))))
        yield name, images * CHANNELS * int(where.sum()), whiteness(of[:images], where)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--values", type=int, default=VALUES, help="a row")
    chosen = parser.parse_args()
    print("| canvas, cells | regions that overlap | values | mean (error) | variance (error) | Kolmogorov | correlation right | below |\n|"
          + 8 * "---|")
    for size in SIZES:
        for name, values, found in rows(size, chosen.values):
            raw = {"mean": found["mean"] / math.sqrt(values), "variance": 1 + found["variance"] * math.sqrt(2 / values)}
            marks = [(f"{raw[key]:.4f} ({error:+.2f})" if key in raw else f"{error:+.2f}") + (" too far" if abs(error) > LIMIT[key] else "")
                     for key, error in found.items()]
            print(f"| {size}x{size} | {name} | {values} | {' | '.join(marks)} |", flush=True)


if __name__ == "__main__":
    main()
