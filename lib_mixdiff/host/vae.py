"""The VAE in tiles, where a picture needs it."""
from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import psutil
import torch
from modules import processing, shared
from torch import Tensor

from lib_mixdiff.autoencoder import held, tiled
from lib_mixdiff.boxes import CELL_PX
from lib_mixdiff.host.protocols import Job
from lib_mixdiff.host.seams import once, swapped
from lib_mixdiff.host.settings import setting
from lib_mixdiff.layers import layers_of


def during_next(p: Job, name: str) -> None:
    """During the next `p.init` or `p.sample` the VAE works in tiles where that is needed, and what is sampled is decoded like that, too.
    The VAE is the one that is loaded when it begins; a checkpoint with a config of its own that comes later keeps its own way."""
    def around(plain: Callable, *args: Any, **kwargs: Any) -> Any:
        with ExitStack() as stack:
            networks = tileable()
            for network in networks:
                stack.enter_context(swapped(network, "forward", partial(_forward, network, network.forward)))
            result = plain(*args, **kwargs)
            return decoded(result) if _vae("decoder") in networks else result

    once(p, name, around)


def tileable() -> list[Any]:
    """The loaded VAE's encoder and decoder, as far as they are built as we know it and no other extension tiles them."""
    found = []
    for network in map(_vae, ("encoder", "decoder")):
        try:
            layers_of(network)
        except AttributeError:
            continue
        if "forward" not in vars(network):
            found.append(network)
    return found


def decoded(samples: Any) -> Any:
    """Latents as pictures, where that must be done in tiles: the host would do it when we are gone. All else as it is."""
    if not isinstance(samples, Tensor) or getattr(shared.opts, "sd_vae_decode_method", "Full") != "Full":
        return samples
    height, width = samples.shape[2:]
    if not needed(_vae("decoder"), CELL_PX * height, CELL_PX * width, samples):
        return samples
    return processing.decode_latent_batch(shared.sd_model, samples, target_device=torch.device("cpu"), check_for_nans=True)


def needed(network: Any, height: int, width: int, like: Tensor) -> bool:
    """Whether the settings want tiles for a picture of so many px."""
    when = setting("mixdiff_vae_when")
    return when == "always" or (when == "when needed" and held(network, height, width) > free(like.device))


def free(device: torch.device) -> int:
    """Bytes."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    return psutil.virtual_memory().available


def _forward(network: Any, plain: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    px = 1 if hasattr(network, "up") else CELL_PX
    height, width = (side * CELL_PX // px for side in x.shape[2:])
    if height % CELL_PX or width % CELL_PX or not needed(network, height, width, x):
        return plain(x)

    def progress(share: float) -> None:
        shared.state.textinfo = f"VAE in tiles: {share:.0%}"

    try:
        return tiled(network, x, setting("mixdiff_vae_how") == "exact", setting("mixdiff_vae_tile") // CELL_PX, progress)
    finally:
        shared.state.textinfo = None


def _vae(name: str) -> Any:
    return getattr(getattr(shared.sd_model, "first_stage_model", None), name, None)
