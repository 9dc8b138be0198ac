"""The WebUI's prompt language, from its documentation (wiki, "Features").

`(x)` `[x]` `(x:1.3)` weigh words, a backslash takes a bracket literally, `BREAK` starts a new chunk of 75 tokens; `AND` joins
parts, each with an optional `:weight`; `[from:to:when]`, `[to:when]`, `[from::when]` and `[a|b]` change the prompt during sampling.
"""
from __future__ import annotations

import re
from collections import namedtuple
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

ScheduledPromptConditioning = namedtuple("ScheduledPromptConditioning", ["end_at_step", "cond"])
NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*")
Schedule = list[list]           # [[last step, text], ...]


class SdConditioning(list):
    """Prompts, and what an SDXL text encoder wants to know beside them."""

    def __init__(self, prompts: Sequence[str], is_negative_prompt: bool = False, width: int | None = None,
                 height: int | None = None, copy_from: Any = None) -> None:
        super().__init__(prompts)
        source = prompts if copy_from is None else copy_from
        self.is_negative_prompt = is_negative_prompt or getattr(source, "is_negative_prompt", False)
        self.width = width or getattr(source, "width", None)
        self.height = height or getattr(source, "height", None)


class LooseBar(ValueError):
    """A bar outside of square brackets: such a prompt is taken as it stands."""


class _Edit:
    """`[before:after:when]`: `before` up to the step `when`, then `after`."""

    def __init__(self, before: list, after: list, when: int) -> None:
        self.before, self.after, self.when = before, after, when

    def steps(self, last: int) -> set[int]:
        return {self.when}.union(*(_steps(nodes, last) for nodes in (self.before, self.after)))

    def at(self, step: int) -> str:
        return _text(self.before if step <= self.when else self.after, step)


class _Turns:
    """`[a|b|c]`: one after the other, a step each."""

    def __init__(self, options: list[list]) -> None:
        self.options = options

    def steps(self, last: int) -> set[int]:
        return set(range(1, last + 1))

    def at(self, step: int) -> str:
        return _text(self.options[(step - 1) % len(self.options)], step)


def _steps(nodes: list, last: int) -> set[int]:
    return set().union(*(node.steps(last) for node in nodes if not isinstance(node, str)))


def _text(nodes: list, step: int) -> str:
    return "".join(node if isinstance(node, str) else node.at(step) for node in nodes)


def _parse(text: str, at: int, ends: str, when_of: Any) -> tuple[list, int]:
    """Nodes from `at` to the first of the characters `ends` outside of brackets, and where that is."""
    nodes: list = []
    while at < len(text) and text[at] not in ends:
        if text[at] == "\\":
            nodes.append(text[at:at + 2])
            at += 2
        elif text[at] == "[" and (bracket := _bracket(text, at + 1, when_of)):
            nodes += bracket[0]
            at = bracket[1]
        elif text[at] == "(" and (inner := _parse(text, at + 1, ")]", when_of))[1] < len(text) and text[inner[1]] == ")":
            nodes += ["(", *inner[0], ")"]
            at = inner[1] + 1
        elif text[at] == "|":
            raise LooseBar
        else:
            nodes.append(text[at])
            at += 1
    return nodes, at


def _bracket(text: str, at: int, when_of: Any) -> tuple[list, int] | None:
    """The nodes of a bracket whose inside begins at `at`, and the place behind it; None if it is never closed."""
    parts, marks, starts = [], "", [at]
    while True:
        nodes, at = _parse(text, at, ":|])", when_of)
        parts.append(nodes)
        if at >= len(text) or text[at] == ")":
            return None
        if text[at] == "]":
            break
        marks += text[at]
        at += 1
        starts.append(at)
    number = NUMBER.fullmatch(text[starts[-1]:at])
    if number and marks in (":", "::"):
        return [_Edit(parts[0] if marks == "::" else [], parts[-2], when_of(number[1]))], at + 1
    if marks and set(marks) == {"|"}:
        return [_Turns(parts)], at + 1
    literal: list = ["["]
    for nodes, mark in zip(parts, marks + "]"):
        literal += [*nodes, mark]
    return literal, at + 1


def get_learned_conditioning_prompt_schedules(prompts: Sequence[str], base_steps: int, hires_steps: int | None = None,
                                              use_old_scheduling: bool = False) -> list[Schedule]:
    """For each prompt the texts that it stands for, each with the last step that uses it."""
    first, steps = (0, base_steps) if hires_steps is None else (base_steps, hires_steps)

    def when_of(number: str) -> int:        # with a point: a share of the pass, the second pass being 1 to 2; without: a step
        at = (float(number) - (hires_steps is not None)) * steps if "." in number else float(number) - first
        return min(steps, int(at))

    schedules = []
    for prompt in prompts:
        try:
            nodes, _ = _parse(prompt, 0, "", when_of)
        except LooseBar:
            nodes = [prompt]
        lasts = {steps, *(step for step in _steps(nodes, steps) if step >= 1)}
        schedules.append([[last, _text(nodes, last)] for last in sorted(lasts)])
    return schedules


def get_learned_conditioning(model: Any, prompts: Sequence[str], steps: int, hires_steps: int | None = None,
                             use_old_scheduling: bool = False) -> list[list[ScheduledPromptConditioning]]:
    """Each prompt's schedule with the text encoder's output (tokens, c) in the text's place."""
    done: dict[str, list[ScheduledPromptConditioning]] = {}
    schedules = get_learned_conditioning_prompt_schedules(prompts, steps, hires_steps, use_old_scheduling)
    for prompt, schedule in zip(prompts, schedules):
        if prompt not in done:
            conds = model.get_learned_conditioning(SdConditioning([text for _, text in schedule], copy_from=prompts))
            done[prompt] = [ScheduledPromptConditioning(last, cond) for (last, _), cond in zip(schedule, conds)]
    return [done[prompt] for prompt in prompts]


