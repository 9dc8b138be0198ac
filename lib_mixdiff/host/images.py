"""Images of plans, kept under the WebUI's data path."""
from __future__ import annotations

from pathlib import Path

from modules import shared
from PIL import Image

from lib_mixdiff import assets
from lib_mixdiff.errors import PlanError


def folder() -> Path:
    return Path(shared.data_path) / "mixdiff" / "assets"


def opened(image: str) -> Image.Image:
    """PlanError if it is not here, or is none."""
    return assets.opened(image, folder())


def by_hash(image: str) -> str:
    """The same image by the name under which it is kept here from now on; PlanError."""
    if assets.is_hash(image):
        return image
    data = assets.content(image, folder())
    try:
        return assets.store(folder(), data)[0]
    except PlanError as error:
        raise PlanError("", image, error.remedy, "{value} is not an image that a plan can use") from error
