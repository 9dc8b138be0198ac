"""Weight sets: the parameters of other checkpoints for a network that is built already, so that what hangs on it works with all."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

# What else belongs to a layer's parameters: the WebUI's LoRA keeps them there (extensions-builtin/Lora/networks.py)
STATE = ("network_current_names", "network_weights_backup", "network_bias_backup", "fp16_weight", "fp16_bias")


class OtherNetwork(Exception):
    """Weights of another architecture; says by which key."""


class WeightSet:
    """Parameters for `network`; each takes dtype, device and memory format of the one that it replaces."""

    def __init__(self, network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
        """By the names that the network's parameters have in a checkpoint; OtherNetwork where one is missing, too many, or of another
        shape."""
        wanted = {own_name(name): parameter for name, parameter in network.named_parameters()}
        for name in [*wanted, *tensors]:
            if name not in tensors:
                raise OtherNetwork(f"it has no {name}")
            if name not in wanted:
                raise OtherNetwork(f"it has {name}, which the loaded one has not")
            if tensors[name].shape != wanted[name].shape:
                raise OtherNetwork(f"{name} is {tuple(tensors[name].shape)}, in the loaded one {tuple(wanted[name].shape)}")
        self._layers: list[tuple[nn.Module, dict[str, Any]]] = []
        with torch.inference_mode(False), torch.no_grad():
            for prefix, layer in network.named_modules():
                own = {name: None if old is None else _like(old, tensors[own_name(f"{prefix}.{name}" if prefix else name)])
                       for name, old in layer._parameters.items()}
                if any(each is not None for each in own.values()):
                    self._layers.append((layer, {"_parameters": own}))

    @contextmanager
    def active(self) -> Iterator[None]:
        """The network has these weights inside the block, and then its own again; nothing is copied. What the body leaves on a layer
        stays with the weights to which it belongs."""
        replaced: list[dict[str, Any]] = []
        try:
            for layer, mine in self._layers:
                replaced.append(_state(layer))
                _put(layer, mine)
            yield
        finally:
            for (layer, mine), theirs in zip(self._layers, replaced):
                left = _state(layer)
                mine.clear()
                mine.update(left)
                _put(layer, theirs)


def own_name(live: str) -> str:
    """A parameter's name in a checkpoint: the WebUI wraps text encoders, and their embeddings, once they are loaded."""
    return ".".join(part for part in live.split(".") if part != "wrapped")


def _like(old: nn.Parameter, new: Tensor) -> nn.Parameter:
    return nn.Parameter(torch.empty_like(old, requires_grad=False).copy_(new), requires_grad=False)


def _state(layer: nn.Module) -> dict[str, Any]:
    own = vars(layer)
    return {"_parameters": dict(layer._parameters), **{name: own[name] for name in STATE if name in own}}


def _put(layer: nn.Module, state: dict[str, Any]) -> None:
    """What is absent from the state is absent from the layer."""
    layer._parameters.update(state["_parameters"])
    own = vars(layer)
    for name in STATE:
        if name in state:
            own[name] = state[name]
        else:
            own.pop(name, None)
