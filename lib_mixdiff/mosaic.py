"""Mixture of Diffusers below guidance: many denoisers on one canvas, in the rows that the host asks of one network.

The host asks for rows: for each image its conds (the parts of an `AND` prompt), then each image's uncond. A mosaic answers
with rows from which the host's own sum makes the mixture of the *guided* predictions (Mixture of Diffusers, eq. 15 and 16).
With o_r the members' shares, s_r their guidance scales, s the host's, a_rk and C_rk a member's AND weights and predictions,
U_r its uncond, b_j the weights of the host's rows:

    U = sum_r o_r U_r,    G = sum_r o_r (s_r / s) sum_k a_rk (C_rk - U_r),    row j = U + G b_j / sum_j b_j^2

since then U + s sum_j b_j (row j - U) = U + s G. Where the host asks for no uncond it takes C_0 + sum_k a_k (C_k - C_0) of
its rows for the picture, so every row is that of each member, mixed. Predictions may be x0, eps or v: all are mixed alike.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from itertools import groupby
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from lib_mixdiff.boxes import Box
from lib_mixdiff.conds import Cond, cat, resized, take, tokens
from lib_mixdiff.paint import Row, Words

# (x, sigma, text, image) -> prediction: all by row, x and prediction (rows, channels, height, width)
Network = Callable[[Tensor, Tensor, Cond, "Tensor | None"], Tensor]


class Model(Protocol):
    """What the network is made for some members: other weights, or more of them."""

    def active(self) -> AbstractContextManager[None]: ...


class Painter(Protocol):
    """What paints words: the network's calls inside `over` have these rows."""

    def over(self, rows: Sequence[Row]) -> AbstractContextManager[None]: ...


@dataclass(frozen=True)
class Part:
    """One part of an `AND` prompt: its weight, its text of one row, and what is painted of it. No text: the host's own row."""
    weight: float
    text: Cond | None = None
    words: Words | None = None


class Told(NamedTuple):
    """What a member's network is, and what it is told. Without `parts` or `uncond`, what the host's rows say."""
    parts: tuple[Part, ...] | None = None
    uncond: Cond | None = None
    rows: Sequence[Cond] | None = None      # what those say to this model, by row; None: the same
    words: Sequence[Words | None] | None = None     # what is painted of those, by row of the conds
    model: Model | None = None              # None: the network as it is


AS_THE_HOST = Told()


class Rule(Protocol):
    """How rivals share each place: (N, images, 1, height, width), from what guidance adds to each one's prediction, (images, channels,
    height, width)."""

    def shares(self, differences: Sequence[Tensor]) -> Tensor: ...


class Rivals(NamedTuple):
    """Several models for one member, of whose share each has what their predictions say."""
    told: tuple[Told, ...]
    rule: Rule


@dataclass(frozen=True)
class Member:
    """A denoiser of the canvas: where, how much, and what it is told."""
    crop: Box                       # what the network sees
    share: Tensor                   # (crop height, crop width), o_r
    guidance: float = 1.0           # s_r / s
    told: Told | Rivals = AS_THE_HOST
    frame: Box | None = None        # SDXL: the picture of which `crop` is a part; None: the canvas
    sizes: tuple[int, Tensor] | None = None         # SDXL: what that means in the texts, see conds.resized


@dataclass(frozen=True)
class _Piece:
    """One row through the network for one member: its text (None: the host's row), and what its prediction adds where."""
    row: int                        # the host's row from which x, sigma and image are taken
    crop: Box
    text: Cond | None
    slot: int                       # 0: conds, 1: unconds
    share: Tensor                   # (crop height, crop width)
    scales: tuple[float, float]     # times share: of (gC, N) or (U, gU)
    sizes: tuple[int, Tensor] | None
    model: Model | None
    words: Words | None = None
    rival: int | None = None        # among all of the mosaic


@dataclass(frozen=True)
class _Batch:
    """Pieces of one model, size and text length that go through the network at once."""
    model: Model | None
    pieces: tuple[_Piece, ...]
    text: Cond | None               # of all, where none is the host's
    painted: tuple[Row, ...]


