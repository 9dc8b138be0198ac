"""The loop seam: guide images pull the prediction above guidance, around the sampler's own function."""
from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from typing import Any

import numpy as np
import torch
from modules import devices, sd_samplers_common, shared
from PIL import Image
from torch import Tensor

from lib_mixdiff.errors import inside
from lib_mixdiff.guides import Pull, holds_above, pulled, shown
from lib_mixdiff.host.clock import Clock, in_sigmas
from lib_mixdiff.host.images import opened
from lib_mixdiff.host.protocols import Job
from lib_mixdiff.moments import Moment
from lib_mixdiff.patching import swapped
from lib_mixdiff.plan import ModelPlan
from lib_mixdiff.regions import Canvas


def pulls_of(plan: ModelPlan, canvas: Canvas) -> list[Pull]:
    """The guides of one pass, encoded."""
    pulls = []
    for index, guide in enumerate(plan.guides):
        if not guide.enabled or guide.strength == 0:
            continue
        with inside("guides"), inside(index):
            with inside("image"):
                image = opened(guide.image)
            with inside("mask"):
                mask = None if guide.mask is None else opened(guide.mask)
            seen = shown(guide, image, canvas, mask)
        if seen is None:
            continue
        encoded = latent_of(seen.picture)
        latent, where = encoded.new_zeros(*encoded.shape[:2], canvas.height, canvas.width), torch.zeros(1, 1, canvas.height, canvas.width)
        latent[seen.box.of], where[seen.box.of] = encoded, seen.mask.float()
        pulls.append(Pull(latent, where.to(latent), holds_above(guide.strength)))
    return pulls


def latent_of(picture: Image.Image) -> Tensor:
    """The posterior's mean for an RGB picture, (1, channels, height, width), on the host's own way to latents, which samples it."""
    x = torch.from_numpy(np.asarray(picture, np.float32) / 255).permute(2, 0, 1)[None]
    model, moments = shared.sd_model, []
    hook = model.first_stage_model.quant_conv.register_forward_hook(lambda module, given, made: moments.append(made))
    kept = torch.get_rng_state()            # img2img draws from it later on
    try:
        with torch.no_grad(), devices.autocast():
            sd_samplers_common.images_tensor_to_samples(x, 0, model)
    finally:
        hook.remove()
        torch.set_rng_state(kept)
    return model.scale_factor * moments[-1].float().chunk(2, 1)[0].clone()


class Guiding:
    """One pass."""

    def __init__(self, p: Job, pulls: list[Pull], noise: Tensor, clock: Clock) -> None:
        self.p, self.sampler, self.denoiser, self.noise, self.clock = p, p.sampler, p.sampler.model_wrap_cfg, noise, clock
        self.pulls = [self._on(pull, noise) for pull in pulls]
        self.held: list[Pull] = []              # at the last evaluation

    def _on(self, pull: Pull, like: Tensor) -> Pull:
        """Where inpainting draws nothing, nothing is guided."""
        mask, nmask = pull.mask.to(like.device), getattr(self.p, "nmask", None)
        return Pull(pull.latent.to(like.device), mask if nmask is None else mask * nmask.to(mask), pull.holds_above)

    def lead(self, stack: ExitStack) -> None:
        """The picture begins and ends with them."""
        func = self.sampler.func
        stack.enter_context(swapped(self.sampler, "func", lambda *args, **kwargs: self.loop(func, *args, **kwargs)))

    def pulling(self) -> AbstractContextManager[None]:
        """Every prediction is pulled."""
        forward = self.denoiser.forward
        return swapped(self.denoiser, "forward", lambda *args, **kwargs: self.denoise(forward, *args, **kwargs))

    def at(self, level: Tensor | float) -> tuple[list[Pull], Moment]:
        now = self.clock.moment(level)
        return [pull for pull in self.pulls if now.timestep > pull.holds_above], now

    def loop(self, func: Any, model: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """From noise on the guides, and to their end where they hold that long: several samplers would miss it by a few percent."""
        return pulled(func(model, self.started(x, kwargs), *args, **kwargs), self.held)

    def started(self, x: Tensor, kwargs: dict[str, Any]) -> Tensor:
        """The latent with which the loop that gets these arguments begins."""
        held, now = self.at(self.clock.first_level(kwargs))
        scale = 1.0 if in_sigmas(self.denoiser) else (1 + now.sigma**2) ** -0.5
        return pulled(x, held, scale, scale * now.sigma * self.noise)

    def kept(self, x: Tensor, own: Tensor) -> Tensor:
        """x, and where guides hold what the prediction that they have pulled came to."""
        for pull in self.held:
            x = torch.lerp(x, own, pull.mask.to(x))
        return x

    def denoise(self, forward: Any, x: Tensor, level: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """What the sampler is told is the image where a guide holds; so are the preview and what an interrupt leaves."""
        self.held, now = self.at(level)             # before forward counts the call
        out = forward(x, level, *args, **kwargs)
        if not self.held:
            return out
        self.sampler.last_latent = pulled(self.sampler.last_latent, self.held)
        if in_sigmas(self.denoiser):
            out = x0 = pulled(out, self.held)
        else:
            x_ve = x * (1 + now.sigma**2) ** 0.5                                # eps = (x_ve - x0) / sigma
            out = pulled(out, self.held, -1 / now.sigma, x_ve / now.sigma)
            x0 = x_ve - now.sigma * out
            if getattr(self.denoiser, "need_last_noise_uncond", False):         # DDIM CFG++ steps along it
                self.denoiser.last_noise_uncond = pulled(self.denoiser.last_noise_uncond, self.held, -1 / now.sigma, x_ve / now.sigma)
        sd_samplers_common.store_latent(x0.clone())         # LCM writes into what it gets
        return out
