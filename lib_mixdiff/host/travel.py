"""How a plan leaves with a picture and comes back."""
from __future__ import annotations

from modules import infotext_utils
from PIL import Image

from lib_mixdiff import assets, chunk
from lib_mixdiff.errors import PlanError
from lib_mixdiff.host.images import folder
from lib_mixdiff.host.protocols import Saved
from lib_mixdiff.plan import Plan


def carry(images: list[Image.Image]) -> None:
    """For `postprocess`: what the API, or the page, makes of these pictures of a job carries the plan that stands under each."""
    for image in images:
        if text := chunk_of(getattr(image, "info", {}).get("parameters")):
            image.info[chunk.KEY] = text


def carry_in_file(params: Saved) -> None:
    """For `on_before_image_saved`. What came with a picture that is saved again stays."""
    if not params.filename.lower().endswith(".png") or chunk.KEY in params.pnginfo:
        return
    if text := chunk_of(params.pnginfo.get("parameters")):
        params.pnginfo[chunk.KEY] = text


def chunk_of(infotext: str | None) -> str | None:
    """The chunk of a picture with this infotext; None where that has no plan."""
    if not infotext or f"{chunk.KEY}:" not in infotext:
        return None
    line = infotext_utils.parse_generation_parameters(infotext).get(chunk.KEY)
    try:
        return line and chunk.carried(Plan.from_dict(line), lambda image: assets.content(image, folder()))
    except PlanError:           # another's line
        return None
