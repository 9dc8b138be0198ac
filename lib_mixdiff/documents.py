"""JSON, as text and as trees of dict and list: strict reading, merge patches, paths."""
from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from lib_mixdiff.errors import PlanError, inside

DEEPEST = 64  # objects and lists inside each other


def decoded(value: object) -> Any:
    """JSON out of its text, strictly: no key twice, no NaN. Blank text asks for nothing; what is not text stays."""
    def unique(pairs: list[tuple[str, Any]]) -> dict:
        found = {}
        for name, each in pairs:
            if name in found:
                raise PlanError("", each, "keep one of them", "this key stands twice in one object").within(name)
            found[name] = each
        return found

    def no_number(word: str) -> None:
        raise PlanError("", value, "use a number in its place", f"{{value}} holds {word}")

    try:
        if isinstance(value, str):
            value = json.loads(value, object_pairs_hook=unique, parse_constant=no_number) if value.strip() else {}
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise PlanError("", value, "correct it there", f"{{value}} is not JSON at {place} ({error.msg})") from None
    except (ValueError, RecursionError):  # an integer of 5000 digits; 1000 lists inside each other
        raise PlanError("", value, "use shorter numbers and fewer levels", "{value} is too much") from None
    if is_deeper(value, DEEPEST):
        raise PlanError("", value, f"use at most {DEEPEST} objects and lists inside each other", "{value} is too deep")
    return value


def merged(target: Any, patch: Any) -> Any:
    """JSON merge patch, RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def is_deeper(value: Any, levels: int) -> bool:
    inside: Iterable = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return levels < 0 or any(is_deeper(each, levels - 1) for each in inside)


def leave_out(value: Any, path: list[str | int]) -> list[str | int]:
    """Deletes what lies at path, or the last of its parents that there is; returns what was deleted."""
    way, homes = [], [value]
    for step in path:
        home = homes[-1]
        there = home if isinstance(home, dict) else range(len(home)) if isinstance(home, list) else ()
        if step not in there:
            break
        way.append(step)
        homes.append(homes[-1][step])
    if way:
        del homes[-2][way[-1]]
    return way


def as_pasted(path: list[str | int], gone: list[list[str | int]]) -> list[str | int]:
    """The path before the items that are gone left their lists."""
    path = list(path)
    for *home, index in reversed(gone):
        at = len(home)
        if isinstance(index, int) and path[:at] == home and len(path) > at and isinstance(now := path[at], int) and now >= index:
            path[at] = now + 1
    return path


def changed(value: Any, keys: Collection[str], change: Callable[[Any], Any], unless: Collection[str] = ()) -> Any:
    """A copy with every value under one of `keys`, at any depth, changed where it is not null; what is under `unless` stays.
    A PlanError of `change` is told where it happened."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    result = {}
    for key, each in items:
        with inside(key):
            if key not in keys:
                result[key] = each if key in unless else changed(each, keys, change, unless)
            else:
                result[key] = None if each is None else change(each)
    return result if isinstance(value, dict) else list(result.values()) if isinstance(value, list) else value


def under(value: Any, keys: Collection[str], unless: Collection[str] = ()) -> Iterator[tuple[list[str | int], Any]]:
    """The path of each value under one of `keys`, at any depth, and the value, where it is not null; not what is under `unless`."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        if key in keys:
            if each is not None:
                yield [key], each
        elif key not in unless:
            for path, found in under(each, keys, unless):
                yield [key, *path], found
