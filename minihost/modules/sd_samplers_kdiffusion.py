"""Samplers in x = x0 + sigma noise (k-diffusion's family), whose network is `denoised = model(x, sigma)` (Karras et al. 2022): Euler."""
from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, ClassVar

import torch
from modules.errors import NotHere
from modules.sd_samplers_cfg_denoiser import CFGDenoiser
from modules.sd_samplers_common import Sampler, SamplerData
from torch import Tensor, nn


class CompVisDenoiser(nn.Module):
    """eps prediction: D = x - sigma eps. Between the model's 1000 noise levels log sigma is interpolated."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.inner_model = model
        sigmas = ((1 - model.alphas_cumprod) / model.alphas_cumprod).sqrt()
        self.register_buffer("sigmas", sigmas)
        self.register_buffer("log_sigmas", sigmas.log())

    def get_sigmas(self, n: int) -> Tensor:
        """n sigmas from the largest to the smallest, evenly spaced in t, and a zero."""
        return torch.cat([self.t_to_sigma(torch.linspace(len(self.sigmas) - 1, 0, n)), self.sigmas.new_zeros(1)])

    def t_to_sigma(self, t: Tensor) -> Tensor:
        low = t.float().floor().long()
        return torch.lerp(self.log_sigmas[low], self.log_sigmas[t.float().ceil().long()], t.float() - low).exp()

    def sigma_to_t(self, sigma: Tensor) -> Tensor:
        log_sigma = sigma.log()
        high = torch.searchsorted(self.log_sigmas, log_sigma, right=True).clamp(1, len(self.log_sigmas) - 1)
        below, above = self.log_sigmas[high - 1], self.log_sigmas[high]
        return (high - 1) + ((log_sigma - below) / (above - below)).clamp(0, 1)

    def network(self, x: Tensor, sigma: Tensor, **kwargs: Any) -> Tensor:
        """The network's output for x (b, c, h, w) at sigma (b, 1, 1, 1), its input scaled to variance 1."""
        return self.inner_model.apply_model(x / (sigma**2 + 1).sqrt(), self.sigma_to_t(sigma.flatten()), **kwargs)

    def forward(self, input: Tensor, sigma: Tensor, **kwargs: Any) -> Tensor:
        sigma = sigma.view(-1, 1, 1, 1)
        return input - sigma * self.network(input, sigma, **kwargs)


class CompVisVDenoiser(CompVisDenoiser):
    """v prediction: D = x / (sigma^2 + 1) - v sigma / sqrt(sigma^2 + 1)."""

    def forward(self, input: Tensor, sigma: Tensor, **kwargs: Any) -> Tensor:
        sigma = sigma.view(-1, 1, 1, 1)
        v = self.network(input, sigma, **kwargs)
        return input / (sigma**2 + 1) - v * sigma / (sigma**2 + 1).sqrt()


class CFGDenoiserKDiffusion(CFGDenoiser):
    wrappers: ClassVar = dict(eps=CompVisDenoiser, v=CompVisVDenoiser)


class KDiffusionSampler(Sampler):
    def start(self, p: Any, x: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        if p.scheduler not in (None, "", "Automatic", "automatic"):
            raise NotHere(f"minihost has the schedule type 'Automatic' only, not {p.scheduler!r}.")
        sigmas = self.model_wrap.get_sigmas(steps)
        return x * sigmas[0], sigmas


def sample_euler(model: Any, x: Tensor, sigmas: Tensor, extra_args: dict, callback: Callable[[dict], None]) -> Tensor:
    """Euler's method on dx/dsigma = (x - D(x; sigma)) / sigma (Karras et al. 2022, Algorithm 2 without churn)."""
    for i, (sigma, following) in enumerate(pairwise(sigmas)):
        denoised = model(x, sigma * x.new_ones(len(x)), **extra_args)
        d = (x - denoised) / sigma
        callback({"x": x, "i": i, "sigma": sigma, "sigma_hat": sigma, "denoised": denoised})
        x = x + d * (following - sigma)
    return x


samplers_data_k_diffusion = [SamplerData("Euler", lambda model: KDiffusionSampler(sample_euler, CFGDenoiserKDiffusion), ["k_euler"], {})]
