"""A VAE's encoder or decoder in tiles: pictures of any size in the memory of one tile and of a part of the whole's.

What keeps tiles from being the picture are the layers that look at all of it: group norms and one attention. `exact` gives each
norm the mean and variance of the whole picture, in one more pass over the tiles for each norm, and the attention the keys and values
of the whole: the same picture up to rounding. `fast` takes means and variances from a part of the picture where a pass is dear, and
the keys and values of some of its cells.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lib_mixdiff.boxes import CELL_PX, Box
from lib_mixdiff.layers import Layer, attention, keys, layers_of
from lib_mixdiff.norms import Measured, Norms

TILE = 64               # latent cells of a tile's side, without what it sees of its neighbours
KEPT = 0.5              # of the size of the whole's finest features: what is larger is not kept but computed again in each pass
APART, SAMPLE = 8, 4    # `fast`: of so many cells each way, so many in their middle tell means and variances
HELD = 8                # times the finest features: not in tiles, that is what a VAE's memory grows to
KEYS = 4096             # `fast`: so many cells are attended to


def tiled(network: Any, x: Tensor, exact: bool, tile: int = TILE, progress: Callable[[float], None] = lambda share: None) -> Tensor:
    """`network(x)` in tiles of so many cells, x (b, c, h, w) in whole cells. What is kept of the whole lies in the CPU's memory. `progress`
    is told the share that is done. AttributeError where the network is none of those that `layers_of` knows."""
    segments = segments_of(layers_of(network))
    px = segments[0][0].of
    height, width = x.shape[2] // px, x.shape[3] // px
    tiles, some = grid(height, width, tile), [middle(each, SAMPLE) for each in grid(height, width, APART)]
    exact, h = exact or len(tiles) == 1, x
    for done, segment in enumerate(segments, 1):
        samples = tiles if exact or len(segment) == 1 else some
        norms = Norms(len(samples))
        if (block := segment[0].attention) is not None:
            found = replace(segment[0], run=partial(keys, block), channels=2 * segment[0].channels)
            apart = 1 if exact else math.ceil((height * width / KEYS) ** 0.5)
            whole = _mapped([found], h, norms, tiles, samples, x)[..., ::apart, ::apart].flatten(2)
            segment = [replace(segment[0], run=partial(attention, block, whole=whole.to(x.device)))]
        h = _mapped(segment, h, norms, tiles, samples, x)
        progress(done / len(segments))
    if not exact and bool(h.isnan().any()):     # not tiled, one would be all over the picture: hosts look at one value and try again
        h.fill_(torch.nan)
    return h.to(x.device)


def held(network: Any, height: int, width: int) -> int:
    """Bytes that an encoder or decoder, not in tiles, holds at once for a picture of so many px, about: at its finest, or with the scores
    of its attention twice."""
    finest = network.conv_out.in_channels if hasattr(network, "up") else network.conv_in.out_channels
    return max(HELD * finest * height * width, 2 * (height * width // CELL_PX**2) ** 2) * next(network.parameters()).element_size()


def segments_of(layers: list[Layer]) -> list[list[Layer]]:
    """Layers that a tile goes through at once; what comes out of the last of them is kept of the whole picture."""
    finest = max(layer.to for layer in layers)
    most = KEPT * finest**2 * min(layer.channels for layer in layers[:-1] if layer.to == finest)
    segments: list[list[Layer]] = [[]]
    for layer, before in zip(layers, [None, *layers]):
        if before and (before.channels * before.to**2 <= most or layer.attention is not None or before.attention is not None):
            segments.append([])
        segments[-1].append(layer)
    return segments


def _mapped(layers: list[Layer], x: Tensor, norms: Norms, tiles: list[Box], samples: list[Box], like: Tensor) -> Tensor:
    """What the layers make of x, on the CPU; `samples` are the tiles that tell the norms' statistics."""
    of, to = layers[0].of, layers[-1].to
    margin = 0
    for layer in reversed(layers):
        margin = layer.margin(margin)
    margin = -(-margin // of) * of if to < of else margin           # whole cells can be halved as often as it takes

    def run(box: Box) -> Tensor:
        core = scaled(box, of)
        seen = Box(core.top - margin, core.left - margin, core.bottom + margin, core.right + margin).cut(*x.shape[2:]) or core
        h = x[seen.of].to(like.device)
        for layer in layers:
            h = layer.run(h, norms.of(scaled(core.inside(seen), layer.of / of)))
        return h[scaled(core.inside(seen), to / of).of]

    done: dict[Box, Tensor] = {}
    while not done:                 # the first that runs through tells that all would
        for box in samples:
            try:
                done[box] = run(box)
                break
            except Measured:
                pass
    out = torch.empty(x.shape[0], layers[-1].channels, x.shape[2] * to // of, x.shape[3] * to // of, dtype=like.dtype)
    for box in tiles:
        out[scaled(box, to).of] = done.pop(box) if box in done else run(box)
    return out


def scaled(box: Box, factor: float) -> Box:
    return Box(*(int(each * factor) for each in (box.top, box.left, box.bottom, box.right)))


def grid(height: int, width: int, side: int) -> list[Box]:
    """Boxes that cover so many cells without overlap, as even as may be, none larger than side x side."""
    rows, columns = ([(i * length // count, (i + 1) * length // count) for i in range(count)]
                     for length in (height, width) for count in [-(-length // side)])
    return [Box(top, left, bottom, right) for top, bottom in rows for left, right in columns]


def middle(box: Box, side: int) -> Box:
    """Of a box, at most so many cells each way."""
    height, width = min(side, box.height), min(side, box.width)
    top, left = box.top + (box.height - height) // 2, box.left + (box.width - width) // 2
    return Box(top, left, top + height, left + width)
