"""The WebUI's prompt language, from its documentation (wiki, "Features").

`(x)` `[x]` `(x:1.3)` weigh words, a backslash takes a bracket literally, `BREAK` starts a new chunk of 75 tokens; `AND` joins
parts, each with an optional `:weight`; `[from:to:when]`, `[to:when]`, `[from::when]` and `[a|b]` change the prompt during sampling.
"""
from __future__ import annotations

import re
from collections import namedtuple
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

ScheduledPromptConditioning = namedtuple("ScheduledPromptConditioning", ["end_at_step", "cond"])
ComposableScheduledPromptConditioning = namedtuple("ComposableScheduledPromptConditioning", ["schedules", "weight"])
NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*")
TOKEN = re.compile(r"\\([()\[\]\\]?)|:\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*\)|([()\[\]])|[^\\()\[\]:]+|:")
WEIGHTS, OPENS = {"(": 1.1, "[": 1 / 1.1}, {")": "(", "]": "["}
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


def _schedule(prompt: str, steps: int) -> Schedule:
    """The texts that a prompt stands for, each with the last step that uses it; ValueError if a bar is outside of square brackets."""
    changes = {steps}

    def text_at(step: int) -> str:
        @cache
        def run(at: int, ends: str) -> tuple[str, int]:
            """The text from `at` to the first of the characters `ends` outside of brackets, and where that is."""
            text = ""
            while at < len(prompt) and prompt[at] not in ends:
                if prompt[at] == "\\":
                    piece, at = prompt[at:at + 2], at + 2
                elif prompt[at] == "[" and (found := bracket(at + 1)):
                    piece, at = found
                elif prompt[at] == "(" and prompt[(found := run(at + 1, ")]"))[1]:][:1] == ")":
                    piece, at = f"({found[0]})", found[1] + 1
                elif prompt[at] == "|":
                    raise ValueError("a bar outside of square brackets")
                else:
                    piece, at = prompt[at], at + 1
                text += piece
            return text, at

        @cache
        def bracket(at: int) -> tuple[str, int] | None:
            """What a bracket whose inside begins at `at` stands for, and the place behind it; None if it is never closed."""
            parts, marks, start = [], "", at
            while not marks.endswith("]"):
                start = at
                text, at = run(at, ":|])")
                if at >= len(prompt) or prompt[at] == ")":
                    return None
                parts.append(text)
                marks += prompt[at]
                at += 1
            number = NUMBER.fullmatch(prompt[start:at - 1])
            if number and marks in (":]", "::]"):
                when = min(steps, int(float(number[1]) * (steps if "." in number[1] else 1)))       # a share, or a step
                changes.add(when)
                before = parts[0] if marks == "::]" else ""
                return before if step <= when else parts[-2], at
            if set(marks[:-1]) == {"|"}:
                changes.update(range(1, steps + 1))
                return parts[(step - 1) % len(parts)], at
            return "[" + "".join(text + mark for text, mark in zip(parts, marks)), at

        return run(0, "")[0]

    text_at(1)                          # finds the changes
    return [[last, text_at(last)] for last in sorted(changes) if last >= 1]


def get_learned_conditioning_prompt_schedules(prompts: Sequence[str], base_steps: int) -> list[Schedule]:
    """For each prompt its schedule; one with a loose bar is taken as it stands."""
    schedules = []
    for prompt in prompts:
        try:
            schedules.append(_schedule(prompt, base_steps))
        except ValueError:
            schedules.append([[base_steps, prompt]])
    return schedules


def get_learned_conditioning(model: Any, prompts: Sequence[str], steps: int, hires_steps: int | None = None,
                             use_old_scheduling: bool = False) -> list[list[ScheduledPromptConditioning]]:
    """Each prompt's schedule with the text encoder's output (tokens, c) in the text's place."""
    done: dict[str, list[ScheduledPromptConditioning]] = {}
    schedules = get_learned_conditioning_prompt_schedules(prompts, steps)
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


class MulticondLearnedConditioning:
    def __init__(self, shape: tuple, batch: list[list[ComposableScheduledPromptConditioning]]) -> None:
        self.shape, self.batch = shape, batch


def get_multicond_learned_conditioning(model: Any, prompts: Sequence[str], steps: int, hires_steps: int | None = None,
                                       use_old_scheduling: bool = False) -> MulticondLearnedConditioning:
    indexes, flat, _ = get_multicond_prompt_list(prompts)
    learned = get_learned_conditioning(model, flat, steps, hires_steps, use_old_scheduling)
    batch = [[ComposableScheduledPromptConditioning(learned[i], weight) for i, weight in parts] for parts in indexes]
    return MulticondLearnedConditioning(shape=(len(prompts),), batch=batch)


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

    for token in TOKEN.finditer(text):
        literal, weight, bracket = token.groups()
        if literal is not None:
            pieces.append([literal, 1.0])
        elif bracket in ("(", "["):
            opened.append((bracket, len(pieces)))
        elif not (close("(", float(weight)) if weight else bracket and close(OPENS[bracket], WEIGHTS[OPENS[bracket]])):
            for i, part in enumerate(re.split(r"\s*\bBREAK\b\s*", token[0])):
                pieces += [["BREAK", -1], [part, 1.0]] if i else [[part, 1.0]]
    for kind in "([":                           # never closed: to the end
        while close(kind, WEIGHTS[kind]):
            pass
    merged: list[list] = []
    for piece in pieces or [["", 1.0]]:
        if merged and merged[-1][1] == piece[1]:
            merged[-1][0] += piece[0]
        else:
            merged.append(piece)
    return merged
