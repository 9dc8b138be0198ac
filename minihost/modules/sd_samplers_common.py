"""What both families of samplers share."""
from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from modules.shared import state
from torch import Tensor


class SamplerData(NamedTuple):
    name: str
    constructor: Callable[[Any], Sampler]
    aliases: list[str]
    options: dict[str, Any]

    def total_steps(self, steps: int) -> int:
        """Calls of the network for so many steps: no sampler here is of second order."""
        return steps


class InterruptedException(BaseException):
    """Ends the sampling loop, which then gives back the last latent."""


class Sampler:
    """`func(model, x, schedule, extra_args, callback)` runs the loop; `denoiser` is the family's CFGDenoiser.

    Each family has its `start(p, x, steps)`: the latent to begin with, made of unit noise, and the sigmas or timesteps.
    """

    def __init__(self, func: Callable[..., Tensor], denoiser: type) -> None:
        self.func = func
        self.model_wrap_cfg = denoiser(self)
        self.model_wrap = self.model_wrap_cfg.inner_model
        self.last_latent: Tensor | None = None

    def callback_state(self, d: dict[str, Any]) -> None:
        state.sampling_step = d["i"]

    def launch_sampling(self, steps: int, func: Callable[[], Tensor]) -> Tensor:
        state.sampling_steps, state.sampling_step = steps, 0
        try:
            return func()
        except RecursionError:          # swallowed by the WebUI, so here too
            print("RecursionError while sampling: the last latent is the result.", file=sys.stderr)
            return self.last_latent
        except InterruptedException:
            return self.last_latent

    def sample(self, p: Any, x: Tensor, conditioning: Any, unconditional_conditioning: Any, steps: int | None = None,
               image_conditioning: Tensor | None = None) -> Tensor:
        steps = steps or p.steps
        x, schedule = self.start(p, x, steps)
        self.model_wrap_cfg.p, self.last_latent = p, x
        extra_args = dict(cond=conditioning, image_cond=image_conditioning, uncond=unconditional_conditioning, cond_scale=p.cfg_scale,
                          s_min_uncond=0.0)
        samples = self.launch_sampling(steps, lambda: self.func(
            self.model_wrap_cfg, x, schedule, extra_args=extra_args, callback=self.callback_state))
        if self.model_wrap_cfg.padded_cond_uncond:
            p.extra_generation_params["Pad conds"] = True
        return samples
