"""The network as a denoiser of noisy latents: `denoised = model(x, sigma)` (Karras et al. 2022), for eps and v prediction."""
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class DiscreteSchedule(nn.Module):
    """The model's 1000 noise levels, and everything between them by linear interpolation of log sigma."""

    def __init__(self, model: Any, quantize: bool = False) -> None:
        super().__init__()
        self.inner_model, self.quantize = model, quantize
        sigmas = ((1 - model.alphas_cumprod) / model.alphas_cumprod).sqrt()
        self.register_buffer("sigmas", sigmas)
        self.register_buffer("log_sigmas", sigmas.log())

    @property
    def sigma_min(self) -> Tensor:
        return self.sigmas[0]

    @property
    def sigma_max(self) -> Tensor:
        return self.sigmas[-1]

    def get_sigmas(self, n: int | None = None) -> Tensor:
        """n sigmas from the largest to the smallest, evenly spaced in t, and a zero."""
        last = len(self.sigmas) - 1
        t = torch.linspace(last, 0, n or last + 1, device=self.sigmas.device)
        return torch.cat([self.t_to_sigma(t), self.sigmas.new_zeros(1)])

    def t_to_sigma(self, t: Tensor) -> Tensor:
        low = t.float().floor().long()
        return torch.lerp(self.log_sigmas[low], self.log_sigmas[t.float().ceil().long()], t.float() - low).exp()

    def sigma_to_t(self, sigma: Tensor, quantize: bool | None = None) -> Tensor:
        log_sigma = sigma.log()
        high = torch.searchsorted(self.log_sigmas, log_sigma, right=True).clamp(1, len(self.log_sigmas) - 1)
        below, above = self.log_sigmas[high - 1], self.log_sigmas[high]
        t = (high - 1) + ((log_sigma - below) / (above - below)).clamp(0, 1)
        return t.round() if (self.quantize if quantize is None else quantize) else t

    def network(self, x: Tensor, sigma: Tensor, **kwargs: Any) -> Tensor:
        """The network's output for x (b, c, h, w) at sigma (b, 1, 1, 1), its input scaled to variance 1."""
        return self.inner_model.apply_model(x / (sigma**2 + 1).sqrt(), self.sigma_to_t(sigma.flatten()), **kwargs)


class CompVisDenoiser(DiscreteSchedule):
    """eps prediction: D = x - sigma eps."""

    def forward(self, input: Tensor, sigma: Tensor, **kwargs: Any) -> Tensor:
        sigma = sigma.view(-1, 1, 1, 1)
        return input - sigma * self.network(input, sigma, **kwargs)


class CompVisVDenoiser(DiscreteSchedule):
    """v prediction: D = x / (sigma^2 + 1) - v sigma / sqrt(sigma^2 + 1)."""

    def forward(self, input: Tensor, sigma: Tensor, **kwargs: Any) -> Tensor:
        sigma = sigma.view(-1, 1, 1, 1)
        v = self.network(input, sigma, **kwargs)
        return input / (sigma**2 + 1) - v * sigma / (sigma**2 + 1).sqrt()
