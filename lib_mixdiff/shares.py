"""How much each region, and the base under them, has to say at each cell of the canvas."""
from __future__ import annotations

import torch
from torch import Tensor

from lib_mixdiff.boxes import Box


def shares(height: int, width: int, regions: list[tuple[Box, Tensor]], share: float = 0.0,
           feather: float = 0.0) -> tuple[Tensor, list[Tensor]]:
    """The base's part (height, width) and each region's over its box; at every cell they sum to 1. float32.

    `regions` are boxes with their weights, (box height, box width), 0 where a region does not reach. With R the weighted
    mean of the regions (Mixture of Diffusers, eq. 16) and B the base, the canvas is m R + (1 - m) B, where
    m = (1 - share) * smoothstep(distance to the nearest uncovered cell / feather); `feather` in cells.
    """
    total = torch.zeros(height, width, dtype=torch.float64)
    for box, weight in regions:
        total[box.of] += weight
    covered = total > 0
    m = (1 - share) * _smoothstep(_distance_to(~covered, feather) / max(feather, 1e-9)) * covered
    scale = torch.where(covered, m / total.where(covered, torch.ones_like(total)), torch.zeros_like(total))
    return (1 - m).float(), [(weight * scale[box.of]).float() for box, weight in regions]


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
