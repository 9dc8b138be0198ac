"""Noise of regions that have a seed of their own."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from lib_mixdiff.mosaic import Member
from lib_mixdiff.plan import Plan

RANDOM = -1
SEEDS = 2**32               # behind the last one comes the first


def seeded(plan: Plan, change: Callable[[int], int]) -> Plan:
    """The plan with every seed of it changed, those of the hires pass too; null stays null."""
    return plan.with_each(["seed"], change)


def of_image(seed: int, index: int) -> int:
    """The seed of one of a job's pictures, counted from 0."""
    return (seed + index) % SEEDS


def has_seeds(plan: Plan) -> bool:
    found = []
    seeded(plan, lambda seed: found.append(seed) or seed)
    return bool(found)


def weights_by_seed(members: Sequence[tuple[int | None, Member]], seeds: Sequence[int | None], height: int,
                    width: int) -> dict[int | None, Tensor]:
    """(height, width) for each seed that is there: the shares of all its members, None the job's own; together 1 at every cell.
    `members` as `regions.placed` returns them; `seeds` of the active regions."""
    weights: dict[int | None, Tensor] = {}
    for index, member in members:
        whole = weights.setdefault(None if index is None else seeds[index], torch.zeros(height, width))
        whole[member.crop.of] += member.share
    return weights


def blended(noises: Mapping[int | None, Tensor], weights: Mapping[int | None, Tensor]) -> Tensor:
    """One field (images, channels, height, width) of unit variance out of one for each seed: sum w n / sqrt(sum w^2); exactly the
    only one where there is no other."""
    if len(weights) == 1:
        return noises[next(iter(weights))]
    size = torch.stack([w.square() for w in weights.values()]).sum(0).sqrt()
    total = torch.zeros_like(next(iter(noises.values())))
    for seed, weight in weights.items():
        total += noises[seed] * (weight / size).to(total)
    return total
