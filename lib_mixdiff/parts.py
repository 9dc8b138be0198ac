"""Weights for the parts of a U-Net: an ensemble runs each block with one model's after the other."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from lib_mixdiff.ensemble import Forward, Version, blocks_of, embeddings_of
from lib_mixdiff.mosaic import Model
from lib_mixdiff.residency import Residency
from lib_mixdiff.weights import OtherNetwork, WeightSet


class Parted(Protocol):
    """A model's weights, or what is added to them, for each part of the network."""

    def part(self, name: str, part: nn.Module) -> Model: ...


def of_model(model: Parted) -> Version:
    """Other weights in the network."""
    parts: dict[str, Model] = {}

    def version(name: str, part: nn.Module) -> Forward:
        if name not in parts:
            parts[name] = model.part(name, part)
        mine, own = parts[name], part.forward

        def forward(*args: Any, **kwargs: Any) -> Tensor:
            with mine.active():
                return own(*args, **kwargs)

        return forward

    return version


class Parts:
    """A checkpoint's weights as a set for each part of the U-Net: those of one part leave before others come, where room is short."""

    around: Callable[[], AbstractContextManager[None]] = nullcontext        # of the whole network

    def __init__(self, network: nn.Module, tensors: Mapping[str, Tensor], residency: Residency | None = None,
                 device: torch.device | None = None) -> None:
        """As WeightSet."""
        self.network, parts = network, {**embeddings_of(network), **blocks_of(network)}
        own: dict[str, dict[str, str]] = {name: {} for name in parts}       # names in the part, and in the network
        for key in tensors:
            name = next((name for name in parts if key.startswith(f"{name}.")), None)
            if name is None:
                raise OtherNetwork(f"it has {key}, which the loaded one has not")
            own[name][key[len(name) + 1:]] = key
        self.sets = {}
        for name, part in parts.items():
            try:
                self.sets[name] = WeightSet(part, Renamed(tensors, own[name]), residency, device)
            except OtherNetwork as error:
                raise OtherNetwork(f"in {name} {error}") from None

    def part(self, name: str, part: nn.Module) -> WeightSet:
        return self.sets[name]

    @contextmanager
    def active(self) -> Iterator[None]:
        """All of them."""
        with ExitStack() as stack:
            for each in self.sets.values():
                stack.enter_context(each.active())
            stack.enter_context(self.around())
            yield

    def close(self) -> None:
        for each in self.sets.values():
            each.close()


class Renamed(Mapping[str, Tensor]):
    """Some tensors of a checkpoint under other names, still in their file."""

    def __init__(self, tensors: Mapping[str, Tensor], names: Mapping[str, str]) -> None:
        self.tensors, self.names = tensors, names

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[self.names[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)
