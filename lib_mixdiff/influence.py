"""What a plan's regions have to say where, to look at: their shares of the canvas, and a picture of them."""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lib_mixdiff.plan import Plan
from lib_mixdiff.regions import Canvas, active_regions, located, placed

# of regions and guides, by their place in the list; white letters can be read on each
COLORS = ("#c81d3a", "#1f7a33", "#3a5bd0", "#b3500b", "#8e24aa", "#00797a", "#8a5a22", "#6b6b00")
BASE = "#8c8c8c"


def influence(plan: Plan, canvas: Canvas, opened: Callable[[str], Image.Image]) -> list[tuple[int | None, Tensor]]:
    """The share (height, width) of each active region that reaches the canvas, with its index in the plan, and the base's with None;
    float32, they sum to 1 at every cell. As if all acted at once, whatever their ranges. `opened` and PlanError as for `located`."""
    active = active_regions(plan)
    at = [index for index, region in enumerate(plan.regions) if any(region is each for each in active)]
    shares = []
    for index, member in placed(located(plan, canvas, opened), plan, canvas, cfg_scale=1.0):
        whole = torch.zeros(canvas.height, canvas.width)
        whole[member.crop.of] = member.share
        shares.append((None if index is None else at[index], whole))
    return shares


def colored(shares: Sequence[tuple[int | None, Tensor]]) -> np.ndarray:
    """(height, width, 3) uint8: at every cell the mean of the colours, by share."""
    whole = sum(share[..., None].numpy() * rgb(BASE if index is None else COLORS[index % len(COLORS)]) for index, share in shares)
    return np.asarray(whole).round().astype(np.uint8)


def rgb(color: str) -> np.ndarray:
    """"#rrggbb" as (3,) float in 0..255."""
    return np.array(list(bytes.fromhex(color[1:])), np.float64)
