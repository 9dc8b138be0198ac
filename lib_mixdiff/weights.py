"""Weight sets: the parameters of other checkpoints for a network that is built already, so that what hangs on it works with all."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lib_mixdiff.residency import Residency, Transfers

# What else belongs to a layer's parameters: the WebUI's LoRA keeps them there (extensions-builtin/Lora/networks.py)
STATE = ("network_current_names", "network_weights_backup", "network_bias_backup", "fp16_weight", "fp16_bias")


class OtherNetwork(Exception):
    """Weights of another architecture; says by which key."""


class WeightSet:
    """Parameters for `network`; each takes dtype, device and memory format of the one that it replaces.

    They are in their file until `place` makes them, or `active` does; `residency` has a say in that, where there is one.
    """

    def __init__(self, network: nn.Module, tensors: Mapping[str, Tensor], residency: Residency | None = None) -> None:
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
        self.bytes = sum(each.numel() * each.element_size() for each in wanted.values())
        self.residency = residency
        self._tensors = tensors             # in the file, or in RAM
        self._layers = [(layer, {name: None if each is None else own_name(f"{prefix}.{name}" if prefix else name)
                                 for name, each in layer._parameters.items()}) for prefix, layer in network.named_modules()]
        self._layers = [(layer, names) for layer, names in self._layers if any(names.values())]
        self._forms = {name: (torch.empty_like(each, device="meta"), each.device) for name, each in wanted.items()}
        self._states: list[dict[str, Any]] = []         # of each layer, while placed
        self._merged: list[dict[str, Any]] = []         # of each layer, while not, if a LoRA has left something on one of them
        if residency is not None:
            residency.join(self)

    @property
    def placed(self) -> bool:
        return bool(self._states)

    def place(self, transfers: Transfers) -> object:
        """Makes the parameters; what `transfers` answered, since their values may still be under way."""
        copies: list[tuple[Tensor, Tensor]] = []

        def made(source: Tensor | None, form: Tensor, device: torch.device) -> nn.Parameter | None:
            if source is None:
                return None
            parameter = nn.Parameter(torch.empty_like(form, device=device), requires_grad=False)
            copies.append((source, parameter.data))
            return parameter

        with torch.inference_mode(False), torch.no_grad():
            for (_, names), kept in zip(self._layers, self._merged or [{}] * len(self._layers)):
                device = next(self._forms[own][1] for own in names.values() if own)
                changed = kept.get("_parameters", {})
                self._states.append({**kept, "_parameters": {
                    name: made(changed[name], changed[name], device) if changed.get(name) is not None
                    else own and made(self._tensors[own], *self._forms[own]) for name, own in names.items()}})
            self._merged = []
            return transfers.start(copies)

    def leave(self) -> None:
        """Gives the parameters up; what a LoRA has merged into some of them is kept in RAM."""
        if any(state.get("network_current_names") for state in self._states):
            self._merged = [{**state, "_parameters": {name: each.detach().cpu() for name, each in state["_parameters"].items()
                                                      if each is not None and state.get("network_current_names")}}
                            for state in self._states]
        self._states = []

    def into_ram(self, pinned: bool) -> None:
        """From the file, in the network's own types: from where copies to a GPU take the least time."""
        with torch.inference_mode(False), torch.no_grad():
            self._tensors = {name: torch.empty_like(form, device="cpu", pin_memory=pinned).copy_(self._tensors[name])
                             for name, (form, _) in self._forms.items()}

    @contextmanager
    def active(self) -> Iterator[None]:
        """The network has these weights inside the block, and then its own again; nothing is copied where they are placed. What the body
        leaves on a layer stays with the weights to which it belongs."""
        if self.residency is not None:
            self.residency.settle()
            self.residency.use(self)
        elif not self.placed:
            self.place(Transfers())
        replaced: list[dict[str, Any]] = []
        try:
            for (layer, _), mine in zip(self._layers, self._states):
                replaced.append(_state(layer))
                _put(layer, mine)
            yield
        finally:
            if self.residency is not None:
                self.residency.settle()
            for (layer, _), mine, theirs in zip(self._layers, self._states, replaced):
                left = _state(layer)
                mine.clear()
                mine.update(left)
                _put(layer, theirs)


def own_name(live: str) -> str:
    """A parameter's name in a checkpoint: the WebUI wraps text encoders, and their embeddings, once they are loaded."""
    return ".".join(part for part in live.split(".") if part != "wrapped")


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
