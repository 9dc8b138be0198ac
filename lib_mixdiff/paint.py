"""Paint-with-words: cross-attention that is biased to where the user has painted a phrase (eDiff-I, arXiv:2211.01324, section 4.3).

softmax((Q K^T + w A) / sqrt(d)) V,   w = w' log(1 + sigma) max(Q K^T)

A holds for each place of the picture and each token of the text how strongly that token was painted there. The maximum is taken
for each image and each head by itself, so that a picture does not depend on what is drawn beside it.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib_mixdiff.boxes import Box
from lib_mixdiff.patching import swapped

# What keys and values of a cross-attention are made of: (layer, text) -> (for keys, for values); hypernetworks change it
Contexts = Callable[[Any, Tensor], "tuple[Tensor, Tensor]"]


class Words:
    """What is painted of one text: its tokens' places on a canvas."""

    def __init__(self, columns: Sequence[int], areas: Tensor) -> None:
        """`columns` of the text condition, and for each of them (height, width) cells of the canvas: strength times mask, the largest where
        several phrases share a token."""
        self.columns, self.areas = torch.tensor(columns), areas
        self._seen: dict[tuple[Box, int, int], Tensor] = {}

    def seen(self, crop: Box, height: int, width: int) -> Tensor:
        """(height * width, columns), as a layer of this size sees them whose network sees `crop` of the canvas: bilinear, float32."""
        key = crop, height, width
        if key not in self._seen:
            part = self.areas[crop.of]
            self._seen[key] = F.interpolate(part[None], (height, width), mode="bilinear", antialias=True)[0].flatten(1).T.contiguous()
        return self._seen[key]

    def to(self, device: torch.device) -> None:
        if self.columns.device != device:
            self.columns, self.areas = self.columns.to(device), self.areas.to(device)


Row = tuple["Words | None", Box]        # of a network call: what is painted in it, and which part of the canvas it sees


def loudness(scores: Tensor, spread: str) -> Tensor:
    """(..., 1, 1) of scores (..., queries, tokens): "max", the paper's, or "std", their standard deviation. Of a head whose scores are all
    below 0 the maximum is taken as 0, where the formula would push the phrase away."""
    return scores.amax((-2, -1), keepdim=True).clamp(min=0) if spread == "max" else scores.std((-2, -1), keepdim=True)


def paint_(scores: Tensor, words: Words, areas: Tensor, weight: float, spread: str) -> Tensor:
    """Q K^T + w A, in place: scores (heads, queries, tokens) float32, areas (queries, columns) as `words.seen` says, weight
    w' log(1 + sigma)."""
    return scores.index_add_(-1, words.columns, weight * loudness(scores, spread) * areas)


def attended(scores: Tensor, v: Tensor) -> Tensor:
    """softmax(scores / sqrt(d)) V: (heads, queries, tokens) and (heads, tokens, d) to (queries, heads * d)."""
    return ((scores * v.shape[-1]**-0.5).softmax(-1) @ v).transpose(-3, -2).flatten(-2)


class Brush:
    """The cross-attentions of one U-Net (ldm's or sgm's), and what they are to do in a call that is `over` painted rows."""

    def __init__(self, unet: nn.Module, contexts: Contexts = lambda layer, text: (text, text), spread: str = "max") -> None:
        self.contexts, self.spread = contexts, spread
        self.weight = 0.0                       # w' log(1 + sigma) of the step at hand
        self.transformers = [module for module in unet.modules() if hasattr(module, "transformer_blocks")]
        self._size = (0, 0)                     # of the transformer at work, in its own cells

    @contextmanager
    def over(self, rows: Sequence[Row]) -> Iterator[None]:
        """Calls of the network inside have these rows."""
        if self.weight == 0 or all(words is None for words, _ in rows):
            yield
            return
        with ExitStack() as stack:
            for transformer in self.transformers:
                stack.callback(transformer.register_forward_pre_hook(self._measure).remove)
                for block in transformer.transformer_blocks:
                    stack.enter_context(swapped(block.attn2, "forward", self._attention(block.attn2, rows)))
            yield

    def _measure(self, transformer: nn.Module, given: tuple) -> None:
        height, width = given[0].shape[-2:]
        self._size = height, width

    def _attention(self, layer: Any, rows: Sequence[Row]) -> Callable[..., Tensor]:
        plain, others_own = layer.forward, "forward" in vars(layer)
        painted = [r for r, (words, _) in enumerate(rows) if words is not None]
        rest = [r for r, (words, _) in enumerate(rows) if words is None]

        def forward(x: Tensor, context: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            """x (rows, queries, channels), context (rows, tokens, channels)."""
            height, width = self._size
            if x.shape[:2] != (len(rows), height * width):
                raise RuntimeError(f"a cross-attention got {tuple(x.shape)}, where paint expects {len(rows)} rows of {height} x {width}: "
                                   "another extension changes the network's calls; disable it, or leave paint out of the plan")
            if others_own:              # IP-Adapter's, which adds to the host's: ours is what the paint changes
                out = plain(x, context, *args, **kwargs).clone()
                biased, unbiased = self._mixed(layer, x[painted], context[painted], [rows[r] for r in painted], both=True)
                out[painted] += layer.to_out(biased) - layer.to_out(unbiased)
                return out
            ours = layer.to_out(self._mixed(layer, x[painted], context[painted], [rows[r] for r in painted])[0])
            if not rest:
                return ours
            theirs = plain(x[rest], context[rest], *args, **kwargs)
            out = theirs.new_empty(len(rows), *theirs.shape[1:])
            out[rest], out[painted] = theirs, ours.to(theirs)
            return out

        return forward

    def _mixed(self, layer: Any, x: Tensor, context: Tensor, rows: Sequence[Row], both: bool = False) -> list[Tensor]:
        """Of painted rows the values as their places attend to them, (rows, queries, channels) in x's dtype; with `both` also without the
        paint. Computed in float32: the host's own way to attend is for what is not painted."""
        for_keys, for_values = self.contexts(layer, context)
        q, k, v = (part.unflatten(-1, (layer.heads, -1)).transpose(1, 2)
                   for part in (layer.to_q(x), layer.to_k(for_keys), layer.to_v(for_values)))
        found: list[list[Tensor]] = []
        with torch.autocast("cpu" if x.device.type == "mps" else x.device.type, enabled=False):      # MPS has none
            for row, (words, crop) in enumerate(rows):
                assert words is not None
                words.to(x.device)
                values = v[row].float()
                scores = q[row].float() @ k[row].float().transpose(-2, -1)
                unbiased = [attended(scores, values)] if both else []
                found.append([attended(paint_(scores, words, words.seen(crop, *self._size), self.weight, self.spread), values), *unbiased])
        return [torch.stack(each).to(v.dtype) for each in zip(*found)]
