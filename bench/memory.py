"""A large canvas in the memory of one tile batch: `python -m bench.memory`. Peak live tensor bytes of sampling, weights left out.

`tile batch`: a plain job as large as one batch of tiles; `canvas`: a plain job of the canvas's size whose network returns its input,
what the host itself holds. Tiles of 256 px, 4 in a batch, CFG, 4 steps, the embedded host with the shapes checkpoint.
"""
from __future__ import annotations

import argparse
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

TILE, BATCH, STEPS = 256, 4, 4
CANVASES = [(512, 512), (1024, 768), (1920, 1080), (3840, 2160)]
MB = 1 << 20


class Live(TorchDispatchMode):
    """Counts the bytes of the storages that operations of this thread bring forth, as long as they live; `known` ones aside."""

    def __init__(self, known: set[int]) -> None:
        super().__init__()
        self.known, self.alive = known, {}
        self.bytes = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for storage in (leaf.untyped_storage() for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)):
            if (key := storage._cdata) not in self.known and key not in self.alive:
                size = storage.nbytes()
                self.alive[key] = weakref.ref(storage, lambda _, key=key, size=size: self.freed(key, size))
                self.bytes += size
        self.peak = max(self.peak, self.bytes)
        return result

    def freed(self, key: int, size: int) -> None:
        del self.alive[key]
        self.bytes -= size


@contextmanager
def counted() -> Iterator[list[int]]:
    """The most bytes alive at once in each pass that is sampled inside the block, in this process."""
    from modules import shared
    from modules.processing import StableDiffusionProcessingTxt2Img as Job

    weights = {t.untyped_storage()._cdata for t in (*shared.sd_model.parameters(), *shared.sd_model.buffers())}
    peaks: list[int] = []
    plain = Job.sample

    def sample(self: Any, *args: Any, **kwargs: Any) -> Any:
        with Live(weights) as live:
            result = plain(self, *args, **kwargs)
        peaks.append(live.peak)
        return result

    Job.sample = sample
    try:
        yield peaks
    finally:
        Job.sample = plain


@contextmanager
def returning_input() -> Iterator[None]:
    from modules import shared

    network = shared.sd_model.model.diffusion_model
    network.forward = lambda x, *args, **kwargs: x.clone()
    try:
        yield
    finally:
        del network.forward


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--canvases", type=int, default=len(CANVASES), help="only so many, the smallest first")
    chosen = arguments.parse_args()

    from fastapi.testclient import TestClient

    from minihost.boot import boot
    http = TestClient(boot("shapes"))

    def peak(width: int, height: int, plan: dict | None = None, **fields: Any) -> int:
        body = {"prompt": "a red circle on a gray background", "width": width, "height": height, "steps": STEPS, "seed": 1, "cfg_scale": 5,
                "sampler_name": "Euler", "scheduler": "Automatic", **fields}
        from modules import processing
        decode: Callable = processing.decode_latent_batch
        processing.decode_latent_batch = lambda model, batch: [torch.zeros(3, 64, 64) for _ in batch]      # of which this is not about
        try:
            with counted() as peaks:
                answer = http.post("/sdapi/v1/txt2img", json={**body, "alwayson_scripts": {"mixdiff": {"args": [plan]}} if plan else {}})
        finally:
            processing.decode_latent_batch = decode
        if answer.status_code != 200:
            raise RuntimeError(answer.text)
        return peaks[0]

    tile = peak(TILE, TILE, batch_size=BATCH)
    print("| canvas | tile batch, MB | canvas, MB | tiled job, MB | over both together | seconds |\n|---|---|---|---|---|---|", flush=True)
    for width, height in CANVASES[:chosen.canvases]:
        with returning_input():
            canvas = peak(width, height)
        began = time.monotonic()
        tiled = peak(width, height, {"tiles": {"width": TILE, "height": TILE, "batch": BATCH, "grid": "fixed"}})
        print(f"| {width}x{height} | {tile / MB:.1f} | {canvas / MB:.1f} | {tiled / MB:.1f} | {tiled / (tile + canvas):.3f} "
              f"| {time.monotonic() - began:.0f} |", flush=True)


if __name__ == "__main__":
    main()
