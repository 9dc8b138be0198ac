"""Images of plans, kept under the WebUI's data path."""
from __future__ import annotations

import re
from pathlib import Path

from modules import shared
from PIL import Image

from lib_mixdiff import assets
from lib_mixdiff.errors import PlanError

STARTS = {b"\x89PNG": "image/png", b"\xff\xd8": "image/jpeg"}       # of what `store` takes; else it is WEBP


def folder() -> Path:
    return Path(shared.data_path) / "mixdiff" / "assets"


def opened(image: str) -> Image.Image:
    """PlanError if it is not here, or is none."""
    return assets.opened(image, folder())


def kept(digest: str) -> tuple[bytes, str] | None:
    """The bytes and the media type of the image with this SHA-256, 64 hex digits; None where there is none, or it is no digest."""
    if not re.fullmatch("[0-9a-fA-F]{64}", digest) or not (file := folder() / digest.lower()).is_file():
        return None
    data = file.read_bytes()
    kind = next((kind for start, kind in STARTS.items() if data.startswith(start)), "image/webp")
    return data, kind


def by_hash(image: str) -> str:
    """The same image by the name under which it is kept here from now on; PlanError."""
    if assets.is_hash(image):
        return image
    data = assets.content(image, folder())
    try:
        return assets.store(folder(), data)[0]
    except PlanError as error:
        raise PlanError("", image, error.remedy, "{value} is not an image that a plan can use") from error
