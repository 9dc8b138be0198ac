"""What both families of samplers share."""
from __future__ import annotations

import inspect
import sys
from collections import namedtuple
from collections.abc import Callable
from typing import Any

from modules import shared
from modules.errors import NotHere
from modules.shared import opts, state
from torch import Tensor


class SamplerData(namedtuple("SamplerDataTuple", ["name", "constructor", "aliases", "options"])):
    def total_steps(self, steps: int) -> int:
        """Calls of the network for so many steps."""
        return 2 * steps if self.options.get("second_order") else steps


class InterruptedException(BaseException):
    """Ends the sampling loop, which then gives back the last latent."""


def store_latent(decoded: Tensor) -> None:
    state.current_latent = decoded


class Sampler:
    eta_option_field, eta_default = "eta_ancestral", 1.0

    def __init__(self, funcname: Any) -> None:
        self.funcname = self.func = funcname
        self.config: SamplerData | None = None          # set by sd_samplers.create_sampler
        self.p = self.model_wrap = self.model_wrap_cfg = self.sampler_extra_args = None
        self.last_latent: Tensor | None = None
        self.stop_at = self.eta = self.s_min_uncond = self.sampler_noises = None
        self.conditioning_key = shared.sd_model.model.conditioning_key
        self.extra_params: list[str] = []
        self.options: dict[str, Any] = {}

    def callback_state(self, d: dict[str, Any]) -> None:
        if self.stop_at is not None and d["i"] > self.stop_at:
            raise InterruptedException
        state.sampling_step = d["i"]

    def launch_sampling(self, steps: int, func: Callable[[], Tensor]) -> Tensor:
        self.model_wrap_cfg.steps = steps
        self.model_wrap_cfg.total_steps = self.config.total_steps(steps)
        state.sampling_steps, state.sampling_step = steps, 0
        try:
            return func()
        except RecursionError:          # swallowed by the WebUI, so here too
            print("RecursionError while sampling: the last latent is the result.", file=sys.stderr)
            return self.last_latent
        except InterruptedException:
            return self.last_latent

    def initialize(self, p: Any) -> dict[str, Any]:
        """Ties the sampler to a job; the extra arguments of its function."""
        self.p = self.model_wrap_cfg.p = p
        self.model_wrap_cfg.mask, self.model_wrap_cfg.nmask = getattr(p, "mask", None), getattr(p, "nmask", None)
        self.model_wrap_cfg.step = 0
        self.eta = getattr(opts, self.eta_option_field) if p.eta is None else p.eta
        if p.eta or p.s_churn:
            raise NotHere("minihost's samplers are deterministic: take eta and s_churn out of the request.")
        self.s_min_uncond = p.s_min_uncond or 0.0
        return {"eta": self.eta} if "eta" in inspect.signature(self.func).parameters else {}

    def run(self, p: Any, x: Tensor, cond: Any, uncond: Any, image_cond: Tensor, steps: int, **schedule: Tensor) -> Tensor:
        """Runs `self.func`, as it is when the loop starts."""
        arguments = {**self.initialize(p), **schedule}
        self.last_latent = x
        self.sampler_extra_args = dict(cond=cond, image_cond=image_cond, uncond=uncond, cond_scale=p.cfg_scale,
                                       s_min_uncond=self.s_min_uncond)
        samples = self.launch_sampling(steps, lambda: self.func(
            self.model_wrap_cfg, x, extra_args=self.sampler_extra_args, disable=False, callback=self.callback_state, **arguments))
        self.add_infotext(p)
        return samples

    def add_infotext(self, p: Any) -> None:
        if self.model_wrap_cfg.padded_cond_uncond:
            p.extra_generation_params["Pad conds"] = True
