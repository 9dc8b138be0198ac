"""A checkpoint's file: its tensors by name, read from the disk when they are used."""
from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

RENAMED = {     # old names of Stable Diffusion 1's text encoder (the WebUI's modules/sd_models.py)
    f"cond_stage_model.transformer.{part}.": f"cond_stage_model.transformer.text_model.{part}."
    for part in ("embeddings", "encoder", "final_layer_norm")}


CODE = "is not only weights: it holds code that would run when it is opened, or is damaged"
WEIGHTS_ONLY = partial(torch.load, weights_only=True)


class Unreadable(Exception):
    """What is wrong with the file, as it goes on after its name."""


class Checkpoint(Mapping[str, Tensor]):
    """The file's tensors under their present names, on the CPU. Where it is a .safetensors they stay in the file until their values are
    needed, and leave the memory when that is needed."""

    def __init__(self, path: Path, unpickle: Callable[..., Any] = WEIGHTS_ONLY) -> None:
        """`unpickle`: for files of other kinds; returns nothing, or raises, where they hold more than tensors. Unreadable."""
        self._tensors: Mapping[str, Tensor] | None = None
        try:
            if path.suffix.lower() == ".safetensors":
                self._opened = safe_open(path, "pt")
                names: Iterable[str] = self._opened.keys()
            else:
                self._tensors = names = _unpickled(path, unpickle)
        except FileNotFoundError:
            raise Unreadable("is gone") from None
        except SafetensorError as error:
            raise Unreadable(f"is damaged ({error})") from None
        self._names = {_renamed(name): name for name in names}

    def part(self, *prefixes: str) -> Checkpoint:
        """The tensors under these, by the rest of their names."""
        part = copy(self)
        part._names = {name[len(prefix):]: own for prefix in prefixes for name, own in self._names.items() if name.startswith(prefix)}
        return part

    def __getitem__(self, name: str) -> Tensor:
        own = self._names[name]
        return self._opened.get_tensor(own) if self._tensors is None else self._tensors[own]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def schedule(params: Mapping[str, Any]) -> Tensor | None:
    """abar (timesteps,) in float64, as the `model.params` of a yaml say it (ldm's schedule "linear"); None where they do not."""
    if "linear_start" not in params:
        return None
    first, last = float(params["linear_start"]), float(params["linear_end"])
    betas = torch.linspace(first**0.5, last**0.5, int(params.get("timesteps", 1000)), dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, 0)


def _unpickled(path: Path, unpickle: Callable[..., Any]) -> Mapping[str, Tensor]:
    try:
        state = unpickle(path, map_location="cpu")
    except FileNotFoundError:
        raise
    except Exception as error:
        if isinstance(error, pickle.UnpicklingError) and ("nsupported" in str(error) or "GLOBAL" in str(error)):
            raise Unreadable(CODE) from None
        line = str(error).split("\n")[0]
        raise Unreadable(f"is damaged ({line})") from None
    if state is None:           # the WebUI's own check has refused it, and said why in its log
        raise Unreadable(CODE)
    state = state.get("state_dict", state) if isinstance(state, dict) else {}
    if not (tensors := {name: value for name, value in state.items() if isinstance(value, Tensor)}):
        raise Unreadable("holds no weights")
    return tensors


def _renamed(name: str) -> str:
    for old, new in RENAMED.items():
        if name.startswith(old):
            return new + name[len(old):]
    return name
