"""Which checkpoint works when: a plan's model at a moment (eDiff-I, section 4.1)."""
from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from lib_mixdiff.models import Experts, Model
from lib_mixdiff.moments import Moment


class Pair(NamedTuple):
    """Names of the checkpoints whose U-Net works and whose text encoder says the prompts; None: the loaded one."""
    unet: str | None = None
    text: str | None = None


def at(model: Model, now: Moment) -> Pair:
    """The expert whose interval holds this moment; the loaded checkpoint in the gaps."""
    if isinstance(model, Experts):
        for expert in model.experts:
            if now.within(expert.range):
                pair = at(expert.model, now)
                return pair if expert.text_encoder == "own" else Pair(pair.unet)
        return Pair()
    return Pair(model, model) if isinstance(model, str) else Pair()


def pairs(model: Model) -> Iterator[tuple[list[str | int], Pair]]:
    """All that may work at some time, each with the keys that lead to it from the model."""
    if isinstance(model, Experts):
        for index, expert in enumerate(model.experts):
            for path, pair in pairs(expert.model):
                yield ["experts", index, "model", *path], pair if expert.text_encoder == "own" else Pair(pair.unet)
    elif isinstance(model, str):
        yield [], Pair(model, model)


def possible(model: Model) -> set[Pair]:
    """All that `at` may answer."""
    return {pair for _, pair in pairs(model)} | (set() if isinstance(model, str) else {Pair()})


def changes(model: Model) -> bool:
    """Whether it depends on the moment."""
    return isinstance(model, Experts)
