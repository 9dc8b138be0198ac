"""The host that a bench measures: --url of a WebUI with this extension and the shapes checkpoint, else an embedded one."""
from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zlib import crc32

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from minihost.client import Host, served

STEPS, CFG_SCALE = 20, 5


def arguments(description: str | None, count: int) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="a running host; without it an embedded one is started")
    parser.add_argument("--checkpoint", default="shapes")
    parser.add_argument("--count", type=int, default=count, help="pictures a row")
    parser.add_argument("--sampler", default="Euler")
    parser.add_argument("--pictures", type=Path, help="a folder to keep the pictures in")
    return parser


@contextmanager
def host(chosen: argparse.Namespace) -> Iterator[Host]:
    if chosen.url:
        yield Host(chosen.url)
    else:
        with served() as embedded:
            yield embedded


def drawn(on: Host, chosen: argparse.Namespace, what: str, prompt: str, width: int, height: int, seed: int,
          plan: dict | None = None) -> np.ndarray:
    """One picture (height, width, 3) uint8; RuntimeError with the host's sentence. Its file's name begins with `what`."""
    answer = on.txt2img(plan, prompt=prompt, width=width, height=height, seed=seed, steps=STEPS, cfg_scale=CFG_SCALE,
                        sampler_name=chosen.sampler, scheduler="Automatic",
                        override_settings={"sd_model_checkpoint": chosen.checkpoint})
    if answer.status != 200:
        raise RuntimeError(answer.error)
    picture = answer.pictures[0]
    if chosen.pictures:
        chosen.pictures.mkdir(parents=True, exist_ok=True)
        text = PngInfo()
        text.add_text("prompt", prompt)
        Image.fromarray(picture).save(
            chosen.pictures / f"{what} {width}x{height}-{seed}-{crc32(prompt.encode()):08x}.png", pnginfo=text)
    return picture
