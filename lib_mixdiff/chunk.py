"""What a PNG carries of a plan: the text chunk `mixdiff`, JSON of the whole plan and of its images, compressed."""
from __future__ import annotations

import base64
import binascii
import hashlib
import json
import zlib
from collections.abc import Callable, Collection
from typing import Any

from lib_mixdiff.documents import decoded, under
from lib_mixdiff.errors import PlanError
from lib_mixdiff.plan import Plan

KEY = "mixdiff"                 # of the chunk, and of the plan in the line of parameters
BEGINNING = "eN"                # of what `packed` makes: zlib's mark, in base64
WITH_GUIDES = 64 * 2**10        # characters of a chunk up to which guide pictures are put in
LARGEST = 16 * 2**20            # characters of a chunk; Pillow opens no PNG with 64 MB of text
UNPACKED = 64 * 2**20           # bytes that a chunk may become

Content = Callable[[str], bytes]        # the file of an image that is called by its hash; PlanError where it is not here


def carried(plan: Plan, content: Content) -> str:
    """The chunk of a plan whose images are called by their hash, in ASCII: with its masks, with guide pictures while it stays small;
    an image that is too large or not here goes by its hash alone."""
    document = bundled(plan, content, ["mask"])
    if len(text := packed(document)) > LARGEST:
        document = bundled(plan, content, [])
        text = packed(document)
    for name, image in bundled(plan, content, ["image"])["images"].items():
        if len(image) < WITH_GUIDES:
            larger = {**document, "images": {**document["images"], name: image}}
            if len(written := packed(larger)) <= WITH_GUIDES:
                document, text = larger, written
    return text


def bundled(plan: Plan, content: Content, keys: Collection[str] = ("mask", "image")) -> dict[str, Any]:
    """{"plan": with all defaults, so that it comes back as it was when one of them has changed, "images": {"sha256:...": base64}}
    with those under `keys` that are here."""
    whole, images = plan.to_dict(), {}
    for name in dict.fromkeys(name for _, name in under(whole, keys, unless=("ui",))):
        try:
            images[name] = base64.b64encode(content(name)).decode()
        except PlanError:
            continue
    return {"plan": whole, "images": images}


def packed(document: dict[str, Any]) -> str:
    """A document in ASCII."""
    return base64.b64encode(zlib.compress(json.dumps(document, ensure_ascii=False).encode(), 9)).decode()


def unpacked(text: str) -> object:
    """The document of a chunk, as someone wrote it; PlanError where it is none."""
    remedy = "use the picture as it was saved"
    try:
        inflate = zlib.decompressobj()
        data = inflate.decompress(base64.b64decode(text, validate=True), UNPACKED)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise PlanError(KEY, text, remedy, f"{{value}} cannot be unpacked ({error})") from None
    if not inflate.eof:
        problem = f"{{value}} becomes more than {UNPACKED >> 20} MB" if inflate.unconsumed_tail else "{value} has lost its end"
        raise PlanError(KEY, text, remedy, problem)
    try:
        return decoded(data.decode())
    except UnicodeDecodeError as error:
        raise PlanError(KEY, text, remedy, f"{{value}} cannot be unpacked ({error})") from None
    except PlanError as error:
        raise error.within(KEY) from None


def opened(document: object) -> tuple[object, dict[str, bytes], list[str]]:
    """The plan of a document as someone wrote it, its images by their hash, and a sentence for each that is not what it is called.
    PlanError where it is no document."""
    if not isinstance(document, dict) or "plan" not in document:
        raise PlanError("", document, 'use {"plan": ..., "images": ...}', "{value} holds no plan")
    given, images, left = document.get("images", {}), {}, []
    if not isinstance(given, dict):
        left.append(str(PlanError("images", given, 'use {"sha256:...": base64}', "{value} is not an object")))
        given = {}
    for name, text in given.items():
        try:
            data = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
        except ValueError:
            data = b""
        if name == f"sha256:{hashlib.sha256(data).hexdigest()}":
            images[name] = data
        else:
            left.append(str(PlanError(name, text, "use base64 of the file with this hash", "{value} is another image").within("images")))
    return document["plan"], images, left
