"""A plan's paint in one pass: its masks, and what is painted of each text."""
from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import torch
from modules import shared
from torch import Tensor

from lib_mixdiff.errors import inside, within
from lib_mixdiff.host.images import opened
from lib_mixdiff.host.said import Said, text_at
from lib_mixdiff.host.wording import Crops, acts, columns, find, names_of
from lib_mixdiff.masks import bounded, grey, in_cells
from lib_mixdiff.mosaic import Told
from lib_mixdiff.paint import Words
from lib_mixdiff.plan import ModelPlan
from lib_mixdiff.regions import Canvas


def areas_of(plan: ModelPlan, canvas: Canvas) -> list[Tensor]:
    """Of each phrase strength times mask, (height, width) cells; PlanError where a mask is empty."""
    areas = []
    for index, phrase in enumerate(plan.paint.phrases):
        with within(("paint", "phrases", index)):
            with inside("mask"):
                mask = grey(opened(phrase.mask))
            bounded(mask, None, phrase.mask)
        areas.append(plan.paint.strength * phrase.strength * in_cells(mask, canvas.height, canvas.width, canvas.view).float())
    return areas


class Painting:
    """With the text encoders that are loaded now: the refiner brings its own. PlanError where something painted cannot be had."""

    def __init__(self, plan: ModelPlan, said: Said, canvas: Canvas, crops: Crops, device: torch.device) -> None:
        self.plan, self.said = plan, said
        areas = areas_of(plan, canvas)
        find(plan, said, crops, areas)
        self.areas = [area.to(device) for area in areas]
        self.found: dict[tuple[str, int], Words | None] = {}        # by text and member

    def painted(self, told: Told, member: int, step: int) -> Told:
        """What a region, or with the index after the last the base, is told at a step, with what is painted of it."""
        if told.parts is not None:      # its own, the same for all images
            return told._replace(parts=tuple(replace(part, words=words) for part, words in zip(told.parts, self._of(member, 0, step))))
        return told._replace(words=[words for image in range(len(self.said.job)) for words in self._of(member, image, step)])

    def forget(self) -> None:
        """Where tiles lay that do not come back."""
        for words in self.found.values():
            if words is not None:
                words.forget()

    def _of(self, member: int, image: int, step: int) -> list[Words | None]:
        return [self._words(text_at(schedule, step), member) for schedule in self.said.of(member, image)]

    def _words(self, text: str, member: int) -> Words | None:
        if (key := (text, member)) not in self.found:
            areas, phrases = dict[int, list[Tensor]](), dict[int, list[int]]()      # by column of the text; by phrase its columns
            for index, (phrase, area) in enumerate(zip(self.plan.paint.phrases, self.areas)):
                if acts(phrase, names_of(self.plan)[member]) and (found := columns(phrase, text)):
                    phrases[index] = found
                    for column in found:
                        areas.setdefault(column, []).append(area)
            place = {column: i for i, column in enumerate(areas)}
            self.found[key] = Words([*areas], torch.stack([torch.stack(each).amax(0) for each in areas.values()]),
                                    {index: [place[column] for column in found] for index, found in phrases.items()}) if areas else None
        return self.found[key]


def contexts(layer: Any, text: Tensor) -> tuple[Tensor, Tensor]:
    """What a cross-attention makes keys and values of, with the host's hypernetworks (modules/hypernetworks/hypernetwork.py)."""
    if not (loaded := getattr(shared, "loaded_hypernetworks", None)):
        return text, text
    return sys.modules["modules.hypernetworks.hypernetwork"].apply_hypernetworks(loaded, text)
