"""When, in a pass: how noisy, and how far. Ranges of a plan are asked about a moment."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lib_mixdiff.ranges import Range

DECIMALS = 6        # a third of three steps is one step


@dataclass(frozen=True)
class Moment:
    """One evaluation of the network."""
    timestep: float     # the network's + 1: 1..1000, between two of them where a sampler asks there
    sigma: float
    steps: float        # share of the pass's steps that are done, 0 <= steps < 1

    @classmethod
    def of_sigma(cls, sigma: float, abar: np.ndarray, steps: float) -> Moment:
        """log sigma is interpolated between the timesteps of `abar` (timesteps,), as k-diffusion does it."""
        log_sigmas = np.log((1 - abar) / abar) / 2
        return cls(float(np.interp(np.log(max(sigma, 1e-9)), log_sigmas, np.arange(len(abar)))) + 1, sigma, steps)

    @classmethod
    def of_timestep(cls, timestep: float, abar: np.ndarray, steps: float) -> Moment:
        a = float(np.interp(timestep, np.arange(len(abar)), abar))
        return cls(timestep + 1, ((1 - a) / a) ** 0.5, steps)

    def within(self, range_: Range | None) -> bool:
        """Noise falls: from >= now > to. Steps rise: from <= now < to. No range is always."""
        if range_ is None:
            return True
        now, start, end = (round(value, DECIMALS) for value in (getattr(self, range_.unit), range_.from_, range_.to))
        return start <= now < end if range_.unit == "steps" else start >= now > end
