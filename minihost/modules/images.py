"""Pictures with the text that belongs to them."""
from __future__ import annotations

import base64
import binascii
import io

from fastapi import HTTPException
from PIL import Image, PngImagePlugin


def encode_png(image: Image.Image) -> bytes:
    """A PNG whose text chunks are the strings in `image.info` (the infotext is "parameters")."""
    chunks = PngImagePlugin.PngInfo()
    for key, value in image.info.items():
        if isinstance(key, str) and isinstance(value, str):
            chunks.add_text(key, value)
    file = io.BytesIO()
    image.save(file, format="PNG", pnginfo=chunks)
    return file.getvalue()


def decode_base64(text: str) -> Image.Image:
    try:
        return Image.open(io.BytesIO(base64.b64decode(text.split(",", 1)[-1])))
    except (OSError, binascii.Error) as e:
        raise HTTPException(status_code=500, detail="Invalid encoded image") from e


def read_info_from_image(image: Image.Image) -> tuple[str | None, dict]:
    """The infotext (None where there is none) and all other text of a picture."""
    items = {key: value for key, value in image.info.items() if isinstance(value, str)}
    return items.pop("parameters", None), items
