"""Free-form masks: from the pixels of a picture to latent cells."""
from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lib_mixdiff.boxes import WHOLE, Fractions
from lib_mixdiff.errors import PlanError


def grey(image: Image.Image) -> Tensor:
    """(height, width) px float64 in 0..1: white is in, black and what is transparent is out."""
    if image.mode.startswith(("I", "F")):       # 16 bit
        return torch.from_numpy(np.asarray(image, np.float64) / 65535).clamp(0, 1)
    if "A" in image.getbands() or "transparency" in image.info:
        light, opaque = image.convert("LA").split() if image.mode in ("L", "LA") else (
            (whole := image.convert("RGBA")).convert("L"), whole.getchannel("A"))
        return torch.from_numpy(np.asarray(light, np.float64) * np.asarray(opaque, np.float64) / 255**2)
    return torch.from_numpy(np.asarray(image.convert("L"), np.float64) / 255)


def bounded(mask: Tensor, box: Fractions | None, value: str | None) -> Fractions:
    """A box, or where there is none the mask's bounds; PlanError where the mask, `value` in the plan, leaves nothing of it."""
    if (around := bounds(mask, box)) is None:
        raise PlanError("mask", value, "paint some of it white where it is to act", "nothing is in {value}")
    return box or around


def bounds(mask: Tensor, box: Fractions | None = None) -> Fractions | None:
    """Fractions x0, y0, x1, y1 of the picture around all of a mask (height, width) px that is above 0, inside `box`;
    None where nothing is."""
    x0, y0, x1, y1 = box or WHOLE
    height, width = mask.shape
    y, x = (torch.arange(n, dtype=torch.float64) for n in (height, width))
    inside = ((y + 1 > y0 * height) & (y < y1 * height))[:, None] & ((x + 1 > x0 * width) & (x < x1 * width))
    rows, columns = ((mask > 0) & inside).nonzero().unbind(1)
    if len(rows) == 0:
        return None
    return (columns.min().item() / width, rows.min().item() / height, (columns.max().item() + 1) / width, (rows.max().item() + 1) / height)


def in_cells(mask: Tensor, height: int, width: int, view: Fractions = WHOLE) -> Tensor:
    """(height, width): the mean of a mask (height, width) px over what each cell shows, on a canvas that shows the part `view` of the
    picture; beyond the picture's border it goes on as it is there."""
    left, top, right, bottom = view
    rows, columns = _overlaps(mask.shape[0], height, top, bottom), _overlaps(mask.shape[1], width, left, right)
    return (rows @ mask @ columns.T).clamp(0, 1)


def _overlaps(pixels: int, cells: int, start: float, end: float) -> Tensor:
    """(cells, pixels) float64: which share of a cell each pixel fills, where the cells reach from `start` to `end` of the pixels."""
    edges = torch.linspace(start, end, cells + 1, dtype=torch.float64)[:, None] * pixels
    low, high = torch.arange(pixels, dtype=torch.float64), torch.arange(1, pixels + 1, dtype=torch.float64)
    low[0], high[-1] = -torch.inf, torch.inf
    filled = (torch.minimum(edges[1:], high) - torch.maximum(edges[:-1], low)).clamp(min=0)
    return filled / (edges[1:] - edges[:-1])
