"""What a U-Net predicts: noise (eps), or v = sqrt(abar) eps - sqrt(1 - abar) x0 (Salimans and Ho, 2022); each from the other."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def eps_from_v(v: Tensor, x: Tensor, abar: Tensor) -> Tensor:
    """x is the network's input, of unit variance."""
    return abar.sqrt() * v + (1 - abar).sqrt() * x


def v_from_eps(eps: Tensor, x: Tensor, abar: Tensor) -> Tensor:
    return (eps - (1 - abar).sqrt() * x) / abar.sqrt()


FROM = {"v": eps_from_v, "eps": v_from_eps}         # what it predicts, into the other


def log_sigmas_of(schedule: Tensor) -> Tensor:
    """(1000,) of abar."""
    return ((1 - schedule.double()) / schedule.double()).log() / 2


def abar_at(timesteps: Tensor, log_sigmas: Tensor) -> Tensor:
    """Between two timesteps log sigma is linear, as in k-diffusion. (images, 1, 1, 1)."""
    low = timesteps.floor().long().clamp(0, len(log_sigmas) - 1)
    high = timesteps.ceil().long().clamp(0, len(log_sigmas) - 1)
    return torch.sigmoid(-2 * torch.lerp(log_sigmas[low], log_sigmas[high], (timesteps - low).to(log_sigmas)))[:, None, None, None]


@contextmanager
def converted(network: nn.Module, predicts: str, log_sigmas: Tensor) -> Iterator[None]:
    """Inside the block the U-Net, which predicts this, gives the other."""
    def after(module: nn.Module, args: tuple, kwargs: dict[str, Any], out: Tensor) -> Tensor:
        x, timesteps = args[0], args[1] if len(args) > 1 else kwargs["timesteps"]
        return FROM[predicts](out.float(), x[:, :out.shape[1]].float(), abar_at(timesteps, log_sigmas)).to(out.dtype)

    handle = network.register_forward_hook(after, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
