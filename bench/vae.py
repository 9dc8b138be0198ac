"""A VAE in tiles against the VAE: `python -m bench.vae`. Peak live bytes, seconds, and the largest difference.

The shapes checkpoint's VAE on scenes of the renderer, side by side, and Stable Diffusion 1.5's sizes with random weights on noise.
Bytes are those of all tensors, weights left out, what is kept of the whole picture in the CPU's memory among them. Differences of
what is decoded are in grey levels of 255, of what is encoded in standard deviations of the latents. Untiled, `ldm` attends with all
scores at once (the WebUI's optimisations do not): above UNTILED px there is nothing to compare with. Seconds of a machine of two cores.
"""
from __future__ import annotations

import argparse
import contextlib
import io
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.memory import MB, Live
from lib_mixdiff.autoencoder import TILE, tiled
from lib_mixdiff.boxes import CELL_PX
from minihost.shapes import world
from minihost.shapes.parts import VAE

SD15 = {**VAE, "ch": 128, "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2}
SCENE, SEED = 128, 80_000
SIZES = {"shapes": [(512, 512), (1024, 1024), (1536, 1024), (3840, 2160)], "SD1.5's sizes": [(512, 512), (1024, 768)]}
UNTILED = 1536 * 1024


def scenes(width: int, height: int) -> Tensor:
    """(1, 3, height, width) in -1..1, another scene every 128 px."""
    rng = np.random.default_rng(SEED)
    one = lambda: world.render(world.scene_at_random(rng, SCENE, SCENE, int(rng.integers(1, 5))))       # noqa: E731
    whole = np.block([[[one()] for _ in range(0, width, SCENE)] for _ in range(0, height, SCENE)])[:height, :width]
    return torch.from_numpy(np.ascontiguousarray(whole)).float().permute(2, 0, 1)[None] / 127.5 - 1


def measured(work: Callable[[], Tensor], weights: set[int]) -> tuple[Tensor, float, float]:
    """What it gives, MB and seconds."""
    began = time.monotonic()
    with Live(weights) as live:
        result = work()
    return result, live.peak / MB, time.monotonic() - began


def rows(name: str, network: Any, x: Tensor, compare: bool, grey: float) -> Tensor:
    """Prints one for each way; what the first one gave."""
    weights = {each.untyped_storage()._cdata for each in (*network.parameters(), x)}
    first, what = None, "decode" if hasattr(network, "up") else "encode"
    ways = {"untiled": lambda: network(x)} if compare else {}
    ways |= {"exact": lambda: tiled(network, x, True), "fast": lambda: tiled(network, x, False)}
    for way, work in ways.items():
        result, megabytes, seconds = measured(work, weights)
        first = result if first is None else first
        away = grey * (result - first).abs() / (1 if what == "decode" else first.std())
        difference = f"{away.max():.2g} | {away.mean():.2g}" if compare and way != "untiled" else " | "
        width, height = (side * (CELL_PX if what == "decode" else 1) for side in reversed(x.shape[2:]))
        print(f"| {name} | {what} | {width}x{height} | {way} | {megabytes:.0f} | {seconds:.1f} | {difference} |", flush=True)
    assert first is not None
    return first


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=3840 * 2160, help="px of the largest picture")
    most = parser.parse_args().most
    from minihost.boot import boot
    boot("shapes")
    from ldm.modules.diffusionmodules.model import Decoder, Encoder
    from modules import shared
    torch.manual_seed(0)
    with contextlib.redirect_stdout(io.StringIO()):
        random = Encoder(**SD15).eval(), Decoder(**SD15).eval()
    print(f"| VAE, tiles of {CELL_PX * TILE} px | | picture | way | MB | seconds | largest difference | mean |", "|---" * 8 + "|", sep="\n")
    vae = shared.sd_model.first_stage_model
    for width, height in (size for size in SIZES["shapes"] if size[0] * size[1] <= most):
        compare = width * height <= UNTILED
        moments = rows("shapes", vae.encoder, scenes(width, height), compare, 1)
        rows("shapes", vae.decoder, vae.post_quant_conv(vae.quant_conv(moments)[:, :4]), compare, 127.5)
    for width, height in (size for size in SIZES["SD1.5's sizes"] if size[0] * size[1] <= most):
        rows("SD1.5's sizes", random[0], torch.randn(1, 3, height, width), True, 1)
        rows("SD1.5's sizes", random[1], torch.randn(1, 4, height // CELL_PX, width // CELL_PX), True, 127.5)


if __name__ == "__main__":
    main()
