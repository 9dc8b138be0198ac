"""Presets: those kept under the WebUI's data path, and those that come with mixdiff, over which a kept one of the same name goes."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from modules import shared

from lib_mixdiff import assets, chunk, presets
from lib_mixdiff.errors import PlanError
from lib_mixdiff.experts import CUTS, preset
from lib_mixdiff.host import images
from lib_mixdiff.plan import Plan


def folder() -> Path:
    return Path(shared.data_path) / "mixdiff" / "presets"


def listed() -> dict[str, Any]:
    kept = presets.names(folder())
    return {"presets": [*kept, *(name for name in CUTS if name not in kept)]}


def document(name: str, body: dict[str, Any]) -> Any:
    """As it stands in its file: {"plan": ..., "images": ...}."""
    return {"plan": preset(name), "images": {}} if _comes_with_us(name) else presets.load(folder(), name)


def _comes_with_us(name: str) -> bool:
    return name in CUTS and name not in presets.names(folder())


def keep(name: str, body: dict[str, Any]) -> dict[str, Any]:
    """{"plan": PLAN, "overwrite": false}: with all of its images that are here, random seeds as they are; PlanError."""
    plan = Plan.from_dict(body.get("plan", {})).with_each(["image", "mask"], images.by_hash)
    whole = chunk.bundled(plan, lambda image: assets.content(image, images.folder()))
    return {"name": presets.save(folder(), name, whole, body.get("overwrite") is True)}


def renamed(name: str, body: dict[str, Any]) -> dict[str, Any]:
    """{"name": the new one}."""
    _must_be_kept(name)
    return {"name": presets.rename(folder(), name, body.get("name"))}


def deleted(name: str, body: dict[str, Any]) -> dict[str, Any]:
    _must_be_kept(name)
    presets.delete(folder(), name)
    return listed()


def _must_be_kept(name: str) -> None:
    if _comes_with_us(name):
        raise PlanError("name", name, "save it under a name of your own, and change that", "{value} comes with mixdiff")


OF_ONE = {"GET": document, "PUT": keep, "PATCH": renamed, "DELETE": deleted}        # what a request for /presets/NAME does
