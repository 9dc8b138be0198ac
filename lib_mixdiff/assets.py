"""Images that plans name by their hash, kept as the files that they came in."""
from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

from PIL import Image

from lib_mixdiff.errors import PlanError

FORMATS = ("PNG", "JPEG", "WEBP")
LARGEST = 64 * 2**20        # bytes of a file
SIDE_PX = 16384


def store(folder: Path, data: bytes) -> tuple[str, tuple[int, int]]:
    """Keeps an image file's bytes: its "sha256:<hex>", and its width and height in px. PlanError if it is none that a plan can use."""
    remedy = f"send the bytes of a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file of at most {LARGEST >> 20} MB and {SIDE_PX} px a side"
    try:
        if len(data) > LARGEST:
            raise ValueError
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            size = image.size
            if max(size) > SIDE_PX:
                raise ValueError
            image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise PlanError("asset", len(data), remedy, "these {value} bytes are not an image that a plan can use") from error
    digest = hashlib.sha256(data).hexdigest()
    if not (file := folder / digest).exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{digest}.{os.getpid()}.part"
        part.write_bytes(data)
        part.replace(file)
    return f"sha256:{digest}", size
