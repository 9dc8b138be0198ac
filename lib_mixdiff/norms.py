"""Group norms over a picture of which only a tile is there at a time."""
from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib_mixdiff.boxes import Box


class Measured(Exception):
    """A tile has told what it knows of a norm; it can go on when the others have, too."""


class Norms:
    """Group norms with one mean and variance for so many tiles: all of them tell first, one after the other; one by itself goes on."""

    def __init__(self, tiles: int) -> None:
        self.tiles = tiles
        self.told: dict[nn.GroupNorm, list[tuple[int, Tensor, Tensor]]] = {}
        self.known: dict[nn.GroupNorm, tuple[Tensor, Tensor]] = {}      # mean and variance, (b, groups)

    def of(self, core: Box) -> Callable[[nn.GroupNorm, Tensor], Tensor]:
        """For one tile, of which `core` is no other's. Measured where it has told."""
        def normed(norm: nn.GroupNorm, x: Tensor) -> Tensor:
            if norm not in self.known:
                told = self.told.setdefault(norm, [])
                if len(told) < self.tiles:
                    told.append(moments(x[core.of], norm.num_groups))
                    if self.tiles > 1:
                        raise Measured
                self.known[norm] = together(told)
            return group_norm(norm, x, *self.known[norm])
        return normed


def moments(x: Tensor, groups: int) -> tuple[int, Tensor, Tensor]:
    """How many values a group has, their mean and variance, (b, groups) in float64, which not every device has: on the CPU."""
    values = x.reshape(x.shape[0], groups, -1)
    var, mean = torch.var_mean(values.float(), dim=2, unbiased=False)
    return values.shape[2], mean.cpu().double(), var.cpu().double()


def together(parts: list[tuple[int, Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Mean and variance of all values, from the `moments` of their parts."""
    counts, means, variances = zip(*parts)
    weights = torch.tensor(counts, dtype=torch.float64)[:, None, None] / sum(counts)
    mean = (weights * torch.stack(means)).sum(0)
    return mean, (weights * (torch.stack(variances) + (torch.stack(means) - mean) ** 2)).sum(0)


def group_norm(norm: nn.GroupNorm, x: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    """`norm(x)` as it would be if x had this mean and variance, (b, groups)."""
    b, c, h, w = x.shape
    mean, var = (each.float().to(x.device).repeat_interleave(c // norm.num_groups, dim=1).flatten() for each in (mean, var))
    return F.batch_norm(x.reshape(1, b * c, h, w), mean, var, norm.weight.float().repeat(b), norm.bias.float().repeat(b),
                        eps=norm.eps).reshape(b, c, h, w)
