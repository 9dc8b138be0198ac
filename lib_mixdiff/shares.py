"""How much each region, and the base under them, has to say at each cell of the canvas."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lib_mixdiff.boxes import Box


def shares(height: int, width: int, regions: Sequence[tuple[Box, Tensor, Tensor | None]], share: float = 0.0,
           feather: float = 0.0) -> tuple[Tensor, list[Tensor]]:
    """The base's part (height, width) and each region's over its box; at every cell they sum to 1. float32.

    `regions` are boxes with their weights and masks (None is 1), (box height, box width); the mask is 0 where a region does not
    reach. With R the mean of the regions by weight and mask (Mixture of Diffusers, eq. 16; masks are its future work) and B the
    base, the canvas is m R + (1 - m) B, where m = (1 - share) * smoothstep(distance to the nearest uncovered cell / feather) *
    (largest mask there); `feather` in cells.
    """
    total, largest = torch.zeros(2, height, width, dtype=torch.float64)
    weights = [weight if mask is None else weight * mask for _, weight, mask in regions]
    for (box, _, mask), weight in zip(regions, weights):
        total[box.of] += weight
        torch.maximum(largest[box.of], torch.ones_like(weight) if mask is None else mask, out=largest[box.of])
    covered = total > 0
    m = (1 - share) * _smoothstep(_distance_to(~covered, feather) / max(feather, 1e-9)) * largest
    scale = torch.where(covered, m / total.where(covered, torch.ones_like(total)), torch.zeros_like(total))
    return (1 - m).float(), [(weight * scale[box.of]).float() for (box, _, _), weight in zip(regions, weights)]


def _smoothstep(t: Tensor) -> Tensor:
    t = t.clamp(0, 1)
    return t * t * (3 - 2 * t)


def _distance_to(cells: Tensor, reach: float) -> Tensor:
    """Euclidean distance (height, width) in cells to the nearest of `cells` (bool), exact up to `reach`, at least that beyond.
    The canvas's border is not one of them."""
    far = float(int(reach) + 1)
    squared = torch.where(cells, 0.0, far**2).double()
    for axis in (0, 1):
        n, nearest = squared.shape[axis], squared.clone()
        for step in range(1, min(int(far), n - 1) + 1):
            here, there = squared.narrow(axis, step, n - step), squared.narrow(axis, 0, n - step)
            for part, other in ((nearest.narrow(axis, step, n - step), there), (nearest.narrow(axis, 0, n - step), here)):
                torch.minimum(part, other + step**2, out=part)
        squared = nearest
    return squared.sqrt()
