"""Samplers in x = x0 + sigma noise (k-diffusion's family): Euler."""
from __future__ import annotations

from typing import Any

import torch
from modules import sd_samplers_common, shared
from modules.errors import NotHere
from modules.sd_samplers_cfg_denoiser import CFGDenoiser
from modules.shared import opts
from torch import Tensor

from minihost import denoisers, samplers


class CFGDenoiserKDiffusion(CFGDenoiser):
    @property
    def inner_model(self) -> torch.nn.Module:
        if self.model_wrap is None:
            kind = denoisers.CompVisVDenoiser if shared.sd_model.parameterization == "v" else denoisers.CompVisDenoiser
            self.model_wrap = kind(shared.sd_model)
        return self.model_wrap


class KDiffusionSampler(sd_samplers_common.Sampler):
    def __init__(self, funcname: str, sd_model: Any, options: dict[str, Any] | None = None) -> None:
        super().__init__(funcname)
        self.options = options or {}
        self.func = getattr(samplers, funcname)
        self.model_wrap_cfg = CFGDenoiserKDiffusion(self)
        self.model_wrap = self.model_wrap_cfg.inner_model

    def get_sigmas(self, p: Any, steps: int) -> Tensor:
        if p.scheduler not in (None, "", "Automatic", "automatic"):
            raise NotHere(f"minihost has the schedule type 'Automatic' only, not {p.scheduler!r}.")
        return self.model_wrap.get_sigmas(steps).cpu()

    def sample(self, p: Any, x: Tensor, conditioning: Any, unconditional_conditioning: Any, steps: int | None = None,
               image_conditioning: Tensor | None = None) -> Tensor:
        steps = steps or p.steps
        sigmas = self.get_sigmas(p, steps)
        if opts.sgm_noise_multiplier:
            p.extra_generation_params["SGM noise multiplier"] = True
        x = x * ((1 + sigmas[0] ** 2).sqrt() if opts.sgm_noise_multiplier else sigmas[0])
        return self.run(p, x, conditioning, unconditional_conditioning, image_conditioning, steps, sigmas=sigmas)


samplers_data_k_diffusion = [
    sd_samplers_common.SamplerData("Euler", lambda model: KDiffusionSampler("sample_euler", model), ["k_euler"], {}),
]
