"""Images that plans name by their hash, kept as the files that they came in."""
from __future__ import annotations

import base64
import binascii
import hashlib
import io
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Lock

from PIL import Image, ImageOps

from lib_mixdiff.errors import PlanError

FORMATS = ("PNG", "JPEG", "WEBP")
LARGEST = 64 * 2**20        # bytes of a file
PIXELS = 2**26
ONE = Lock()                # decoding takes memory


def store(folder: Path, data: bytes) -> tuple[str, tuple[int, int]]:
    """Keeps an image file's bytes: its "sha256:<hex>", and its width and height in px. PlanError if it is none that a plan can use."""
    remedy = f"send the bytes of a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file of at most {LARGEST >> 20} MB and megapixels"
    try:
        with ONE, Image.open(io.BytesIO(data), formats=FORMATS) as image:
            size = image.size
            if len(data) > LARGEST or size[0] * size[1] > PIXELS:
                raise ValueError
            image.load()
    except Exception as error:          # of a broken file Pillow raises many kinds
        raise PlanError("asset", len(data), remedy, "these {value} bytes are not an image that a plan can use") from error
    digest = hashlib.sha256(data).hexdigest()
    if not (file := folder / digest).exists():
        folder.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=folder, suffix=".part", delete=False) as part:
            part.write(data)
        Path(part.name).replace(file)
    return f"sha256:{digest}", size


def opened(image: str, folder: Path) -> Image.Image:
    """An image of a plan, turned as its file says. PlanError if it is not there, or is none."""
    data = content(image, folder)
    try:
        with ONE, Image.open(io.BytesIO(data), formats=FORMATS) as found:
            if found.size[0] * found.size[1] > PIXELS:
                raise ValueError
            return ImageOps.exif_transpose(found)
    except Exception as error:
        raise PlanError("", image, f"send a file of {', '.join(FORMATS)}", "{value} is not an image that a plan can use") from error


def content(image: str, folder: Path) -> bytes:
    """The file of an image of a plan: base64 of a PNG, a data: URI, or the hash of one that is kept in `folder`; PlanError."""
    remedy = "send the image itself, or store it first (PUT /mixdiff/v1/assets)"
    if is_hash(image):
        if not (file := folder / image.partition(":")[2]).is_file():
            raise PlanError("", image, remedy, "there is no image {value} here")
        return file.read_bytes()
    try:
        return base64.b64decode(image.rpartition(",")[2], validate=True)
    except binascii.Error as error:
        raise PlanError("", image, remedy, "{value} is not base64") from error


def is_hash(image: str) -> bool:
    return image.startswith("sha256:")
