"""A plan's painted phrases in what a pass says."""
from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from modules import shared
from torch import Tensor

from lib_mixdiff.errors import PlanError, inside, within
from lib_mixdiff.host.images import opened
from lib_mixdiff.host.prompts import spoken
from lib_mixdiff.host.said import Said, Schedule, at
from lib_mixdiff.masks import bounded, grey, in_cells
from lib_mixdiff.mosaic import Told
from lib_mixdiff.paint import Words
from lib_mixdiff.phrases import Tokens, columns_of, nearest_words, tokens_of
from lib_mixdiff.plan import Phrase, Plan
from lib_mixdiff.regions import Canvas, active_regions

BASE = "base"           # the job's own prompt, in a phrase's `in`


class Painting:
    """Of one pass; PlanError where a phrase is not in what is said, or its mask is empty."""

    def __init__(self, plan: Plan, said: Said, canvas: Canvas) -> None:
        self.plan, self.said, self.areas = plan, said, areas_of(plan, canvas)

    def encode(self) -> None:
        """With the text encoders that are loaded now: the refiner brings its own."""
        find(self.plan, self.said)
        self.found: dict[tuple[str, int], Words | None] = {}        # by text and member

    def painted(self, told: Told, member: int, step: int) -> Told:
        """What a region, or with the index after the last the base, is told at a step, with what is painted of it."""
        if told.parts is not None:      # its own, the same for all images
            return told._replace(parts=tuple(replace(part, words=words) for part, words in zip(told.parts, self._of(member, 0, step))))
        return told._replace(words=[words for image in range(len(self.said.job)) for words in self._of(member, image, step)])

    def _of(self, member: int, image: int, step: int) -> list[Words | None]:
        return [self._words(at(schedule, step), member) for schedule in self.said.of(member, image)]

    def _words(self, text: str, member: int) -> Words | None:
        if (key := (text, member)) not in self.found:
            areas, phrases = dict[int, list[Tensor]](), dict[int, list[int]]()      # by column of the text; by phrase its columns
            for index, (phrase, area) in enumerate(zip(self.plan.paint.phrases, self.areas)):
                if _acts(phrase, _names(self.plan)[member]) and (found := columns(phrase, text)):
                    phrases[index] = found
                    for column in found:
                        areas.setdefault(column, []).append(area)
            place = {column: i for i, column in enumerate(areas)}
            self.found[key] = Words([*areas], torch.stack([torch.stack(each).amax(0) for each in areas.values()]),
                                    {index: [place[column] for column in found] for index, found in phrases.items()}) if areas else None
        return self.found[key]


def areas_of(plan: Plan, canvas: Canvas) -> list[Tensor]:
    """Of each phrase strength times mask, (height, width) cells; PlanError where a mask is empty."""
    areas = []
    for index, phrase in enumerate(plan.paint.phrases):
        with within(("paint", "phrases", index)):
            with inside("mask"):
                mask = grey(opened(phrase.mask))
            bounded(mask, None, phrase.mask)
        areas.append(plan.paint.strength * phrase.strength * in_cells(mask, canvas.height, canvas.width, canvas.view).float())
    return areas


def find(plan: Plan, said: Said) -> None:
    """PlanError where a phrase is not in what is said, for any of the images, or for a member that it names."""
    names = _names(plan)
    known = [BASE, *(region.name for region in plan.regions if region.name)]
    for index, phrase in enumerate(plan.paint.phrases):
        with within(("paint", "phrases", index)):
            for place, name in enumerate(phrase.in_ or ()):
                if name not in known:
                    raise PlanError("", name, f"use {', '.join(known)}", "there is no region {value}").within(place).within("in")
            named = [[member] for member, name in enumerate(names) if _acts(phrase, name)]
            for members in named if phrase.in_ else [range(len(names))]:
                for image in range(len(said.job)):
                    _find(phrase, [schedule for member in members for schedule in said.of(member, image)],
                          f" of {names[members[0]]}" if phrase.in_ else "")


def _find(phrase: Phrase, schedules: Sequence[Schedule], whose: str) -> None:
    texts = list(dict.fromkeys(text for schedule in schedules for _, text in schedule))
    if not any(columns(phrase, text) for text in texts):
        near = nearest_words(phrase.phrase, texts)
        raise PlanError("phrase", phrase.phrase, f'use "{near}"' if near else "write it there, or leave the phrase out",
                        f"{{value}} is not in the prompt{whose}")


def columns(phrase: Phrase, text: str) -> list[int]:
    """Of the text condition, where the phrase is in the text; SDXL's text encoders agree on them."""
    found = {column for encoder in encoders() for column in columns_of(*(_tokens(encoder, each) for each in (spoken(phrase.phrase), text)))}
    return sorted(found)


def _tokens(encoder: Any, text: str) -> Tokens:
    return tokens_of(encoder.tokenize_line(text)[0], encoder.id_end)


def encoders() -> list[Any]:
    """Those that are loaded now and work with the words of a prompt; PlanError where there is none."""
    model: Any = shared.sd_model
    found = getattr(getattr(model, "conditioner", None), "embedders", None) or [getattr(model, "cond_stage_model", None)]
    if not (found := [each for each in found if hasattr(each, "tokenize_line")]):
        raise PlanError("paint", type(model).__name__, "load one of Stable Diffusion 1, 2 or XL", "{value} has no text to paint with")
    return found


def contexts(layer: Any, text: Tensor) -> tuple[Tensor, Tensor]:
    """What a cross-attention makes keys and values of, with the host's hypernetworks (modules/hypernetworks/hypernetwork.py)."""
    if not (loaded := getattr(shared, "loaded_hypernetworks", None)):
        return text, text
    return sys.modules["modules.hypernetworks.hypernetwork"].apply_hypernetworks(loaded, text)


def _names(plan: Plan) -> list[str | None]:
    """Of the members that speak: active regions, and last the base."""
    return [*(region.name for region in active_regions(plan)), BASE]


def _acts(phrase: Phrase, name: str | None) -> bool:
    return phrase.in_ is None or name in phrase.in_
