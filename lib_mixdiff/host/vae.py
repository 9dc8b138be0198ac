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


def during_next(p: Job, name: str) -> None:
    """During the next `p.init` or `p.sample` the VAE works in tiles where that is needed, and what is sampled is decoded like that, too."""
    def around(plain: Callable, *args: Any, **kwargs: Any) -> Any:
        with ExitStack() as stack:
            in_tiles(stack)
            return decoded(plain(*args, **kwargs))

    once(p, name, around)


def in_tiles(stack: ExitStack) -> None:
    """For the checkpoint that is loaded now. Where another extension tiles its VAE, that stays so."""
    first_stage = shared.sd_model.first_stage_model
    for name in ("encoder", "decoder"):
        network = getattr(first_stage, name, None)
        if network is not None and "forward" not in vars(network):
            stack.enter_context(swapped(network, "forward", partial(_forward, network, network.forward)))


def decoded(samples: Any) -> Any:
    """Latents as pictures, where that must be done in tiles: the host would do it when we are gone. All else as it is."""
    if not isinstance(samples, Tensor) or getattr(shared.opts, "sd_vae_decode_method", "Full") != "Full":
        return samples
    height, width = samples.shape[2:]
    if not needed(shared.sd_model.first_stage_model.decoder, CELL_PX * height, CELL_PX * width, samples):
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
    except AttributeError:
        return plain(x)         # one that is built in another way
    finally:
        shared.state.textinfo = None
