"""The texts that a picture file carries."""
from __future__ import annotations

import io

from PIL import ExifTags, Image

from lib_mixdiff import chunk
from lib_mixdiff.assets import FORMATS, LARGEST, ONE, PIXELS

USER_COMMENT = 0x9286
ENCODINGS = {b"UNICODE\0": "utf-16-be", b"ASCII\0\0\0": "ascii", bytes(8): "utf-8"}      # of a comment, in its first 8 bytes


def texts(data: bytes) -> tuple[str | None, str | None] | None:
    """The chunk `mixdiff` and the infotext of a picture file, None where it has none; None where it is no picture.
    JPEG and WEBP hold an infotext in their EXIF (modules/images.py, save_image_with_geninfo)."""
    if len(data) > LARGEST:
        return None
    try:
        with ONE, Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.format == "PNG" and chunk.KEY not in image.info and image.size[0] * image.size[1] <= PIXELS:
                image.load()            # some programs put texts behind the pixels
            exif = image.getexif().get_ifd(ExifTags.IFD.Exif) if "exif" in image.info else {}
            return _text(image.info.get(chunk.KEY)), _text(image.info.get("parameters")) or _comment(exif.get(USER_COMMENT))
    except Exception:               # of a broken file Pillow raises many kinds
        return None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _comment(value: object) -> str | None:
    if isinstance(value, str):
        return value
    if not isinstance(value, bytes):
        return None
    encoding = ENCODINGS.get(value[:8])
    return value[8:].decode(encoding, "replace") if encoding else value.decode("utf-8", "replace")
