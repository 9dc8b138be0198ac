"""Samplers in x = x0 + sigma noise (k-diffusion's family), whose network is `denoised = model(x, sigma)` (Karras et al. 2022)."""
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from modules.errors import NotHere
from modules.sd_samplers_cfg_denoiser import CFGDenoiser
from modules.sd_samplers_common import Sampler
from torch import Tensor, nn


class CompVisDenoiser(nn.Module):
    """D = x - sigma eps, or x / (sigma^2 + 1) - v sigma / sqrt(sigma^2 + 1); log sigma is interpolated between the model's 1000."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.inner_model = model
        sigmas = ((1 - model.alphas_cumprod) / model.alphas_cumprod).sqrt()
        self.register_buffer("sigmas", sigmas)
        self.register_buffer("log_sigmas", sigmas.log())

    def t_to_sigma(self, t: Tensor) -> Tensor:
        return torch.from_numpy(np.interp(t, range(len(self.sigmas)), self.log_sigmas)).float().exp()

    def sigma_to_t(self, sigma: Tensor) -> Tensor:
        return torch.from_numpy(np.interp(sigma.log(), self.log_sigmas, range(len(self.sigmas)))).float()

    def forward(self, input: Tensor, sigma: Tensor, **kwargs: Any) -> Tensor:
        t, sigma = self.sigma_to_t(sigma), sigma.view(-1, 1, 1, 1)
        variance = sigma**2 + 1
        out = self.inner_model.apply_model(input / variance.sqrt(), t, **kwargs)
        return input - sigma * out if self.inner_model.parameterization == "eps" else input / variance - out * sigma / variance.sqrt()


class CFGDenoiserKDiffusion(CFGDenoiser):
    wrapper = CompVisDenoiser


class KDiffusionSampler(Sampler):
    denoiser = CFGDenoiserKDiffusion

    def get_sigmas(self, p: Any, steps: int) -> Tensor:
        if p.scheduler not in (None, "", "Automatic", "automatic"):
            raise NotHere(f"minihost has the schedule type 'Automatic' only, not {p.scheduler!r}.")
        if self.config.options.get("scheduler") == "karras":
            lowest, highest = (float(self.model_wrap.sigmas[i]) ** (1 / 7) for i in (0, -1))     # Karras et al. 2022, eq. 5, rho = 7
            sigmas = torch.linspace(highest, lowest, steps) ** 7
        else:
            sigmas = self.model_wrap.t_to_sigma(torch.linspace(len(self.model_wrap.sigmas) - 1, 0, steps))         # evenly in t
        return torch.cat([sigmas, torch.zeros(1)])

    def begin(self, p: Any, noise: Tensor, steps: int, latent: Tensor | None = None, last: int | None = None) -> tuple[Tensor, dict]:
        sigmas = self.get_sigmas(p, steps)[-(last or steps) - 1:]
        return (0.0 if latent is None else latent) + sigmas[0] * noise, {"sigmas": sigmas}


def sample_euler_ancestral(model: Any, x: Tensor, sigmas: Tensor, extra_args: dict, callback: Callable[[dict], None],
                           eta: float = 1.0) -> Tensor:
    """Euler's method on dx/dsigma = (x - D(x; sigma)) / sigma (Karras et al. 2022, Algorithm 2 without churn) beyond the next sigma,
    and back to it by fresh noise, as in DDPM (Song et al. 2021, eq. 16); with eta 0 to it, and no noise."""
    for i, (sigma, following) in enumerate(pairwise(sigmas)):
        denoised = model(x, sigma * x.new_ones(len(x)), **extra_args)
        callback({"x": x, "i": i, "sigma": sigma, "sigma_hat": sigma, "denoised": denoised})
        up = eta * following * (1 - (following / sigma) ** 2).sqrt()
        x = denoised + (following**2 - up**2).sqrt() / sigma * (x - denoised)
        if up > 0:
            x = x + up * model.p.rng.next()
    return x


def sample_dpmpp_2m(model: Any, x: Tensor, sigmas: Tensor, extra_args: dict, callback: Callable[[dict], None]) -> Tensor:
    """DPM-Solver++(2M) in steps h of -log sigma (Lu et al. 2022, Algorithm 2); its first and its last step are of first order."""
    earlier = h_earlier = None
    for i, (sigma, following) in enumerate(pairwise(sigmas)):
        denoised = model(x, sigma * x.new_ones(len(x)), **extra_args)
        callback({"x": x, "i": i, "sigma": sigma, "sigma_hat": sigma, "denoised": denoised})
        h, d = (sigma / following).log(), denoised
        if 0 < i < len(sigmas) - 2:
            d = denoised + h / (2 * h_earlier) * (denoised - earlier)
        x = d + following / sigma * (x - d)
        earlier, h_earlier = denoised, h
    return x
