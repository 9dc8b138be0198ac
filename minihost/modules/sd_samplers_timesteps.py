"""Samplers in x_t of unit variance that ask for eps at a timestep (CompVis's family): DDIM."""
from collections.abc import Callable
from typing import Any

import torch
from modules import shared
from modules.sd_samplers_cfg_denoiser import CFGDenoiser
from modules.sd_samplers_common import Sampler
from torch import Tensor, nn


class CompVisTimestepsDenoiser(nn.Module):
    """eps; with v prediction it is sqrt(abar) v + sqrt(1 - abar) x."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.inner_model = model

    def forward(self, input: Tensor, timesteps: Tensor, **kwargs: Any) -> Tensor:
        out = self.inner_model.apply_model(input, timesteps, **kwargs)
        abar = self.inner_model.alphas_cumprod[timesteps.long()].view(-1, 1, 1, 1)
        return out if self.inner_model.parameterization == "eps" else abar.sqrt() * out + (1 - abar).sqrt() * input


class CFGDenoiserTimesteps(CFGDenoiser):
    wrapper = CompVisTimestepsDenoiser
    mask_before_denoising = True

    def get_pred_x0(self, x_in: Tensor, x_out: Tensor, sigma: Tensor) -> Tensor:
        abar = shared.sd_model.alphas_cumprod[sigma.long()].view(-1, 1, 1, 1)
        return (x_in - (1 - abar).sqrt() * x_out) / abar.sqrt()


class CompVisSampler(Sampler):
    denoiser = CFGDenoiserTimesteps

    def get_timesteps(self, p: Any, steps: int) -> Tensor:
        """0, 1000 // steps, ... below 1000, each one later; the first is where sampling ends."""
        return (torch.arange(0, 1000, 1000 // steps) + 1).clamp(0, 999)

    def begin(self, p: Any, noise: Tensor, steps: int, latent: Tensor | None = None, last: int | None = None) -> tuple[Tensor, dict]:
        timesteps = self.get_timesteps(p, steps)
        if latent is None:
            return noise, {"timesteps": timesteps}
        abar = shared.sd_model.alphas_cumprod[timesteps[last - 1]]          # of one step more than there will be
        return abar.sqrt() * latent + (1 - abar).sqrt() * noise, {"timesteps": timesteps[:last - 1]}


def ddim(model: Any, x: Tensor, timesteps: Tensor, extra_args: dict, callback: Callable[[dict], None]) -> Tensor:
    """DDIM at eta 0 (Song et al. 2021, eq. 12) down the rising list `timesteps`, whose first entry is where it ends."""
    abar = shared.sd_model.alphas_cumprod[timesteps].double()
    for i, index in enumerate(range(len(timesteps) - 1, 0, -1)):
        eps = model(x, timesteps[index].item() * x.new_ones(len(x)), **extra_args)
        a, a_prev = abar[index].item(), abar[index - 1].item()
        x0 = (x - (1 - a) ** 0.5 * eps) / a**0.5
        x = a_prev**0.5 * x0 + (1 - a_prev) ** 0.5 * eps
        callback({"x": x, "i": i, "sigma": 0, "sigma_hat": 0, "denoised": x0})
    return x
