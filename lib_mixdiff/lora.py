"""LoRA on activations: what a network's layers put out, and something on top; their weights stay as they are.

y = W x + scale * up(mid(down(x)))      (LoRA, arXiv:2106.09685, eq. 3; `mid`: LyCORIS's CP decomposition of a convolution's kernel)
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib_mixdiff.weights import OtherNetwork


@dataclass(frozen=True)
class LowRank:
    """Of a Linear or a Conv2d; without `mid`, `down` has the layer's kernel."""
    down: Tensor                    # (rank, in), of a convolution (rank, in, kernel height, kernel width)
    up: Tensor                      # (out, rank), with the scale
    mid: Tensor | None = None       # (rank, rank, kernel height, kernel width)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the weight that it stands for."""
        return (self.up.shape[0], self.down.shape[1], *(self.down if self.mid is None else self.mid).shape[2:])


@dataclass(frozen=True)
class Change:
    """Of a Linear, Conv2d, GroupNorm or LayerNorm: what would be added to its weight and its bias."""
    weight: Tensor
    bias: Tensor | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.weight.shape)


@dataclass(frozen=True)
class Projections:
    """Of a MultiheadAttention: what would be added to the weights of its projections; there is no other way in."""
    inward: Tensor                  # (3 channels, channels): query, key and value
    outward: Tensor                 # (channels, channels)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.inward.shape)


LAYERS = nn.Linear, nn.Conv2d, nn.GroupNorm, nn.LayerNorm
Delta = LowRank | Change | Projections


def fits(layer: nn.Module, delta: Delta) -> None:
    """OtherNetwork where it does not."""
    kinds: dict[type, tuple[type, ...]] = {LowRank: LAYERS[:2], Change: LAYERS, Projections: (nn.MultiheadAttention,)}
    wanted: Any = layer.in_proj_weight if isinstance(layer, nn.MultiheadAttention) else getattr(layer, "weight", None)
    if not isinstance(layer, kinds[type(delta)]):
        raise OtherNetwork(f"changes a {type(layer).__name__}")
    if delta.shape != tuple(wanted.shape):
        raise OtherNetwork(f"is {delta.shape}, in the loaded one {tuple(wanted.shape)}")


class Deltas:
    """What some LoRAs do to a network's layers; takes effect inside `active()`."""

    def __init__(self, deltas: Iterable[tuple[nn.Module, Delta]]) -> None:
        """Each `fits` its layer, which may have several."""
        by_layer: dict[nn.Module, list[Delta]] = {}
        for layer, delta in deltas:
            by_layer.setdefault(layer, []).append(delta)
        self._hooks = [(layer, _hook(layer, _joined(several))) for layer, several in by_layer.items()]

    def __bool__(self) -> bool:
        return bool(self._hooks)

    def part(self, name: str, part: nn.Module) -> Deltas:
        """Those of the layers of a part of the network."""
        found, layers = Deltas([]), set(part.modules())
        found._hooks = [(layer, hook) for layer, hook in self._hooks if layer in layers]
        return found

    @contextmanager
    def active(self) -> Iterator[None]:
        """Two entries in a dict of each layer are all that is made: `register_forward_hook` makes a handle besides, 20 times the time.
        Hooks, since a `forward` of the layer's own would hide what others make of its class's meanwhile, as the WebUI's LoRA does."""
        try:
            for layer, hook in self._hooks:
                layer._forward_hooks[self] = hook           # type: ignore[index]
                layer._forward_hooks_with_kwargs[self] = True       # type: ignore[index]
            yield
        finally:
            for layer, _ in self._hooks:
                layer._forward_hooks.pop(self, None)        # type: ignore[call-overload]
                layer._forward_hooks_with_kwargs.pop(self, None)    # type: ignore[call-overload]


class Both:
    """Other weights, and deltas on top."""

    def __init__(self, weights: Any, deltas: Deltas) -> None:
        """`weights`: a WeightSet, or those of the network's parts."""
        self.weights, self.deltas = weights, deltas

    def part(self, name: str, part: nn.Module) -> Both:
        return Both(self.weights.part(name, part), self.deltas.part(name, part))

    @contextmanager
    def active(self) -> Iterator[None]:
        with self.weights.active(), self.deltas.active():
            yield


