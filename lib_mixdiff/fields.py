"""What the fields of a plan may hold: every kind reads (and checks), writes and describes values; its bounds stand once."""
from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lib_mixdiff.errors import LONGEST, PlanError

DECIMALS = 12  # kept of a number: programs that add fractions miss 1 by 2e-16


class Kind:
    """What a field may hold: values of `types`, `noun` in words; `wanted` completes "use ..."."""

    types: tuple[type, ...]
    noun: str

    def wanted(self) -> str:
        return self.noun

    def fits(self, value: object) -> bool:
        """Whether it is one of these, bounds aside. To Python true is an integer, not to JSON."""
        return isinstance(value, self.types) and (bool in self.types or not isinstance(value, bool))

    def read(self, value: object) -> Any:
        """The value as the dataclass holds it, from JSON or from itself; PlanError where it breaks a rule."""
        if not self.fits(value):
            raise self.refusal(value, f"is not {self.noun}")
        return self.checked(value)

    def checked(self, value: Any) -> Any:
        return value

    def write(self, value: Any, defaults: bool) -> Any:
        """The value as JSON."""
        return value

    def schema(self, defs: dict[str, dict]) -> dict:
        """JSON Schema, draft 2020-12; those of objects go into defs."""
        raise NotImplementedError

    def refusal(self, value: object, problem: str) -> PlanError:
        return PlanError("", value, f"use {self.wanted()}", "{value} " + problem)


@dataclass(frozen=True)
class Number(Kind):
    low: float
    high: float | None

    types, noun = (int, float), "a number"

    def wanted(self) -> str:
        if self.low == self.high:
            return str(self.low)
        return self.noun + (f" of at least {self.low}" if self.high is None else f" from {self.low} to {self.high}")

    def fits(self, value: object) -> bool:
        return super().fits(value) and value == value  # not NaN

    def checked(self, value: float) -> float:
        return float(self.bounded(round(value, DECIMALS) if isinstance(value, float) else value))

    def bounded(self, value: float) -> float:
        if value < self.low:
            raise self.refusal(value, "is too small")
        if self.high is not None and value > self.high:
            raise self.refusal(value, "is too large")
        return value

    def write(self, value: float, defaults: bool) -> float:
        return int(value) if value == int(value) else value  # as JavaScript writes it

    def schema(self, defs: dict[str, dict]) -> dict:
        return {"type": "number", "minimum": self.low} | ({} if self.high is None else {"maximum": self.high})


@dataclass(frozen=True)
class Integer(Number):
    """Takes 3.0 as well: some programs know only floats."""

    high: int | None = None
    step: int = 1

    @property
    def noun(self) -> str:
        return "an integer" if self.step == 1 else f"a multiple of {self.step}"

    def checked(self, value: float) -> int:
        if self.bounded(value) % self.step != 0:  # infinity leaves NaN
            raise self.refusal(value, f"is not {self.noun}")
        return int(value)

    def schema(self, defs: dict[str, dict]) -> dict:
        return super().schema(defs) | {"type": "integer"} | ({} if self.step == 1 else {"multipleOf": self.step})


class Switch(Kind):
    types, noun = (bool,), "true or false"

    def schema(self, defs: dict[str, dict]) -> dict:
        return {"type": "boolean"}


class Off(Switch):
    """Only false."""

    noun = "false"

    def fits(self, value: object) -> bool:
        return value is False

    def schema(self, defs: dict[str, dict]) -> dict:
        return {"const": False}


@dataclass(frozen=True)
class Text(Kind):
    low: int = 0  # characters; from 1 on it is not blank
    high: int | None = None
    unless: str | None = None
    noun: str = "text"

    types = (str,)

    def wanted(self) -> str:
        size = f" of {self.low} to {self.high} characters" if self.high else ""
        blank = " that is not blank" if self.low and not self.high and self.noun == Text.noun else ""
        return self.noun + size + blank + (f', but not "{self.unless}"' if self.unless else "")

    def checked(self, value: str) -> str:
        if self.low and not value.strip():
            raise self.refusal(value, "is blank")
        if self.high and len(value) > self.high:
            raise self.refusal(value, f"has {len(value)} characters")
        if value == self.unless:
            raise self.refusal(value, "is taken")
        if any("\ud800" <= c <= "\udfff" for c in value):
            raise PlanError("", value, "use whole characters", "{value} holds half a character")
        return value

    def schema(self, defs: dict[str, dict]) -> dict:
        rules = {"pattern": r"\S" if self.low else None, "maxLength": self.high, "not": self.unless and {"const": self.unless}}
        return {"type": "string"} | {name: rule for name, rule in rules.items() if rule}


@dataclass(frozen=True)
class Choice(Kind):
    values: tuple[str, ...]

    types, noun = (str,), "text"

    def wanted(self) -> str:
        return "one of " + ", ".join(self.values)

    def checked(self, value: str) -> str:
        if value not in self.values:
            near = nearest(value, self.values)
            raise PlanError("", value, f"use {near} ({self.wanted()})" if near else f"use {self.wanted()}", "{value} is unknown")
        return value

    def schema(self, defs: dict[str, dict]) -> dict:
        return {"enum": list(self.values)}


class Image(Kind):
    """Only the syntax; whether it can be decoded, or is stored here, shows later."""

    types, noun = (str,), "an image"
    by_hash = r"sha256:[0-9a-fA-F]{64}"
    by_value = r"(?:iVBORw0KGgo|data:image/(?:png|jpeg|webp);base64,)[A-Za-z0-9+/]+={0,2}"  # iVBO...: a PNG's first bytes

    def wanted(self) -> str:
        return "base64 of a PNG, a data: URI of a PNG, JPEG or WEBP, or sha256:<64 hex digits> of one stored here; no URL, no path"

    def checked(self, value: str) -> str:
        if re.fullmatch(self.by_hash, value):
            return value.lower()
        if not re.fullmatch(self.by_value, value) or (len(value) - value.find(",") - 1) % 4:
            raise self.refusal(value, f"is not {self.noun}")
        return value

    def schema(self, defs: dict[str, dict]) -> dict:
        return {"type": "string", "pattern": f"^(?:{self.by_hash}|{self.by_value})$"}


def nearest(value: object, known: Iterable[str]) -> str | None:
    """The one that was probably meant; 0.7 tells promt from prompt, but not hires from tiles."""
    return next(iter(difflib.get_close_matches(str(value)[:LONGEST].lower(), known, 1, 0.7)), None)
