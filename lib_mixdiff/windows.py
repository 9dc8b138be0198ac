"""Weights of one region or tile over its own box, each with peak 1."""
from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lib_mixdiff.boxes import Box

VARIANCE = 0.01     # of the paper's window, in units of the region's length


def gaussian_window(height: int, width: int, part: Box | None = None) -> Tensor:
    """(height, width) in latent cells, or that part of it; float64. Mixture of Diffusers, section 3.1: each axis by its own length."""
    return _outer(height, width, part, lambda u: math.exp(-((u / 2) ** 2) / (2 * VARIANCE)))


def constant_window(height: int, width: int, part: Box | None = None) -> Tensor:
    """(height, width) in latent cells, or that part of it; float64, 1 everywhere: the mean of MultiDiffusion."""
    return _outer(height, width, part, lambda u: 1.0)


def quartic_window(height: int, width: int, part: Box | None = None) -> Tensor:
    """(height, width) in latent cells, or that part of it; float64: (1 - u^2)^2 per axis, u from -1 to 1 over the box."""
    return _outer(height, width, part, lambda u: (1 - u**2) ** 2)


WINDOWS = {"gaussian": gaussian_window, "constant": constant_window, "quartic": quartic_window}


def _outer(height: int, width: int, part: Box | None, density: Callable[[float], float]) -> Tensor:
    """The product of one density per axis, at u = 2 (i - mid) / n, mid = (n - 1) / 2; its peak of 1 is at u = 0."""
    def axis(n: int, first: int, last: int) -> Tensor:
        return torch.tensor([density(2 * (i - (n - 1) / 2) / n) for i in range(first, last)], dtype=torch.float64)
    part = part or Box(0, 0, height, width)
    return torch.outer(axis(height, part.top, part.bottom), axis(width, part.left, part.right))
