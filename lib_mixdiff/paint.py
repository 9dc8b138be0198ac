"""Paint-with-words: cross-attention that is biased to where the user has painted a phrase (eDiff-I, arXiv:2211.01324, section 4.3).

softmax((Q K^T + w A) / sqrt(d)) V,   w = w' log(1 + sigma) max(Q K^T)

A holds for each place of the picture and each token of the text how strongly that token was painted there. The maximum is taken
for each image and each head by itself, so that a picture does not depend on what is drawn beside it. Rows in which nothing is painted
stay with the host's own attention.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib_mixdiff.boxes import Box
from lib_mixdiff.looks import Looks
from lib_mixdiff.patching import swapped

# What keys and values of a cross-attention are made of: (layer, text) -> (for keys, for values); hypernetworks change it
Contexts = Callable[[Any, Tensor], "tuple[Tensor, Tensor]"]


class Words:
    """What is painted of one text: its tokens' places on a canvas."""

    def __init__(self, columns: Sequence[int], areas: Tensor, phrases: Mapping[int, Sequence[int]] | None = None) -> None:
        """`columns` of the text condition, and for each of them (height, width) cells of the canvas: strength times mask, the largest where
        several phrases share a token. `phrases`: where among the columns the plan's phrases are, by their index."""
        self.columns, self.areas, self.phrases = torch.tensor(columns, device=areas.device), areas, phrases or {}
        self.paints = bool((areas > 0).any())
        self._seen: dict[tuple[Box, int, int], Tensor] = {}

    def seen(self, crop: Box, height: int, width: int) -> Tensor:
        """(height * width, columns), as a layer of this size sees them whose network sees `crop` of the canvas: bilinear, float32."""
        key = crop, height, width
        if key not in self._seen:
            part = self.areas[crop.of]
            self._seen[key] = F.interpolate(part[None], (height, width), mode="bilinear", antialias=True)[0].flatten(1).T.contiguous()
        return self._seen[key]

    def forget(self) -> None:
        """What `seen` keeps: crops of a grid that does not come back."""
        self._seen.clear()


class Row(NamedTuple):
    """Of a network call: what is painted in it, which part of the canvas it sees, and of which image of the batch."""
    words: Words | None
    crop: Box
    image: int = 0


def loudness(scores: Tensor, spread: str) -> Tensor:
    """(..., 1, 1) of scores (..., queries, tokens): "max", the paper's, or "std", their standard deviation. Of a head whose scores are all
    below 0 the maximum is taken as 0, where the formula would push the phrase away."""
    return scores.amax((-2, -1), keepdim=True).clamp(min=0) if spread == "max" else scores.std((-2, -1), keepdim=True)


def paint_(scores: Tensor, words: Words, areas: Tensor, weight: float, spread: str) -> Tensor:
    """Q K^T + w A, in place: scores (heads, queries, tokens), areas (queries, columns) as `words.seen` says, which hold the strength w';
    weight is log(1 + sigma)."""
    return scores.index_add_(-1, words.columns, weight * loudness(scores, spread) * areas)


def attention_(scores: Tensor, d: int) -> Tensor:
    """softmax(scores / sqrt(d)), over the tokens; scores are scaled in place."""
    return scores.mul_(d**-0.5).softmax(-1)


