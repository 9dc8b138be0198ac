"""The VAE in tiles, where a picture needs it."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

import psutil
import torch
from modules import devices, processing, shared
from torch import Tensor

from lib_mixdiff.autoencoder import held, tiled
from lib_mixdiff.boxes import CELL_PX
from lib_mixdiff.host.protocols import Job
from lib_mixdiff.host.seams import once
from lib_mixdiff.host.settings import setting
from lib_mixdiff.layers import layers_of
from lib_mixdiff.patching import swapped


def during_next(p: Job, name: str) -> None:
    """During the next `p.init`, `p.sample` or `p.sample_hr_pass` the VAE works in tiles where that is needed."""
    def around(plain: Callable, *args: Any, **kwargs: Any) -> Any:
        with in_tiles():
            return plain(*args, **kwargs)

    once(p, name, around)


@contextmanager
def in_tiles() -> Iterator[list[Any]]:
    """For the VAE that is loaded when the block begins; its networks that can be tiled."""
    with ExitStack() as stack:
        networks = tileable()
        for network in networks:
            stack.enter_context(swapped(network, "forward", partial(_forward, network, network.forward)))
        yield networks


def tileable() -> list[Any]:
    """The loaded VAE's encoder and decoder, as far as they are built as we know it and nobody else has his hands on them."""
    found = []
    for network in map(_vae, ("encoder", "decoder")):
        try:
            layers_of(network)
        except AttributeError:
            continue
        if getattr(network.forward, "__func__", None) is type(network).forward:
            found.append(network)
    return found


class Failed:
    """In the place of pictures: the host asks whether they are decoded, and gets the error that it would only log in a hook."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    @property
    def already_decoded(self) -> bool:
        raise self.error


def decoded(samples: Any) -> Any:
    """For `post_sample`: latents as pictures, where that must be done in tiles: the host would do it when we are gone. All else as it is.
    Cannot fail."""
    if not isinstance(samples, Tensor) or getattr(shared.opts, "sd_vae_decode_method", "Full") != "Full":
        return samples
    height, width = (CELL_PX * side for side in samples.shape[2:])
    try:
        with in_tiles() as networks:
            if (decoder := _vae("decoder")) in networks and needed(decoder, height, width, samples):
                devices.test_for_nans(samples, "unet")
                return processing.decode_latent_batch(shared.sd_model, samples, target_device=torch.device("cpu"), check_for_nans=True)
    except Exception as error:
        return Failed(error)
    return samples


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


def _forward(network: Any, plain: Callable[..., Tensor], x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    px = 1 if hasattr(network, "up") else CELL_PX
    height, width = (side * CELL_PX // px for side in x.shape[2:])
    if height % CELL_PX or width % CELL_PX or setting("mixdiff_vae_when") == "never":
        return plain(x, *args, **kwargs)
    if not needed(network, height, width, x):
        with suppress(torch.cuda.OutOfMemoryError):
            return plain(x, *args, **kwargs)
    told = shared.state.textinfo

    def progress(share: float) -> None:
        shared.state.textinfo = f"VAE in tiles: {share:.0%}"

    try:
        return tiled(network, x, setting("mixdiff_vae_how") == "exact", max(1, setting("mixdiff_vae_tile") // CELL_PX), progress)
    finally:
        shared.state.textinfo = told


def _vae(name: str) -> Any:
    return getattr(getattr(shared.sd_model, "first_stage_model", None), name, None)
