"""Samplers in x_t of unit variance that ask for eps at a timestep (CompVis's family): DDIM."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from modules import devices, sd_samplers_common, shared
from modules.sd_samplers_cfg_denoiser import CFGDenoiser
from torch import Tensor, nn

from minihost import samplers


class CompVisTimestepsDenoiser(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.inner_model = model

    def forward(self, input: Tensor, timesteps: Tensor, **kwargs: Any) -> Tensor:
        return self.inner_model.apply_model(input, timesteps, **kwargs)


class CompVisTimestepsVDenoiser(CompVisTimestepsDenoiser):
    """eps = sqrt(abar) v + sqrt(1 - abar) x."""

    def forward(self, input: Tensor, timesteps: Tensor, **kwargs: Any) -> Tensor:
        v = super().forward(input, timesteps, **kwargs)
        abar = self.inner_model.alphas_cumprod[timesteps.long()].view(-1, 1, 1, 1)
        return abar.sqrt() * v + (1 - abar).sqrt() * input


class CFGDenoiserTimesteps(CFGDenoiser):
    mask_before_denoising = True

    def __init__(self, sampler: Any) -> None:
        super().__init__(sampler)
        self.alphas = shared.sd_model.alphas_cumprod

    @property
    def inner_model(self) -> nn.Module:
        if self.model_wrap is None:
            kind = CompVisTimestepsVDenoiser if shared.sd_model.parameterization == "v" else CompVisTimestepsDenoiser
            self.model_wrap = kind(shared.sd_model)
        return self.model_wrap

    def get_pred_x0(self, x_in: Tensor, x_out: Tensor, sigma: Tensor) -> Tensor:
        abar = self.alphas[sigma.long()].view(-1, 1, 1, 1)
        return (x_in - (1 - abar).sqrt() * x_out) / abar.sqrt()


class CompVisSampler(sd_samplers_common.Sampler):
    eta_option_field, eta_default = "eta_ddim", 0.0

    def __init__(self, funcname: Callable, sd_model: Any) -> None:
        super().__init__(funcname)
        self.model_wrap_cfg = CFGDenoiserTimesteps(self)
        self.model_wrap = self.model_wrap_cfg.inner_model

    def get_timesteps(self, p: Any, steps: int) -> Tensor:
        """0, 1000 // steps, ... below 1000, each one later; the first is where sampling ends."""
        return (torch.arange(0, 1000, 1000 // steps, device=devices.device) + 1).clamp(0, 999)

    def sample(self, p: Any, x: Tensor, conditioning: Any, unconditional_conditioning: Any, steps: int | None = None,
               image_conditioning: Tensor | None = None) -> Tensor:
        steps = steps or p.steps
        timesteps = self.get_timesteps(p, steps)
        return self.run(p, x, conditioning, unconditional_conditioning, image_conditioning, steps, timesteps=timesteps)


samplers_data_timesteps = [
    sd_samplers_common.SamplerData("DDIM", lambda model: CompVisSampler(samplers.ddim, model), ["ddim"], {}),
]
