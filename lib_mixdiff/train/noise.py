"""Which timesteps are trained: nodes of the binary tree over the training noise distribution. eDiff-I, section 4.1 and appendix B."""
from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lib_mixdiff.train.faults import TrainError

Node = tuple[int, int]  # level, index; index 0 is the lowest noise


def uniform_area(count: int) -> np.ndarray:
    """(count + 1,) the distribution's share below each edge between timesteps: all timesteps alike."""
    return np.linspace(0.0, 1.0, count + 1)


def lognormal_area(abar: np.ndarray, mean: float, deviation: float) -> np.ndarray:
    """The same for ln sigma ~ N(mean, deviation^2), each timestep standing for the ln sigma nearest to its own.

    Where the schedule ends the distribution goes on: the area begins above 0 and ends below 1, and a node's cuts are those of the
    paper (9, 511: sigma > 9.61), whatever the schedule.
    """
    log_sigma = 0.5 * np.log((1 - abar) / abar)
    inner = (log_sigma[1:] + log_sigma[:-1]) / 2
    edges = np.concatenate([[2 * log_sigma[0] - inner[0]], inner, [2 * log_sigma[-1] - inner[-1]]])
    return np.array([0.5 * math.erfc((mean - edge) / (deviation * math.sqrt(2))) for edge in edges])


def span(area: np.ndarray, node: Node) -> tuple[int, int]:
    """First timestep of a node and the one after its last: the edges nearest to its cuts, so neighbours meet."""
    level, index = node
    first, end = (int(np.abs(area - cut / 2**level).argmin()) for cut in (index, index + 1))
    return first, end


@dataclass(frozen=True)
class Part:
    """The timesteps that are trained, and how often each is."""

    spans: tuple[tuple[int, int], ...]  # first, end (exclusive); rising
    cumulative: np.ndarray  # (timesteps,) share of the part at or below each

    def timestep(self, u: float) -> int:
        """That at share u of the part, 0 <= u < 1."""
        return min(int(np.searchsorted(self.cumulative, u, side="right")), self.spans[-1][1] - 1)

    def holds(self, timestep: float) -> bool:
        return any(first <= timestep < end for first, end in self.spans)

    @property
    def whole(self) -> bool:
        return self.spans == ((0, len(self.cumulative)),)

    def ranges(self) -> list[dict]:
        """As a plan says it: active while from >= timestep + 1 > to."""
        return [{"unit": "timestep", "from": end, "to": first} for first, end in reversed(self.spans)]

    def intervals(self, count: int) -> list[tuple[int, int]]:
        """First and last timestep of `count` intervals of equal area."""
        cuts = [self.timestep(k / count) for k in range(count)] + [self.timestep(1.0)]
        return list(pairwise(cuts))


def part(area: np.ndarray, node: Node | None = None, complement: tuple[Node, ...] | None = None) -> Part:
    """A node, all but some nodes, or all."""
    share, kept = np.diff(area), np.zeros(len(area) - 1, bool)
    if node is not None:
        first, end = span(area, node)
        kept[first:end] = True
    else:
        kept[:] = True
        for each in complement or ():
            first, end = span(area, each)
            kept[first:end] = False
    if not kept.any() or share[kept].sum() <= 0:
        key, value = ("node", list(node)) if node is not None else ("complement", [list(each) for each in complement or ()])
        raise TrainError(f"{key}: {value} holds no timestep of this checkpoint's noise; use a lower level.")
    edges = np.flatnonzero(np.diff(np.concatenate([[0], kept, [0]])))
    cumulative = np.cumsum(np.where(kept, share, 0.0))
    return Part(tuple((int(a), int(b)) for a, b in zip(edges[::2], edges[1::2])), np.round(cumulative / cumulative[-1], 12))