Hook = Callable[[Any, tuple, dict, Any], Any]       # layer, its arguments by place and by name, what it put out -> instead of that


def _joined(deltas: list[Delta]) -> list[Delta]:
    """Those of low rank as one of the sum of their ranks."""
    alike = [d for d in deltas if isinstance(d, LowRank) and d.mid is None]
    if len(alike) < 2:
        return deltas
    one = LowRank(torch.cat([d.down for d in alike]), torch.cat([d.up for d in alike], 1))
    return [one, *(d for d in deltas if not any(d is each for each in alike))]


def _hook(layer: nn.Module, deltas: list[Delta]) -> Hook:
    """Adds them to what the layer puts out, in place where that is possible."""
    if isinstance(layer, nn.MultiheadAttention):
        return _again(sum(d.inward for d in deltas), sum(d.outward for d in deltas))        # type: ignore
    each = [_added(layer, delta) for delta in deltas]

    def hook(layer: nn.Module, args: tuple, kwargs: dict, y: Tensor) -> Tensor:
        x = args[0] if args else next(iter(kwargs.values()))
        for added in each:
            y = added(x, y)
        return y

    return hook


def _added(layer: nn.Module, delta: LowRank | Change) -> Callable[[Tensor, Tensor], Tensor]:
    """(what goes into the layer, what comes out) -> what should come out."""
    if isinstance(layer, nn.Conv2d):
        how: Any = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
        if isinstance(delta, Change):
            return lambda x, y: y + F.conv2d(x, delta.weight, delta.bias, **how)
        if (mid := delta.mid) is None:
            return lambda x, y: _plus_channels(y, F.conv2d(x, delta.down, **how), delta.up)
        return lambda x, y: _plus_channels(y, F.conv2d(F.conv2d(x, delta.down), mid, **how), delta.up)
    if isinstance(delta, LowRank):
        return lambda x, y: _plus(y, F.linear(x, delta.down), delta.up)
    weight, bias = delta.weight, delta.bias
    if isinstance(layer, nn.Linear):
        return lambda x, y: _plus(y if bias is None else y + bias, x, weight)
    if isinstance(layer, nn.GroupNorm):
        return lambda x, y: y + F.group_norm(x.to(weight.dtype), layer.num_groups, weight, bias, layer.eps).to(y.dtype)
    return lambda x, y: y + F.layer_norm(x.to(weight.dtype), layer.normalized_shape, weight, bias, layer.eps).to(y.dtype)   # type: ignore


def _plus(y: Tensor, h: Tensor, matrix: Tensor) -> Tensor:
    """y (..., out) + h (..., n) matrix (out, n) transposed."""
    if y.dtype == h.dtype == matrix.dtype and y.is_contiguous():        # autocast makes them differ
        y.view(-1, y.shape[-1]).addmm_(h.reshape(-1, h.shape[-1]), matrix.t())
        return y
    return y + F.linear(h, matrix)


def _plus_channels(y: Tensor, h: Tensor, matrix: Tensor) -> Tensor:
    """y (b, out, height, width) + matrix (out, n) h (b, n, height, width)."""
    if y.dtype == h.dtype == matrix.dtype and y.is_contiguous():
        y.view(*y.shape[:2], -1).baddbmm_(matrix.expand(len(y), *matrix.shape), h.reshape(*h.shape[:2], -1))
        return y
    return y + F.conv2d(h, matrix[:, :, None, None])


def _again(inward: Tensor, outward: Tensor) -> Hook:
    """Asks a MultiheadAttention once more with the sums of its weights and these, as its `forward` wants parameters. A first time it was
    asked in any case, and has by then what others merge into its weights when it is."""
    def hook(layer: nn.MultiheadAttention, args: tuple, kwargs: dict, y: Any) -> Any:
        own = layer._parameters["in_proj_weight"], layer.out_proj._parameters["weight"]
        try:
            for at, name, weight, delta in zip((layer, layer.out_proj), ("in_proj_weight", "weight"), own, (inward, outward)):
                at._parameters[name] = nn.Parameter(weight + delta, requires_grad=False)
            return type(layer).forward(layer, *args, **kwargs)
        finally:
            layer._parameters["in_proj_weight"], layer.out_proj._parameters["weight"] = own

    return hook
