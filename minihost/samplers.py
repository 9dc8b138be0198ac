"""The samplers, as the papers write them."""
from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

Callback = Callable[[dict[str, Any]], None]


@torch.no_grad()
def sample_euler(model: Any, x: Tensor, sigmas: Tensor, extra_args: dict | None = None, callback: Callback | None = None,
                 disable: bool | None = None) -> Tensor:
    """Euler's method on dx/dsigma = (x - D(x; sigma)) / sigma (Karras et al. 2022, Algorithm 2 without churn)."""
    for i, (sigma, following) in enumerate(pairwise(sigmas)):
        denoised = model(x, sigma * x.new_ones(len(x)), **(extra_args or {}))
        d = (x - denoised) / sigma
        if callback is not None:
            callback({"x": x, "i": i, "sigma": sigma, "sigma_hat": sigma, "denoised": denoised})
        x = x + d * (following - sigma)
    return x


@torch.no_grad()
def ddim(model: Any, x: Tensor, timesteps: Tensor, extra_args: dict | None = None, callback: Callback | None = None,
         disable: bool | None = None, eta: float = 0.0) -> Tensor:
    """DDIM at eta 0 (Song et al. 2021, eq. 12) down the rising list `timesteps`, whose first entry is where it ends."""
    abar = model.inner_model.inner_model.alphas_cumprod[timesteps].double()
    for i, index in enumerate(range(len(timesteps) - 1, 0, -1)):
        eps = model(x, timesteps[index].item() * x.new_ones(len(x)), **(extra_args or {}))
        a, a_prev = abar[index].item(), abar[index - 1].item()
        x0 = (x - (1 - a) ** 0.5 * eps) / a**0.5
        x = a_prev**0.5 * x0 + (1 - a_prev) ** 0.5 * eps
        if callback is not None:
            callback({"x": x, "i": i, "sigma": 0, "sigma_hat": 0, "denoised": x0})
    return x