class Mosaic:
    """The members' mixture, for as long as their prompts say the same.

    `and_weights` are b_j: for each image of the batch the weights of its conds. Every step: `start()`, then `predict` for
    the host's rows in their order, in one call or several; after several, `rows()` holds what belongs into all of them.
    `largest`: cells that one call of the network may hold for each of the host's rows; None: as many as the canvas has.
    `painters`: of the network, where a member's words are painted, or what its calls show is wanted.
    """

    def __init__(self, members: Sequence[Member], and_weights: Sequence[Sequence[float]], largest: int | None = None,
                 painters: Sequence[Painter] = ()) -> None:
        self.largest, self.painters = largest, painters
        self.and_weights = [list(weights) for weights in and_weights]
        self.conds = sum(map(len, self.and_weights))
        self.calls = 0                          # of the network, over the run
        self._contests: list[tuple[Member, Rule, list[int]]] = []       # the rivals of a member, by their number
        members = [each for member in members for each in self._rivals_of(member)]
        self._pieces: list[list[_Piece]] = []   # by the host's row
        self._image: list[int] = []             # of the host's row
        for image, weights in enumerate(self.and_weights):
            first = len(self._pieces)
            for k in range(len(weights)):
                self._pieces.append([replace(p, rival=rival) for m, rival in members for p in _cond_pieces(m, weights, first, k)])
                self._image.append(image)
        for image, weights in enumerate(self.and_weights):
            self._pieces.append([replace(_uncond_piece(m, weights, len(self._pieces)), rival=rival) for m, rival in members])
            self._image.append(image)
        self._batches: dict[tuple[int, int, int], list[_Batch]] = {}
        self._sums = torch.empty(0)             # from the first rows on (2 slots, 2, images, channels, height, width): gC, N and U, gU
        self._shares: dict[int, Tensor] = {}    # by the first of the rivals
        self._of_rivals: list[Tensor] = []      # the same, each of a rival's crop, without its share
        self.start()

    def _rivals_of(self, member: Member) -> Iterator[tuple[Member, int | None]]:
        if isinstance(member.told, Rivals):
            first = sum(len(rivals) for *_, rivals in self._contests)
            numbers = list(range(first, first + len(member.told.told)))
            self._contests.append((member, member.told.rule, numbers))
            alone = torch.ones(())
            yield from ((replace(member, told=told, share=alone), number) for told, number in zip(member.told.told, numbers))
        else:
            yield member, None

    def start(self) -> None:
        """A step begins: the next call brings the first row."""
        self._next = 0
        self._sums.zero_()
        for sums in self._of_rivals:
            sums.zero_()

    def predict(self, network: Network, x: Tensor, sigma: Tensor, text: Cond, image: Tensor | None,
                progress: Callable[[float], None] = lambda share: None) -> Tensor:
        """The next rows, in x's dtype: final if these are all of the step's, else the best that is known by now. After each call of
        the network `progress` is told the share of the step's rows that are done. RuntimeError if more rows come than the run has."""
        first, last = self._next, self._next + x.shape[0]
        if last > len(self._pieces):
            raise RuntimeError("the network was asked for more rows than the job has: another extension calls it by itself, "
                               "which mixdiff cannot tell from the job's own calls; disable one of the two")
        if self._sums.numel() == 0:
            self._sums = torch.zeros(2, 2, len(self.and_weights), *x.shape[1:], dtype=torch.float32, device=x.device)
            self._of_rivals = [self._sums.new_zeros(*self._sums.shape[:4], member.crop.height, member.crop.width)
                               for member, _, rivals in self._contests for _ in rivals]
            there = {id(p.share): p.share.to(x.device) for row in self._pieces for p in row}       # once for all pieces of a member
            self._pieces = [[replace(p, share=there[id(p.share)]) for p in row] for row in self._pieces]
        self._next = last
        batches, done = self._batches_of(first, last, tokens(text), x.shape[2] * x.shape[3]), 0
        for model, of_model in groupby(batches, lambda batch: batch.model):
            with model.active() if model else nullcontext():
                for batch in of_model:
                    rows = [p.row - first for p in batch.pieces]
                    crops = torch.cat([x[(slice(r, r + 1), *p.crop.of)] for r, p in zip(rows, batch.pieces)])
                    with ExitStack() as stack:
                        for painter in self.painters:
                            stack.enter_context(painter.over(batch.painted))
                        prediction = network(crops, sigma[rows], _texts(batch, text, rows), _images(image, x, batch.pieces, rows))
                    self.calls, done = self.calls + 1, done + 1
                    for one, piece in zip(prediction.float(), batch.pieces):
                        whole, of = (self._sums, piece.crop.of) if piece.rival is None else (self._of_rivals[piece.rival], ...)
                        for sums, scale in zip(whole[piece.slot, :, self._image[piece.row]], piece.scales):
                            sums[of].addcmul_(piece.share, one, value=scale)
                    progress((first + (last - first) * done / len(batches)) / len(self._pieces))
        return self.rows()[first:last].to(x.dtype)

    def rows(self) -> Tensor:
        """Every row of the step, (conds + images, channels, height, width), float32."""
        (guided, neutral), (uncond, guided_uncond) = self._decided()
        rows = []
        asked_uncond = self._next == len(self._pieces)
        for image, weights in enumerate(self.and_weights):
            total = sum(b * b for b in weights)
            for b in weights:
                rows.append(uncond[image] + (guided[image] - guided_uncond[image]) * (b / total if total else 0.0)
                            if asked_uncond else neutral[image])
        return torch.stack([*rows, *(uncond if self._next > self.conds else neutral)])

    def _decided(self) -> Tensor:
        """The sums, with what is each rival's as far as that is known."""
        total = self._sums.clone() if self._contests else self._sums
        for member, rule, rivals in self._contests:
            each = [self._of_rivals[number] for number in rivals]
            if self.whole:
                self._shares[rivals[0]] = rule.shares([sums[0, 0] - sums[1, 1] for sums in each])
            # without unconds guidance adds nothing: the shares of the last step that had them, and at first all alike
            shares = self._shares.get(rivals[0], total.new_full((len(each), 1, 1, 1, 1), 1 / len(each)))
            for mine, sums in zip(shares, each):
                total[member.crop.of] += mine * member.share.to(total) * sums
        return total

    @property
    def whole(self) -> bool:
        """Whether the step's rows were all asked for, so that `predict` has returned them as they should be if it was one call."""
        return self._next == len(self._pieces)

    def call_shapes(self, height: int, width: int, length: int = 77) -> list[tuple[Model | None, int, int, int]]:
        """(model, rows, height, width) of the network's calls for one step that is asked for at once, on height x width cells."""
        return [(b.model, len(b.pieces), b.pieces[0].crop.height, b.pieces[0].crop.width)
                for b in self._batches_of(0, len(self._pieces), length, height * width)]

    def _batches_of(self, first: int, last: int, length: int, canvas: int) -> list[_Batch]:
        """The pieces of these rows in batches of one model, size and text length, none larger than the host's own call of so many cells
        a row, nor than `largest` allows, and of a size all about the same; those of a model one after the other."""
        key = (first, last, length)
        if key not in self._batches:
            cells = (last - first) * min(canvas, self.largest or canvas)
            groups: dict[Model | None, dict[tuple[int, ...], list[_Piece]]] = {}
            for piece in (p for row in self._pieces[first:last] for p in row):
                alike = piece.crop.height, piece.crop.width, length if piece.text is None else tokens(piece.text)
                groups.setdefault(piece.model, {}).setdefault(alike, []).append(piece)
            self._batches[key] = [
                _Batch(model, tuple(part), resized(cat(texts), [p.sizes for p in part])
                       if len(texts := [p.text for p in part if p.text is not None]) == len(part) else None,
                       tuple(Row(p.words, p.crop, self._image[p.row]) for p in part))
                for model, of_model in groups.items()
                for (height, width, _), group in of_model.items()
                for part in _evenly(group, max(1, cells // (height * width)))]
        return self._batches[key]


def _evenly(group: list[_Piece], most: int) -> list[list[_Piece]]:
    """In as few parts as there must be for none to be larger than that: of four, two and two take less time than three and one."""
    count = -(-len(group) // most)
    return [group[i * len(group) // count:(i + 1) * len(group) // count] for i in range(count)]


def _cond_pieces(member: Member, weights: list[float], first: int, k: int) -> list[_Piece]:
    """What `member` evaluates when the host asks for cond `k` of an image whose conds start at row `first`."""
    told = member.told
    if told.parts is None:
        parts = [(k, Part(weights[k], told.rows and told.rows[first + k], told.words and told.words[first + k]))]
    else:
        parts = list(enumerate(told.parts)) if k == 0 else []
    total = sum(weights if told.parts is None else (p.weight for p in told.parts))
    return [_Piece(first + k, member.crop, part.text, 0, member.share,
                   (member.guidance * part.weight, part.weight + (1 - total if i == 0 else 0)), member.sizes, told.model, part.words)
            for i, part in parts]


def _uncond_piece(member: Member, weights: list[float], row: int) -> _Piece:
    told = member.told
    total = sum(weights if told.parts is None else (p.weight for p in told.parts))
    text = told.rows[row] if told.uncond is None and told.rows else told.uncond
    return _Piece(row, member.crop, text, 1, member.share, (1.0, member.guidance * total), member.sizes, told.model)


def _texts(batch: _Batch, host: Cond, rows: list[int]) -> Cond:
    if batch.text is not None:
        return batch.text
    texts = cat([take(host, [row]) if p.text is None else p.text for p, row in zip(batch.pieces, rows)])
    return resized(texts, [p.sizes for p in batch.pieces])


def _images(image: Tensor | None, x: Tensor, pieces: Sequence[_Piece], rows: list[int]) -> Tensor | None:
    """The image condition by row, cropped where it has the canvas's size."""
    if image is None or image.ndim != 4 or image.shape[-2:] != x.shape[-2:]:
        return None if image is None else image[rows]
    return torch.cat([image[(slice(r, r + 1), *p.crop.of)] for r, p in zip(rows, pieces)])
