"""The layers of a VAE's encoder and decoder, one after the other, so that each can run on a part of the picture."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SCORES = 2**24          # of the attention, that are held at once

Normed = Callable[[nn.GroupNorm, Tensor], Tensor]


@dataclass(frozen=True)
class Layer:
    """What leads from features to features, (b, c, h, w), with a way to normalise on it."""
    run: Callable[[Tensor, Normed], Tensor]
    channels: int               # of what comes out
    of: int                     # px of what goes in, for each latent cell
    to: int                     # px of what comes out
    reach: int                  # px of the finer of both around a pixel, on which it depends
    attention: Any = None       # the module, where the layer looks at everything

    def margin(self, after: int) -> int:
        """Px around a tile that must go in, if so many that come out are to be right."""
        return -(-(after + self.reach) // 2) if self.to > self.of else after * (self.of // self.to) + self.reach


def layers_of(network: Any) -> list[Layer]:
    """Those of an Encoder or Decoder of `ldm`, `sgm` or SD3. AttributeError where it is built otherwise."""
    decodes = hasattr(network, "up")
    levels = list(reversed(network.up)) if decodes else list(network.down)
    px = 1 if decodes else 2 ** (len(levels) - 1)
    layers = [Layer(lambda x, _: network.conv_in(x), network.conv_in.out_channels, px, px, 1)]

    def add(run: Callable[[Tensor, Normed], Tensor], reach: int, channels: int | None = None, attention: Any = None) -> None:
        layers.append(Layer(run, channels or layers[-1].channels, layers[-1].to, px, reach, attention))

    def blocks(modules: Iterable[Any]) -> None:
        for block in modules:
            if hasattr(block, "conv1"):
                add(partial(resnet, block), 2, block.conv2.out_channels)
            else:
                add(partial(attention, block), 0, block.proj_out.out_channels, block)

    def middle() -> None:
        blocks([network.mid.block_1, network.mid.attn_1, network.mid.block_2])

    def end(x: Tensor, normed: Normed) -> Tensor:
        return network.conv_out(F.silu(normed(network.norm_out, x), inplace=True))

    if decodes:
        middle()
    for level in levels:
        blocks(each for pair in zip(level.block, level.attn) for each in pair) if len(getattr(level, "attn", ())) else blocks(level.block)
        if level is not levels[-1]:
            px = 2 * px if decodes else px // 2
            sample = level.upsample if decodes else level.downsample
            add(lambda x, _, sample=sample: sample(x), 1)
    if not decodes:
        middle()
    if decodes and (getattr(network, "give_pre_end", False) or getattr(network, "tanh_out", False)):
        raise AttributeError("another end")
    add(end, 1, network.conv_out.out_channels)
    return layers


def resnet(block: Any, x: Tensor, normed: Normed) -> Tensor:
    h = block.conv1(F.silu(normed(block.norm1, x), inplace=True))
    h = block.conv2(F.silu(normed(block.norm2, h), inplace=True))       # dropout is for training
    shortcut = getattr(block, "nin_shortcut", None) or getattr(block, "conv_shortcut", None)
    return h.add_(x if shortcut is None else shortcut(x))


def keys(block: Any, x: Tensor, normed: Normed) -> Tensor:
    """Keys and, behind them, values: (b, 2 c, h, w)."""
    h = normed(block.norm, x)
    return torch.cat([block.k(h), block.v(h)], dim=1)


def attention(block: Any, x: Tensor, normed: Normed, whole: Tensor | None = None) -> Tensor:
    """`whole`: the picture's `keys` as (b, 2 c, cells); without them, x attends to itself."""
    if whole is None:
        whole = keys(block, x, normed).flatten(2)
    queries = block.q(normed(block.norm, x)).flatten(2).transpose(1, 2)         # (b, cells, c)
    k, v = whole.to(queries).transpose(1, 2).chunk(2, dim=2)
    found = [F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]        # with a head: then it may be fused
             for q in queries.split(max(1, SCORES // k.shape[1]), dim=1)]
    return x + block.proj_out(torch.cat(found, dim=1).transpose(1, 2).reshape(x.shape))
