"""How noisy, and how far, at each call of the denoiser."""
from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from modules import shared
from torch import Tensor

from lib_mixdiff.guides import LAST_TIMESTEP
from lib_mixdiff.host.protocols import Denoiser, Sampler
from lib_mixdiff.moments import Moment
from lib_mixdiff.patching import swapped


class Clock:
    """One pass. The length of its loop is read when that starts: timestep samplers take another than the job's steps."""

    def __init__(self, sampler: Sampler) -> None:
        self.sampler, self.denoiser = sampler, sampler.model_wrap_cfg
        self.unipc = sampler.config.name == "UniPC"     # its loop has its own beginning, and makes a step of the last timestep too
        self.steps = 1
        self.first = 0                                  # of the sampler's own steps, where others are taken before
        self.levels: list[float] = []                   # of the loop's steps, as the sampler says them; none where it finds them as it goes
        self.schedule: Tensor | None = None             # of the model: the refiner may bring another
        self.abar = np.empty(0)                         # the same, at hand

    def enter(self, stack: ExitStack) -> None:
        func = self.sampler.func

        def loop(*args: Any, **kwargs: Any) -> Tensor:
            self.begin(kwargs)
            return func(*args, **kwargs)

        stack.enter_context(swapped(self.sampler, "func", loop))

    def begin(self, kwargs: dict[str, Any]) -> None:
        """The loop gets these arguments."""
        self.steps = max(1, self.length(kwargs))
        levels = kwargs["timesteps"].flip(0) if "timesteps" in kwargs else kwargs.get("sigmas", torch.empty(0))
        self.levels = levels[:self.steps].tolist()

    def length(self, kwargs: dict[str, Any]) -> int:
        """Steps of the loop that gets these arguments (modules/sd_samplers_timesteps_impl.py)."""
        if "timesteps" in kwargs:
            return len(kwargs["timesteps"]) - (not self.unipc)
        return len(kwargs["sigmas"]) - 1 if "sigmas" in kwargs else kwargs.get("n") or shared.state.sampling_steps

    def first_level(self, kwargs: dict[str, Any]) -> Tensor | float:
        """Of the loop that gets these arguments, as the sampler says it: sigma, or the timestep."""
        if "timesteps" in kwargs:
            return LAST_TIMESTEP - 1 if self.unipc and not kwargs.get("is_img2img") else kwargs["timesteps"][-1]
        return kwargs["sigmas"][0] if "sigmas" in kwargs else kwargs["sigma_max"]

    @property
    def call(self) -> tuple[int, int]:
        """Of the call at hand, the index of its step, and its own in that: a sampler of second order calls twice in a step."""
        calls, config = self.denoiser.step, self.sampler.config
        calls -= config.name == "PLMS" and calls > self.first   # it calls twice in its first step
        return divmod(calls, config.total_steps(1))

    def moment(self, level: Tensor | float, step: int | None = None) -> Moment:
        """Of the call at hand, or of a step; `level` as the sampler says it: sigma, or the timestep."""
        if self.schedule is not shared.sd_model.alphas_cumprod:
            self.schedule = shared.sd_model.alphas_cumprod
            self.abar = self.schedule.cpu().double().numpy()
        value = float(level.flatten()[0] if isinstance(level, Tensor) else level)
        done = min(self.call[0] if step is None else step, self.steps - 1) / self.steps
        return (Moment.of_sigma if in_sigmas(self.denoiser) else Moment.of_timestep)(value, self.abar, done)

    def moments(self, first: int = 0) -> list[Moment]:
        """Of the steps from `first` on, as far as they are known."""
        return [self.moment(level, step) for step, level in enumerate(self.levels[first:], first)]


def in_sigmas(denoiser: Denoiser) -> bool:
    """Whether x is x0 + sigma noise and predictions are x0; else x has unit variance and they are eps."""
    return hasattr(denoiser.inner_model, "sigmas")