def get_multicond_prompt_list(prompts: Sequence[str]) -> tuple[list[list[tuple[int, float]]], SdConditioning, dict[str, int]]:
    """Prompts cut at AND: for each the (index, weight) of its parts; the different parts; their indexes."""
    flat = SdConditioning([], copy_from=prompts)
    index_of: dict[str, int] = {}
    indexes = []
    for prompt in prompts:
        parts = []
        for part in re.split(r"\bAND\b", prompt):
            text, colon, tail = part.rpartition(":")
            weighted = colon and re.fullmatch(r"\s*[+-]?(\d+\.?|\d*\.\d+)\s*", tail)
            text, weight = (text.rstrip(), float(tail)) if weighted else (part.rstrip(), 1.0)
            if text not in index_of:
                index_of[text] = len(flat)
                flat.append(text)
            parts.append((index_of[text], weight))
        indexes.append(parts)
    return indexes, flat, index_of


class ComposableScheduledPromptConditioning:
    def __init__(self, schedules: list[ScheduledPromptConditioning], weight: float = 1.0) -> None:
        self.schedules, self.weight = schedules, weight


class MulticondLearnedConditioning:
    def __init__(self, shape: tuple, batch: list[list[ComposableScheduledPromptConditioning]]) -> None:
        self.shape, self.batch = shape, batch


def get_multicond_learned_conditioning(model: Any, prompts: Sequence[str], steps: int, hires_steps: int | None = None,
                                       use_old_scheduling: bool = False) -> MulticondLearnedConditioning:
    indexes, flat, _ = get_multicond_prompt_list(prompts)
    learned = get_learned_conditioning(model, flat, steps, hires_steps, use_old_scheduling)
    batch = [[ComposableScheduledPromptConditioning(learned[i], weight) for i, weight in parts] for parts in indexes]
    return MulticondLearnedConditioning(shape=(len(prompts),), batch=batch)


class DictWithShape(dict):
    """SDXL's conditioning; minihost never makes one."""

    def __init__(self, x: dict, shape: Any = None) -> None:
        super().__init__(x)

    @property
    def shape(self) -> torch.Size:
        return self["crossattn"].shape


def _at_step(schedule: list[ScheduledPromptConditioning], step: int) -> Tensor:
    return next((entry.cond for entry in schedule if step <= entry.end_at_step), schedule[0].cond)


def reconstruct_cond_batch(c: list[list[ScheduledPromptConditioning]], current_step: int) -> Tensor:
    """What holds at this step, (b, tokens, c)."""
    return torch.stack([_at_step(schedule, current_step) for schedule in c])


def reconstruct_multicond_batch(c: MulticondLearnedConditioning, current_step: int) -> tuple[list[list[tuple[int, float]]], Tensor]:
    """Per image the (row, weight) of its parts, and all rows; the shorter ones go on with their last token."""
    indexes, rows = [], []
    for parts in c.batch:
        indexes.append([(len(rows) + i, part.weight) for i, part in enumerate(parts)])
        rows += [_at_step(part.schedules, current_step) for part in parts]
    length = max(len(row) for row in rows)
    return indexes, torch.stack([torch.cat([row, row[-1:].expand(length - len(row), -1)]) for row in rows])


def parse_prompt_attention(text: str) -> list[list]:
    """[[text, weight], ...]; a BREAK outside of brackets is ["BREAK", -1]."""
    pieces: list[list] = []
    opened: list[tuple[str, int]] = []          # brackets, and the piece that each begins with

    def close(kind: str, factor: float) -> bool:
        last = next((i for i in reversed(range(len(opened))) if opened[i][0] == kind), None)
        if last is None:
            return False
        for piece in pieces[opened.pop(last)[1]:]:
            piece[1] *= factor
        return True

    at = 0
    while at < len(text):
        weight = re.match(r":\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*\)", text[at:]) if text[at] == ":" else None
        plain = re.match(r"[^\\()\[\]:]+", text[at:])
        token = weight or plain
        at += len(token[0]) if token else 1
        character = text[at - 1]
        if plain:
            for i, part in enumerate(re.split(r"\s*\bBREAK\b\s*", plain[0])):
                pieces += [["BREAK", -1], [part, 1.0]] if i else [[part, 1.0]]
        elif weight:
            if not close("(", float(weight[1])):
                pieces.append([weight[0], 1.0])
        elif character in "([":
            opened.append((character, len(pieces)))
        elif character == "\\":                 # a bracket or a backslash behind it is itself
            literal = text[at:at + 1] if text[at:at + 1] in tuple("()[]\\") else ""
            pieces.append([literal, 1.0])
            at += len(literal)
        elif not (character == ")" and close("(", 1.1)) and not (character == "]" and close("[", 1 / 1.1)):
            pieces.append([character, 1.0])
    for kind in "([":                           # never closed: to the end
        while close(kind, 1.1 if kind == "(" else 1 / 1.1):
            pass
    merged: list[list] = []
    for piece in pieces or [["", 1.0]]:
        if merged and merged[-1][1] == piece[1]:
            merged[-1][0] += piece[0]
        else:
            merged.append(piece)
    return merged
