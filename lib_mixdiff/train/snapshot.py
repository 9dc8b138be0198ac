"""The state of a training in one file: what going on needs to be the same run."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from lib_mixdiff.train.atomic import replacing
from lib_mixdiff.train.config import Config
from lib_mixdiff.train.faults import TrainError


def write(path: Path, state: dict[str, Any]) -> None:
    """TrainError where there is no room for it."""
    try:
        with replacing(path) as part:
            torch.save(state, part)
    except (OSError, RuntimeError) as error:
        remedy = "look whether the disk is full, and go on from the snapshot before"
        raise TrainError(f"{path} cannot be written ({error}); {remedy}.") from error


def read(path: Path, config: Config, facts: dict[str, object]) -> dict[str, Any] | None:
    """The state at `path`, if there is one and it is of this run; else TrainError with the first difference.

    `facts` must be as they were: the batch of all processes, the source's hash, the data's digest.
    """
    if not path.exists():
        return None
    state = torch.load(path, map_location="cpu", weights_only=True)
    remedy = f"put it back, or begin anew with another name (or without {path})"
    if key := config.differs(state["config"]):
        raise TrainError(f"{key}: {config.to_dict()[key]!r} is not what {path} was made with, {state['config'].get(key)!r}; {remedy}.")
    for what, value in facts.items():
        if state["facts"][what] != value:
            raise TrainError(f"{what}: {value} is not what {path} was made with, {state['facts'][what]}; {remedy}.")
    return state
