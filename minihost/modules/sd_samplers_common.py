"""What both families of samplers share."""
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from modules import errors, shared
from modules.shared import state
from torch import Tensor


def images_tensor_to_samples(image: Tensor, approximation: int | None = None, model: Any = None) -> Tensor:
    """Latents of pictures (b, 3, h, w) in 0..1, each with noise of its own."""
    return shared.sd_model.scale_factor * torch.cat([shared.sd_model.first_stage_model.encode(2.0 * one[None] - 1.0) for one in image])


def store_latent(decoded: Tensor) -> None:
    """For the live preview, which minihost has not."""


class SamplerData(NamedTuple):
    name: str
    constructor: Callable[[Any], Any]
    aliases: list[str]
    options: dict[str, Any]

    def total_steps(self, steps: int) -> int:
        """Calls of the network for so many steps: no sampler here is of second order."""
        return steps


class InterruptedException(BaseException):
    """Ends the sampling loop, which then gives back the last latent."""


class Sampler:
    """`func(model, x, schedule, extra_args, callback)` runs the loop. Each family has its class of `denoiser`, and `begin`: the first x,
    of unit noise, and `func`'s `sigmas` or `timesteps`; where a latent is given, that with noise, and the last ones of the steps."""

    config: SamplerData                 # set by modules.sd_samplers

    def __init__(self, func: Callable[..., Tensor], model: Any) -> None:
        self.func = func
        self.model_wrap_cfg = self.denoiser(self)
        self.model_wrap = self.model_wrap_cfg.inner_model
        self.last_latent: Tensor | None = None

    def callback_state(self, d: dict[str, Any]) -> None:
        state.sampling_step = d["i"]

    def launch_sampling(self, steps: int, func: Callable[[], Tensor]) -> Tensor:
        state.sampling_steps, state.sampling_step = steps, 0
        try:
            return func()
        except (RecursionError, InterruptedException) as e:         # the WebUI swallows the first, so here too
            errors.report(f"{type(e).__name__} while sampling: the last latent is the result.")
            return self.last_latent

    def sample(self, p: Any, x: Tensor, conditioning: Any, unconditional_conditioning: Any) -> Tensor:
        """From unit noise x."""
        x, schedule = self.begin(p, x, p.steps)
        return self._run(p, p.steps, x, x, schedule, conditioning, unconditional_conditioning)

    def sample_img2img(self, p: Any, x: Tensor, noise: Tensor, conditioning: Any, unconditional_conditioning: Any,
                       steps: int | None = None) -> Tensor:
        """From the latent x: that share of the job's steps which is the denoising strength; or, of as many as that takes, `steps`."""
        strength = min(p.denoising_strength, 0.999)
        total, last = (int(steps / strength) if strength > 0 else 0, steps) if steps else (p.steps, int(strength * p.steps) + 1)
        return self._run(p, last, x, *self.begin(p, noise, total, x, last), conditioning, unconditional_conditioning)

    def _run(self, p: Any, steps: int, latent: Tensor, x: Tensor, schedule: dict, cond: Any, uncond: Any) -> Tensor:
        denoiser, self.last_latent = self.model_wrap_cfg, latent
        denoiser.p, denoiser.step = p, 0
        extra_args = dict(cond=cond, uncond=uncond, cond_scale=p.cfg_scale, s_min_uncond=0.0,
                          image_cond=x.new_zeros(len(x), 5, 1, 1))              # for inpainting models only
        schedule |= {"extra_args": extra_args, "callback": self.callback_state}
        samples = self.launch_sampling(steps, lambda: self.func(denoiser, x, **schedule))
        if denoiser.padded_cond_uncond:
            p.extra_generation_params["Pad conds"] = True
        return samples
