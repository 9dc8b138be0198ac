"""Which checkpoint works when: a plan's model at a moment (eDiff-I, section 4.1)."""
from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple, Union

from lib_mixdiff.models import Afa, Aggregation, Experts, Model
from lib_mixdiff.moments import Moment

# eDiff-I's own cuts, E^9_511 and E^3_0 of ln sigma ~ N(-1.2, 1.2), and for two experts the median: as sigma, and as the share of the steps
# that they had there; on Stable Diffusion's schedule the literal sigmas leave the low expert almost no step.
CUTS = {"Two experts, by sigma": ("sigma", [0.3]), "Two experts, by steps": ("steps", [0.5]),
        "Three experts, by sigma": ("sigma", [9.61, 0.0757]), "Three experts, by steps": ("steps", [0.33, 0.81])}


def preset(name: str) -> dict[str, Any]:
    """A plan with the intervals of CUTS[name], from high noise to low, whose checkpoints are still the loaded one."""
    unit, cuts = CUTS[name]
    ends = [None, *cuts, None]
    return {"model": {"experts": [{"model": None, "range": {"unit": unit, "from": a, "to": b}} for a, b in pairwise(ends)]}}


Name = Union[str, Aggregation, None]        # noqa: UP007  (Python 3.10)


class Pair(NamedTuple):
    """The checkpoint, or the ensemble of several, whose U-Net works and whose text encoder says the prompts; None: the loaded one."""
    unet: Name = None
    text: Name = None


def at(model: Model, now: Moment) -> Pair:
    """The expert whose interval holds this moment; the loaded checkpoint in the gaps."""
    if isinstance(model, Experts):
        if (found := index(model, now)) is None:
            return Pair()
        expert = model.experts[found]
        pair = at(expert.model, now)
        return pair if expert.text_encoder == "own" else Pair(pair.unet)
    return Pair(named(model), named(model))


def index(model: Model, now: Moment) -> int | None:
    """Of the expert of a stack; None in its gaps, and of what is none."""
    experts = model.experts if isinstance(model, Experts) else ()
    return next((i for i, expert in enumerate(experts) if now.within(expert.range)), None)


def named(model: str | Afa | None) -> Name:
    """An ensemble of one is that one."""
    if isinstance(model, Afa):
        return model.afa if len(model.afa.models) > 1 else model.afa.models[0]
    return model


def pairs(model: Model) -> Iterator[tuple[list[str | int], Pair]]:
    """All that may work at some time, each with the keys that lead to it from the model."""
    if isinstance(model, Experts):
        for index, expert in enumerate(model.experts):
            for path, pair in pairs(expert.model):
                yield ["experts", index, "model", *path], pair if expert.text_encoder == "own" else Pair(pair.unet)
    elif model is not None:
        yield ["afa"] if isinstance(model, Afa) else [], Pair(named(model), named(model))


def possible(model: Model) -> set[Pair]:
    """All that `at` may answer."""
    return {pair for _, pair in pairs(model)} | ({Pair()} if model is None or isinstance(model, Experts) else set())
