"""Wildcards: __name__ in a prompt stands for a random line of the file NAME.txt."""
from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from random import Random

from lib_mixdiff.errors import PlanError

WILDCARD = re.compile(r"(?<![\w<:])__([\w\-./]+?)__(?!\w)")
MOST = 1000             # lines for one prompt
MOST_NAMED = 12         # in a message


def files(folders: Iterable[Path]) -> dict[str, Path]:
    """By name, that of a file below a folder without its ending: colours, or warm/colours. The first folder that has one counts."""
    found: dict[str, Path] = {}
    for folder in folders:
        for file in sorted(folder.rglob("*.txt")):
            found.setdefault(file.relative_to(folder).with_suffix("").as_posix(), file)
    return found


def chosen(text: str, among: Mapping[str, Path], random: Random) -> str:
    """The text with a line in place of each wildcard, and of those in that line; blank lines and those that begin with # are none.
    PlanError where there is no such file, or nothing in it, or no end."""
    count = 0

    def line(found: re.Match[str], above: tuple[str, ...] = ()) -> str:
        nonlocal count
        count += 1
        name = found[1]
        if name in above or count > MOST:
            raise PlanError("", found[0], "let no file name itself, nor too many others", "the wildcard {value} has no end")
        return WILDCARD.sub(lambda inner: line(inner, (*above, name)), random.choice(_lines(name, among)))

    return WILDCARD.sub(line, text)


def _lines(name: str, among: Mapping[str, Path]) -> list[str]:
    if name not in among:
        known = ", ".join(sorted(among)[:MOST_NAMED]) + (", …" if len(among) > MOST_NAMED else "")
        remedy = f"use {known}" if among else f"put {name}.txt into the WebUI's folder wildcards"
        raise PlanError("", f"__{name}__", remedy, "there is no wildcard {value}")
    try:
        text = among[name].read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        problem = f"the file of {{value}} cannot be read ({error.strerror})"
        raise PlanError("", f"__{name}__", f"look at {among[name].name}", problem) from error
    lines = [line.strip() for line in text.splitlines()]
    if not (lines := [line for line in lines if line and not line.startswith("#")]):
        raise PlanError("", f"__{name}__", f"write lines into {among[name].name}", "there is nothing in the file of {value}")
    return lines
