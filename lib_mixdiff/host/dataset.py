"""A look at a folder before a training: its pictures and captions, and what is wrong with them."""
from __future__ import annotations

import base64
import io
import time
from collections import Counter
from pathlib import Path
from typing import Any

from modules import shared
from PIL import Image

from lib_mixdiff.errors import PlanError
from lib_mixdiff.train.faults import TrainError
from lib_mixdiff.train.folder import Picture, opened, pictures

UNIT = 64               # px: sides of Stable Diffusion 1's pictures are multiples
SECONDS = 10.0          # of looking; a training looks at what is left
SHOWN, LISTED, THUMBNAIL = 24, 200, (160, 160)


def look(data: object, resolution: object = None) -> dict[str, Any]:
    """How many pictures there are, how many of them were opened in the time there is, by size, what is wrong with which, and the first
    ones with their captions; PlanError."""
    refuse_folders()
    if not isinstance(data, str) or not data.strip():
        raise PlanError("data", data, "name one that holds pictures and their .txt captions", "{value} is no folder")
    if (side := resolution if isinstance(resolution, int) and resolution else None) is not None and side < UNIT:
        raise PlanError("resolution", side, f"use at least {UNIT}, or leave it out", "{value} px are too few")
    found, bad = pictures_in(data.strip())
    until, sizes, shown, seen = time.monotonic() + SECONDS, Counter[str](), [], 0
    for picture in found:
        if time.monotonic() > until:
            break
        pixels, seen = opened(picture, UNIT, side), seen + 1
        if isinstance(pixels, str):
            bad.append(pixels)
            continue
        size = f"{pixels.shape[1]}x{pixels.shape[0]}"
        sizes[size] += 1
        if len(shown) < SHOWN:
            shown.append({"name": picture.name, "caption": picture.caption, "size": size, "image": _thumbnail(Image.fromarray(pixels))})
    return {"pictures": len(found), "opened": seen, "usable": sum(sizes.values()), "sizes": dict(sizes.most_common()), "bad": bad[:LISTED],
            "bad_count": len(bad), "shown": shown}


def pictures_in(data: str) -> tuple[list[Picture], list[str]]:
    """Those of the folder, and what is wrong with which; PlanError where it cannot be used."""
    try:
        return pictures(Path(data))
    except TrainError as error:
        raise PlanError("data", data, str(error).removeprefix("data: ").rstrip("."), "{value} cannot be used") from None


def refuse_folders() -> None:
    """PlanError where the host is told to show no folders of its machine."""
    if getattr(shared.cmd_opts, "hide_ui_dir_config", False):
        raise PlanError("data", "--hide-ui-dir-config", "start the WebUI without it, or train in a terminal",
                        "{value} keeps this machine's folders closed")


def _thumbnail(image: Image.Image) -> str:
    """As a data URI."""
    file = io.BytesIO()
    image.thumbnail(THUMBNAIL)
    image.save(file, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
