"""Weight sets: the parameters of other checkpoints for a network that is built already, so that what hangs on it works with all."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from lib_mixdiff.residency import Residency, Transfers

# What else belongs to a layer's parameters: the WebUI's LoRA keeps them there (extensions-builtin/Lora/networks.py)
STATE = ("network_current_names", "network_weights_backup", "network_bias_backup", "fp16_weight", "fp16_bias")
State = dict[str, Any]      # a layer's `_parameters`, and of STATE what it has


class OtherNetwork(Exception):
    """Weights of another architecture; says by which key."""


class WeightSet:
    """Parameters for `network`; each takes dtype, device and memory format of the one that it replaces.

    They are in their file until `place` makes them, or `active` does; `residency` has a say in that, where there is one.
    """

    around: Callable[[], AbstractContextManager[None]] = nullcontext        # what they need besides, while they are active
    busy = False                            # active just now

    def __init__(self, network: nn.Module, tensors: Mapping[str, Tensor], residency: Residency | None = None,
                 device: torch.device | None = None) -> None:
        """By the names that the network's parameters have in a checkpoint; OtherNetwork where one is missing, too many, or of another
        shape. `device`: where the network works, if it is not there yet."""
        self.network, self.residency = network, residency
        layers = [(layer, {name: None if each is None else own_name(f"{prefix}.{name}" if prefix else name)
                           for name, each in own_parameters(layer).items()}) for prefix, layer in network.named_modules()]
        self._layers = [(vars(layer), names) for layer, names in layers if any(names.values())]
        wanted = {own: layer["_parameters"][name] for layer, names in self._layers for name, own in names.items() if own}
        if missing := next((name for name in wanted if name not in tensors), None):
            raise OtherNetwork(f"it has no {missing}")
        if more := next((name for name in tensors if name not in wanted), None):
            raise OtherNetwork(f"it has {more}, which the loaded one has not")
        for name, each in wanted.items():
            if (shape := tensors[name].shape) != each.shape:
                raise OtherNetwork(f"{name} is {tuple(shape)}, in the loaded one {tuple(each.shape)}")
        self.bytes = sum(each.numel() * each.element_size() for each in wanted.values())
        self._tensors = tensors             # in the file, or in RAM
        self._forms = {name: (torch.empty_like(each, device="meta"), device or each.device) for name, each in wanted.items()}
        self._states: list[State] = []      # of each layer, while placed
        self._merged: list[State] = []      # of each layer, on the CPU, while not, if a LoRA has left something on one of them
        if residency is not None:
            residency.join(self)

    @property
    def placed(self) -> bool:
        return bool(self._states)

    def place(self, transfers: Transfers) -> object:
        """Makes the parameters; what `transfers` answered, since their values may still be under way."""
        copies: list[tuple[Tensor, Tensor]] = []

        def made(source: Tensor | None, form: Tensor | None, device: torch.device) -> nn.Parameter | None:
            if source is None or form is None:
                return None
            copies.append((source, torch.empty_like(form, device=device)))
            return nn.Parameter(copies[-1][1], requires_grad=False)

        with torch.inference_mode(False), torch.no_grad():
            if self._merged:
                devices = [next(self._forms[own][1] for own in names.values() if own) for _, names in self._layers]
                states = [{**state, "_parameters": {name: made(each, each, device) for name, each in state["_parameters"].items()}}
                          for state, device in zip(self._merged, devices)]
            else:
                states = [{"_parameters": {name: own and made(self._tensors[own], *self._forms[own]) for name, own in names.items()}}
                          for _, names in self._layers]
            ticket = transfers.start(copies)
        self._states = states
        return ticket

    def leave(self) -> None:
        """Gives the parameters up; kept in RAM where a LoRA has merged something into one of them, copied when it is another LoRA."""
        names, known = ([state.get("network_current_names") for state in states] for states in (self._states, self._merged))
        if not any(names):
            self._merged = []
        elif names != known:
            self._merged = [{**state, "_parameters": {name: None if each is None else each.detach().cpu()
                                                      for name, each in state["_parameters"].items()}} for state in self._states]
        self._states = []

    def close(self) -> None:
        """Gives all up, the file too; it cannot be used any more."""
        vars(self).clear()

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
        states, replaced, self.busy = self._states, [], True
        try:
            for (layer, _), mine in zip(self._layers, states):
                replaced.append(_exchanged(layer, mine))
            with self.around():
                yield
        finally:
            self.busy = False
            try:
                if self.residency is not None:
                    self.residency.settle()
            finally:
                states[:len(replaced)] = [_exchanged(layer, theirs) for (layer, _), theirs in zip(self._layers, replaced)]


class Mean(Mapping[str, Tensor]):
    """Of several checkpoints' tensors, in float32, made when it is asked for."""

    def __init__(self, several: Sequence[Mapping[str, Tensor]]) -> None:
        self.several = several

    def __getitem__(self, name: str) -> Tensor:
        total = self.several[0][name].float()
        for each in self.several[1:]:
            total = total + each[name].float()
        return total / len(self.several)

    def __contains__(self, name: object) -> bool:
        return name in self.several[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self.several[0])

    def __len__(self) -> int:
        return len(self.several[0])


def own_name(live: str) -> str:
    """A parameter's name in a checkpoint: the WebUI wraps text encoders, and their embeddings, once they are loaded."""
    return ".".join(part for part in live.split(".") if part != "wrapped")


def own_parameters(layer: nn.Module) -> dict[str, nn.Parameter | None]:
    """Without a bias that only a LoRA of the last job has left there: it goes with the next call."""
    lent = vars(layer).get("network_current_names") and vars(layer).get("network_bias_backup") is None
    return {name: None if lent and name == "bias" else each for name, each in layer._parameters.items()}


def _exchanged(layer: State, new: State) -> State:
    """Puts a state into a layer's attributes; the one that was there. What is absent from the new one is absent from the layer."""
    old = {"_parameters": layer["_parameters"]}
    for name in STATE:
        if name in layer:
            old[name] = layer.pop(name)
    layer.update(new)
    return old
