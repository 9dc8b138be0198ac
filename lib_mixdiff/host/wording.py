"""Where a plan's painted phrases stand in what a pass says, as the host's own parser and tokenizer have it."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modules import prompt_parser, shared
from torch import Tensor

from lib_mixdiff.boxes import Box
from lib_mixdiff.errors import PlanError, shown, within
from lib_mixdiff.host.prompts import spoken
from lib_mixdiff.host.said import Said
from lib_mixdiff.mosaic import Member
from lib_mixdiff.phrases import Tokens, columns_of, nearest_words, tokens_of
from lib_mixdiff.plan import ModelPlan, Phrase
from lib_mixdiff.regions import active_regions

BASE = "base"           # the job's own prompt, in a phrase's `in`
Crops = Mapping[int, Box]       # of those that draw, active regions by their index and after them the base: what they see of the canvas


def names_of(plan: ModelPlan) -> list[str | None]:
    """Of those that speak: active regions, and last the base."""
    return [*(region.name for region in active_regions(plan)), BASE]


def acts(phrase: Phrase, name: str | None) -> bool:
    return phrase.in_ is None or name in phrase.in_


def columns(phrase: Phrase, text: str) -> list[int]:
    """Of the text condition, where the phrase is in the text; SDXL's text encoders agree on them."""
    words = spoken(phrase.phrase)
    return sorted({column for encoder in encoders() for column in columns_of(_tokens(encoder, words), _tokens(encoder, text))})


def _tokens(encoder: Any, text: str) -> Tokens:
    return tokens_of(encoder.tokenize_line(text)[0], encoder.id_end)


def encoders() -> list[Any]:
    """Those that are loaded now and work with the words of a prompt; PlanError where there is none."""
    model: Any = shared.sd_model
    found = getattr(getattr(model, "conditioner", None), "embedders", None) or [getattr(model, "cond_stage_model", None)]
    if not (found := [each for each in found if hasattr(each, "tokenize_line")]):
        raise PlanError("paint", type(model).__name__, "load one of Stable Diffusion 1, 2 or XL", "{value} has no text to paint with")
    return found


def crops_of(members: Sequence[tuple[int | None, Member]], plan: ModelPlan) -> dict[int, Box]:
    """Of the members that `placed` returned, before they are cut into tiles. While a region rests, the base draws in its place."""
    base = len(active_regions(plan))
    crops = {base if index is None else index: member.crop for index, member in members}
    if base not in crops and any(region.range for region in active_regions(plan)):
        crops[base] = Box(0, 0, max(box.bottom for box in crops.values()), max(box.right for box in crops.values()))
    return crops


def find(plan: ModelPlan, said: Said, crops: Crops | None = None, areas: Sequence[Tensor] = (),
         otherwise: str = "leave the phrase out") -> None:
    """PlanError where a phrase is not in what is said for one of the images, or for a member that it names, or would not be seen:
    because those who say it draw nothing, or not where it is painted (`areas`, by phrase). With a region that is switched off rests what
    is painted in it."""
    encoders()
    names = names_of(plan)
    known = [BASE, *(region.name for region in plan.regions if region.name)]
    for index, phrase in enumerate(plan.paint.phrases):
        with within(("paint", "phrases", index)):
            for place, name in enumerate(phrase.in_ or ()):
                if name not in known:
                    raise PlanError("", name, f"use {', '.join(known)}", "there is no region {value}").within(place).within("in")
            if not (wanted := [member for member, name in enumerate(names) if acts(phrase, name)]):
                continue
            for image in range(len(said.job)):
                texts = {member: [text for schedule in said.of(member, image) for _, text in schedule] for member in wanted}
                having = [member for member in wanted if any(columns(phrase, text) for text in texts[member])]
                if phrase.in_ and len(having) < len(wanted):
                    lacking = next(member for member in wanted if member not in having)
                    raise _missing(phrase, texts[lacking], f" of {names[lacking]}", otherwise)
                if not having:
                    raise _missing(phrase, [text for member in reversed(wanted) for text in texts[member]], "", otherwise)
                if crops is not None and not (drawing := [member for member in having if member in crops]):
                    raise PlanError("phrase", phrase.phrase, "write it into a region's prompt, or give base a share",
                                    "{value} is only in the job's own prompt, for which the regions leave no place")
                if crops is not None and areas and areas[index].any() and not any(areas[index][crops[m].of].any() for m in drawing):
                    raise PlanError("mask", phrase.mask, f"paint it where {shown(phrase.phrase)} is said, or say it there",
                                    "{value} lies where nobody says these words")


def _missing(phrase: Phrase, texts: Sequence[str], whose: str, otherwise: str) -> PlanError:
    near = nearest_words(phrase.phrase, [_plain(text) for text in texts])
    return PlanError("phrase", phrase.phrase, f'use "{near}"' if near else f"write it there, or {otherwise}",
                     f"{{value}} is not in the prompt{whose}, {shown(texts[0])}")


def _plain(text: str) -> str:
    """Without the signs of emphasis."""
    if getattr(shared.opts, "emphasis", "") == "None":
        return text
    return "".join("\n" if weight == -1 else part for part, weight in prompt_parser.parse_prompt_attention(text))