class Brush:
    """The cross-attentions of one U-Net (ldm's or sgm's), and what they are to do in a call that is `over` painted rows."""

    def __init__(self, unet: nn.Module, contexts: Contexts = lambda layer, text: (text, text), spread: str = "max",
                 looks: Looks | None = None) -> None:
        """`looks` is told where the phrases are looked at."""
        self.contexts, self.spread, self.looks = contexts, spread, looks
        self.weight = 0.0                       # log(1 + sigma) of the step at hand, 0 where paint rests; w' is in the words' areas
        self.transformers = [module for module in unet.modules() if hasattr(module, "transformer_blocks")]
        self._size = (0, 0)                     # of the transformer at work, in its own cells

    @contextmanager
    def over(self, rows: Sequence[Row]) -> Iterator[None]:
        """Calls of the network inside have these rows."""
        painted = [r for r, row in enumerate(rows) if row.words is not None and row.words.paints and self.weight > 0]
        looked = [r for r, row in enumerate(rows) if self.looks is not None and row.words is not None and r not in painted]
        with ExitStack() as stack:
            for transformer in self.transformers if painted or looked else ():
                stack.callback(transformer.register_forward_pre_hook(self._measure).remove)
                for block in transformer.transformer_blocks:
                    stack.enter_context(swapped(block.attn2, "forward", self._forward(block.attn2, rows, painted, looked)))
            yield

    def _measure(self, transformer: nn.Module, given: tuple) -> None:
        height, width = given[0].shape[-2:]
        self._size = height, width

    def _forward(self, layer: Any, rows: Sequence[Row], painted: list[int], looked: list[int]) -> Callable[..., Tensor]:
        plain, others_own = layer.forward, "forward" in vars(layer)
        rest = [r for r in range(len(rows)) if r not in painted]
        ours, theirs, seen = together(painted), together(rest), together(looked)

        def forward(x: Tensor, context: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            """x (rows, queries, channels), context (rows, tokens, channels)."""
            height, width = self._size
            if x.shape[:2] != (len(rows), height * width):
                raise RuntimeError(f"a cross-attention got {tuple(x.shape)}, where paint expects {len(rows)} rows of {height} x {width}: "
                                   "another extension changes the network's calls; disable it, or leave paint out of the plan")
            if looked:
                self._mixed(layer, x[seen], context[seen], [rows[r] for r in looked], 0.0, self.looks)
            if not painted:
                return plain(x, context, *args, **kwargs)
            mine = x[ours], context[ours], [rows[r] for r in painted]
            mixed = layer.to_out(self._mixed(layer, *mine, self.weight, self.looks))
            if others_own:              # what IP-Adapter or NegPip put there, which adds to the host's: ours is what the paint changes
                out = plain(x, context, *args, **kwargs).clone()
                out[ours] += mixed - layer.to_out(self._mixed(layer, *mine, 0.0))
            elif rest:
                others = plain(x[theirs], context[theirs], *args, **kwargs)
                out = others.new_empty(len(rows), *others.shape[1:])
                out[theirs], out[ours] = others, mixed.to(others)
            else:
                out = mixed
            return out

        return forward

    def _mixed(self, layer: Any, x: Tensor, context: Tensor, rows: Sequence[Row], weight: float, looks: Looks | None = None) -> Tensor:
        """The values as the places of these rows attend to them, (rows, queries, channels). Scores and softmax are float32; the host's own
        way to attend is for what is not painted."""
        for_keys, for_values = self.contexts(layer, context)
        q, k, v = (part.unflatten(-1, (layer.heads, -1)).transpose(1, 2)
                   for part in (layer.to_q(x), layer.to_k(for_keys), layer.to_v(for_values)))
        found = []
        with torch.autocast("cpu" if x.device.type == "mps" else x.device.type, enabled=False):      # MPS has none
            for r, (words, crop, image) in enumerate(rows):
                assert words is not None
                scores = q[r].float() @ k[r].float().transpose(-2, -1)
                if weight > 0:
                    paint_(scores, words, words.seen(crop, *self._size), weight, self.spread)
                shares = attention_(scores, q.shape[-1])
                for phrase, which in words.phrases.items() if looks is not None else ():
                    looks.see(image, phrase, crop, shares[..., words.columns[which]].sum(-1).mean(0).unflatten(0, self._size))
                found.append((shares @ v[r].float()).transpose(0, 1).flatten(1))
                del scores, shares          # before the next row's are made
        return torch.stack(found).to(v.dtype)


def together(rows: list[int]) -> slice | list[int]:
    """Their index: where they follow each other, one that copies nothing."""
    return slice(rows[0], rows[-1] + 1) if rows and rows == [*range(rows[0], rows[-1] + 1)] else rows
