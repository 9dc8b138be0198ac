"""AFA's aggregator files, which lie in the WebUI's folder models/AFA."""
from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from modules import devices, shared

from lib_mixdiff.aggregator import Aggregators, Form, NoAggregator, form_of, read
from lib_mixdiff.ensemble import form_for
from lib_mixdiff.errors import PlanError
from lib_mixdiff.fields import nearest
from lib_mixdiff.models import Aggregation

FILE = ".safetensors"


def folder() -> Path:
    return Path(shared.models_path) / "AFA"


def names() -> list[str]:
    return sorted(path.name.removesuffix(FILE) for path in folder().glob(f"*{FILE}"))


def listed() -> list[dict[str, Any]]:
    """Those that can be read: name, mode, and the names of their models."""
    result = []
    for name in names():
        with suppress(NoAggregator):
            form = form_of(folder() / f"{name}{FILE}")
            result.append({"name": name, "mode": form.mode, "models": [model for model, _ in form.models]})
    return result


def found_by(name: str) -> Path:
    """The file of this name; PlanError."""
    if (stem := name.removesuffix(FILE)) not in (known := names()):
        near = nearest(stem, known)
        there = f"there are {', '.join(known)}" if known else "train one, docs/training.md tells how"
        raise PlanError("aggregator", name, f"use {near}" if near else there, f"there is no aggregator {{value}} in {folder()}")
    return folder() / f"{stem}{FILE}"


def refuse_aggregation(asked: Aggregation, infos: list[Any]) -> None:
    """PlanError where an ensemble of these checkpoints cannot be had, as far as that is known before their files are read."""
    if asked.mode not in ("merge", "saliency") and getattr(shared.cmd_opts, "lowvram", False):
        raise PlanError("mode", asked.mode, "start the WebUI with --medvram, or use mode merge",
                        "--lowvram moves each block of the network by itself, and {value} needs it for several models at once")
    if not asked.trained:
        if asked.aggregator is not None:
            raise PlanError("aggregator", asked.aggregator, "leave it out, or use mode full", f"mode {asked.mode} has none, not {{value}}")
        return
    if asked.aggregator is None:
        there = f"name one of {', '.join(names())}" if names() else "train one, docs/training.md tells how, or use mode blocks"
        raise PlanError("aggregator", None, there, f"mode {asked.mode} needs a trained one")
    form = _form(asked)
    if form.mode != asked.mode:
        raise PlanError("mode", asked.mode, f"use {form.mode}", f"{asked.aggregator} was trained for {form.mode}, not for {{value}}")
    if len(form.models) != len(asked.models):
        raise _other(asked, form, f"for {len(form.models)} models, not for {len(asked.models)}")
    if all(known := [_known(info) for info in infos]):
        _order(asked, form, known)


def aggregators(asked: Aggregation, infos: list[Any], network: Any) -> tuple[Aggregators, list[int]]:
    """The networks, with the U-Net's type and where it works, and the index of the checkpoint that comes first, second, ... for them;
    PlanError where they were trained for others."""
    order = _order(asked, _form(asked), [sha256(info) for info in infos])
    try:
        found = read(found_by(asked.aggregator or ""))
        if missing := (set(form_for(network, [], asked.mode).channels) - found.at.keys()):
            raise NoAggregator(f"lacks the block {min(missing)}")
    except NoAggregator as error:
        raise _unreadable(asked, error) from None
    return found.to(devices.device, next(network.parameters()).dtype), order


def _order(asked: Aggregation, form: Form, given: list[str]) -> list[int]:
    order: list[int] = []
    for name, digest in form.models:
        index = next((i for i, each in enumerate(given) if each == digest and i not in order), None)
        if index is None:
            raise _other(asked, form, f"where {name} was another file than any of these")
        order.append(index)
    return order


def sha256(info: Any) -> str:
    """Of the checkpoint's file as it is now, which the host reckons once; PlanError where it is told not to."""
    if _known(info) is None:
        info.calculate_shorthash()
    if (digest := _known(info)) is None:
        raise PlanError("models", info.title, "start the WebUI without --no-hashing, or use mode blocks",
                        "the hash of {value} is not known, by which an aggregator knows its models")
    return digest


def _known(info: Any) -> str | None:
    """What the host has reckoned of the file, unless that has changed since."""
    hashes = sys.modules.get("modules.hashes")
    return info.sha256 if hashes is None else hashes.sha256_from_cache(info.filename, f"checkpoint/{info.name}")


def _form(asked: Aggregation) -> Form:
    try:
        return form_of(found_by(asked.aggregator or ""))
    except NoAggregator as error:
        raise _unreadable(asked, error) from None


def _unreadable(asked: Aggregation, error: NoAggregator) -> PlanError:
    return PlanError("aggregator", asked.aggregator, "train it again, or use another one", f"the file of {{value}} {error}")


def _other(asked: Aggregation, form: Form, why: str) -> PlanError:
    remedy = f"name these models, or an aggregator for those of the plan ({', '.join(asked.models)})"
    return PlanError("aggregator", asked.aggregator, remedy,
                     f"{{value}} was trained for {', '.join(name for name, _ in form.models)}, {why}")
