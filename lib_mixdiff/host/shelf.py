"""Presets, kept under the WebUI's data path."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from modules import shared

from lib_mixdiff import assets, chunk, presets
from lib_mixdiff.host import images
from lib_mixdiff.plan import Plan


def folder() -> Path:
    return Path(shared.data_path) / "mixdiff" / "presets"


def listed() -> dict[str, Any]:
    return {"presets": presets.names(folder())}


def document(name: str, body: dict[str, Any]) -> Any:
    """As it stands in its file: {"plan": ..., "images": ...}."""
    return presets.load(folder(), name)


def keep(name: str, body: dict[str, Any]) -> dict[str, Any]:
    """{"plan": PLAN, "overwrite": false}: with all of its images that are here, random seeds as they are; PlanError."""
    plan = Plan.from_dict(body.get("plan", {})).with_each(["image", "mask"], images.by_hash)
    whole = chunk.bundled(plan, lambda image: assets.content(image, images.folder()))
    return {"name": presets.save(folder(), name, whole, body.get("overwrite") is True)}


def renamed(name: str, body: dict[str, Any]) -> dict[str, Any]:
    """{"name": the new one}."""
    return {"name": presets.rename(folder(), name, body.get("name"))}


def deleted(name: str, body: dict[str, Any]) -> dict[str, Any]:
    presets.delete(folder(), name)
    return listed()


OF_ONE = {"GET": document, "PUT": keep, "PATCH": renamed, "DELETE": deleted}        # what a request for /presets/NAME does
