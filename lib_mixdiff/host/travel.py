"""How a plan leaves with a picture and comes back."""
from __future__ import annotations

import json
from html import escape
from time import monotonic_ns
from typing import Any

from modules import infotext_utils
from PIL import Image

from lib_mixdiff import assets, chunk, pictures
from lib_mixdiff.documents import decoded, under
from lib_mixdiff.errors import PlanError
from lib_mixdiff.host.images import by_hash, folder
from lib_mixdiff.host.protocols import Saved
from lib_mixdiff.plan import Plan

LEFT_OUT = "mixdiff left out"       # sentences among the parameters of a pasted infotext


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
    line = plan_in(infotext)
    try:
        return line and chunk.carried(Plan.from_dict(line), lambda image: assets.content(image, folder()))
    except PlanError:           # another's line
        return None


def plan_in(infotext: str) -> str | None:
    """As the host reads it, and with what its settings say not to paste."""
    return infotext_utils.parse_generation_parameters(infotext, skip_fields=[]).get(chunk.KEY)


def read(data: bytes) -> dict[str, Any]:
    """What is understood of the plan in a file: a picture, a plan or a preset in JSON, or an infotext; PlanError where there is none.
    {"plan": without defaults, "left_out": a sentence for each thing that is not in it, "infotext": where there is one with a plan}.
    Images that came with it are kept here."""
    value, images, left, infotext = found(data)
    for image in images.values():
        try:
            assets.store(folder(), image)
        except PlanError as error:
            left.append(str(error))
    plan, gone = understood(value)
    answer = {"plan": plan.to_dict(defaults=False), "left_out": left + gone}
    return answer | {"infotext": infotext} if infotext and plan_in(infotext) else answer


def found(data: bytes) -> tuple[object, dict[str, bytes], list[str], str | None]:
    """A plan as someone wrote it, the images that came with it, what cannot be read of these, and the infotext beside it; PlanError."""
    left = []
    infotext = data.decode("utf-8-sig", "replace")
    if (texts := pictures.texts(data)) is not None:
        carried, infotext = texts
        if carried:
            try:
                return *chunk.opened(chunk.unpacked(carried)), infotext
            except PlanError as error:
                left.append(str(error))
    elif infotext.lstrip().startswith("{"):
        value = decoded(infotext)
        return *(chunk.opened(value) if isinstance(value, dict) and "plan" in value else (value, {}, [])), None
    elif infotext.startswith(chunk.BEGINNING) and len(infotext.split()) == 1:       # the PNG-info tab shows no more of a picture
        return *chunk.opened(chunk.unpacked(infotext.strip())), None
    if not (line := plan_in(infotext or "")):
        raise PlanError("file", len(data), "use a picture that was made with mixdiff as it was saved, or a plan in JSON",
                        " ".join([*left, "there is no plan in these {value} bytes"]))
    return line, {}, left, infotext


def understood(value: object) -> tuple[Plan, list[str]]:
    """What is understood of a pasted plan, its images kept here by their hash, and what was left out; an image that is called by
    its hash and is not here stays, and is told."""
    plan, left = Plan.salvage(value, lambda plan: plan.with_each(["image", "mask"], by_hash))
    for path, image in under(plan.to_dict(), ["image", "mask"], unless=("ui",)):
        if not (folder() / image.partition(":")[2]).is_file():
            error = PlanError("", image, "drop the PNG that it was made with, or choose another image", "the image {value} is not here")
            error.path = path
            left.append(str(error))
    return plan, left


def pasted(infotext: str, params: dict[str, Any]) -> None:
    """For `on_infotext_pasted`, which "Send to" and the paste button call, and the API does not: there a plan is taken strictly."""
    if chunk.KEY in params:
        plan, left = understood(params[chunk.KEY])
        if left:
            params[chunk.KEY] = json.dumps(plan.to_dict(defaults=False), ensure_ascii=False)
            params[LEFT_OUT] = left


def has_plan(params: dict[str, Any]) -> bool:
    """Whether there is a plan among the parameters of a pasted infotext."""
    return chunk.KEY in params


def left_out(params: dict[str, Any]) -> str:
    """What was left out of the pasted infotext with these parameters, as HTML; never twice the same, for the page shows only changes."""
    sentences = "".join(f"<li>{escape(sentence)}</li>" for sentence in params.get(LEFT_OUT, ()))
    return sentences and f"<div data-pasted={monotonic_ns()}>Left out of what was pasted:<ul>{sentences}</ul></div>"
