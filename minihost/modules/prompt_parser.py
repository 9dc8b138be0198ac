"""The WebUI's prompt language, from its documentation (wiki, "Features").

`(x)` `[x]` `(x:1.3)` weigh words, a backslash takes a bracket literally, `BREAK` starts a new chunk of 75 tokens; `AND` joins
parts, each with an optional `:weight`; `[from:to:when]`, `[to:when]`, `[from::when]` and `[a|b]` change the prompt during sampling.
"""
import re
from collections import namedtuple
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor

ScheduledPromptConditioning = namedtuple("ScheduledPromptConditioning", ["end_at_step", "cond"])
ComposableScheduledPromptConditioning = namedtuple("ComposableScheduledPromptConditioning", ["schedules", "weight"])
TOKEN = re.compile(r"\\([()\[\]\\]?)|:\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*\)|([()\[\]])|[^\\()\[\]:]+|:")
PART = re.compile(r"(.*?)\s*(?::\s*([+-]?(?:\d+\.?|\d*\.\d+))\s*)?", re.DOTALL)           # of an AND, and its weight
WEIGHTS, OPENS = {"(": 1.1, "[": 1 / 1.1}, {")": "(", "]": "["}
INNERMOST = re.compile(r"""
    \[ (?: (?P<before> [^][()|:]*) : )? (?P<after> [^][()|:]*) : \s* (?P<when> [+-]? (?:\d+\.?\d*|\.\d+) (?:[eE][+-]?\d+)? ) \s* \]
    | \[ (?P<options> [^][():]* \| [^][():]*) \]
    | \( [^][()|]* \) | \[ [^][()|]* \]""", re.VERBOSE)
SPECIAL = "()[]:|\\0123456789"
HIDE = str.maketrans(SPECIAL, "".join(chr(0xE000 + i) for i in range(len(SPECIAL))))           # what has been read, from these patterns
SHOW = {hidden: plain for plain, hidden in HIDE.items()}


class SdConditioning(list):
    """Prompts, and what an SDXL text encoder wants to know beside them."""
    def __init__(self, prompts: Sequence[str], is_negative_prompt: bool = False, width: int | None = None,
                 height: int | None = None, copy_from: Any = None) -> None:
        super().__init__(prompts)
        source = prompts if copy_from is None else copy_from
        self.is_negative_prompt = is_negative_prompt or getattr(source, "is_negative_prompt", False)
        self.width = width or getattr(source, "width", None)
        self.height = height or getattr(source, "height", None)


def prompt_schedule(prompt: str, base_steps: int, hires_steps: int | None = None) -> list[list]:
    """The texts that a prompt stands for, as [[last step, text], ...]; a prompt with a loose bar stands for itself.

    In the hires pass steps are counted on from the first pass, and its shares are those from 1.0 to 2.0.
    """
    steps, earlier, share = (base_steps, 0, 0.0) if hires_steps is None else (hires_steps, base_steps, 1.0)
    changes = {steps}

    def text_at(step: int) -> str:
        def read(bracket: re.Match) -> str:
            text = bracket[0]
            if number := bracket["when"]:
                when = min(steps, int((float(number) - share) * steps if "." in number else float(number) - earlier))
                changes.add(when)
                text = (bracket["before"] or "") if step <= when else bracket["after"]
            elif bracket["options"]:
                changes.update(range(1, steps + 1))
                options = bracket["options"].split("|")
                text = options[(step - 1) % len(options)]
            return text.translate(HIDE)

        text, brackets = re.sub(r"\\.", lambda escape: escape[0].translate(HIDE), prompt), 1
        while brackets:
            text, brackets = INNERMOST.subn(read, text)
        return prompt if "|" in text else text.translate(SHOW)

    text_at(1)                          # finds the changes
    return [[last, text_at(last)] for last in sorted(changes) if last >= 1]


def get_learned_conditioning_prompt_schedules(prompts: Sequence[str], base_steps: int, hires_steps: int | None = None,
                                              use_old_scheduling: bool = False) -> list[list[list]]:
    return [prompt_schedule(prompt, base_steps, hires_steps) for prompt in prompts]


def get_learned_conditioning(model: Any, prompts: Sequence[str], steps: int, hires_steps: int | None = None,
                             use_old_scheduling: bool = False) -> list[list[ScheduledPromptConditioning]]:
    """Each prompt's schedule with the text encoder's output (tokens, c) in the text's place."""
    learned = []
    for schedule in get_learned_conditioning_prompt_schedules(prompts, steps, hires_steps, use_old_scheduling):
        conds = model.get_learned_conditioning(SdConditioning([text for _, text in schedule], copy_from=prompts))
        learned.append([ScheduledPromptConditioning(last, cond) for (last, _), cond in zip(schedule, conds)])
    return learned


def get_multicond_prompt_list(prompts: Sequence[str]) -> tuple[list[list[tuple[int, float]]], SdConditioning, dict[str, int]]:
    """Prompts cut at AND: for each the (index, weight) of its parts; the different parts; and their indexes."""
    indexes, index_of = [], {}
    for prompt in prompts:
        parts = [PART.fullmatch(part).groups() for part in re.split(r"\bAND\b", prompt)]
        indexes.append([(index_of.setdefault(text, len(index_of)), float(weight or 1.0)) for text, weight in parts])
    return indexes, SdConditioning(index_of, copy_from=prompts), index_of


class MulticondLearnedConditioning:
    def __init__(self, shape: tuple, batch: list[list[ComposableScheduledPromptConditioning]]) -> None:
        self.shape, self.batch = shape, batch


def get_multicond_learned_conditioning(model: Any, prompts: Sequence[str], steps: int, hires_steps: int | None = None,
                                       use_old_scheduling: bool = False) -> MulticondLearnedConditioning:
    indexes, flat, _ = get_multicond_prompt_list(prompts)
    learned = get_learned_conditioning(model, flat, steps, hires_steps)
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
    opened: dict[str, list[int]] = {"(": [], "[": []}           # of each open bracket the piece that it begins with

    def close(kind: str, factor: float) -> None:
        for piece in pieces[opened[kind].pop():]:
            piece[1] *= factor

    for token in TOKEN.finditer(text):
        literal, weight, bracket = token.groups()
        kind = "(" if weight else OPENS.get(bracket)
        if literal is not None:
            pieces.append([literal, 1.0])
        elif bracket in opened:
            opened[bracket].append(len(pieces))
        elif kind and opened[kind]:
            close(kind, float(weight or WEIGHTS[kind]))
        else:
            for i, part in enumerate(re.split(r"\s*\bBREAK\b\s*", token[0])):
                pieces += [["BREAK", -1], [part, 1.0]] if i else [[part, 1.0]]
    for kind, unclosed in opened.items():
        while unclosed:
            close(kind, WEIGHTS[kind])
    return [["".join(text for text, _ in same), weight] for weight, same in groupby(pieces or [["", 1.0]], key=itemgetter(1))]
