"""Presets: those kept under the WebUI's data path, and those that come with mixdiff, over which a kept one of the same name goes."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from modules import sd_models, shared

from lib_mixdiff import assets, chunk, presets
from lib_mixdiff.errors import PlanError
from lib_mixdiff.experts import CUTS, preset
from lib_mixdiff.host import images
from lib_mixdiff.host.job import loaded
from lib_mixdiff.plan import Plan

SHIPPED = Path(__file__).parent / "shipped"         # {"about", "plan", "images"}, and beside each a picture of it
FILES = ("Three objects in a row", "A wide picture in tiles", "A sketch as guide", "Painted words", "A layout for a plain prompt",
         "An ensemble of two checkpoints")
STACK = "A stack of experts"                        # the picture of all CUTS
NAMES = (*FILES, *CUTS)


def folder() -> Path:
    return Path(shared.data_path) / "mixdiff" / "presets"


def listed() -> dict[str, Any]:
    """Names; and of those that come with mixdiff what they are about."""
    kept = presets.names(folder())
    ours = [name for name in NAMES if name not in kept]
    return {"presets": [*kept, *ours], "shipped": [{"name": name, "about": _shipped(name)["about"]} for name in ours]}


def document(name: str, body: dict[str, Any]) -> Any:
    """As it stands in its file: {"plan": ..., "images": ...}."""
    if not _comes_with_us(name):
        return presets.load(folder(), name)
    found = _shipped(name)
    if afa := (found["plan"].get("model") or {}).get("afa"):
        here = _titles() or [""]
        afa["models"] = [here[min(index, len(here) - 1)] for index in range(len(afa["models"]))]
    return {"plan": found["plan"], "images": found["images"]}


def picture(name: str) -> Path | None:
    """Of one that comes with mixdiff."""
    return SHIPPED / f"{STACK if name in CUTS else name}.webp" if name in NAMES else None


def _titles() -> list[str]:
    """Of the checkpoints at hand, the loaded one's first."""
    first = getattr(getattr(loaded(), "sd_checkpoint_info", None), "filename", None)
    return [each.title for each in sorted(sd_models.checkpoints_list.values(), key=lambda info: info.filename != first)]


def _shipped(name: str) -> dict[str, Any]:
    if name in CUTS:
        return {"about": "A checkpoint for each stretch of the noise (eDiff-I): choose them, and drag the borders.", "plan": preset(name),
                "images": {}}
    return json.loads((SHIPPED / f"{name}.json").read_text(encoding="utf-8"))


def _comes_with_us(name: str) -> bool:
    return name in NAMES and name not in presets.names(folder())


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
