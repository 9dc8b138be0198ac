"""Where and in which precision the network runs: the CPU, float32."""
from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from modules import shared
from torch import Tensor

cpu = device = torch.device("cpu")
dtype = dtype_vae = dtype_unet = dtype_inference = torch.float32
unet_needs_upcast = False


class NansException(Exception):
    pass


def autocast(disable: bool = False) -> AbstractContextManager:
    return nullcontext()


def without_autocast(disable: bool = False) -> AbstractContextManager:
    return nullcontext()


def torch_gc() -> None:
    pass


def test_for_nans(x: Tensor, where: str) -> None:
    """Looks at the first element only, like the WebUI."""
    if not shared.cmd_opts.disable_nan_check and torch.isnan(x[(0,) * x.ndim]):
        raise NansException(f"A tensor with NaNs was produced in {dict(unet='Unet', vae='VAE').get(where, where)}.")
