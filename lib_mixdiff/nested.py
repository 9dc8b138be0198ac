"""Fields that hold other fields: lists, objects, one of several kinds."""
from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lib_mixdiff.errors import PlanError, inside
from lib_mixdiff.fields import Kind, Number

if TYPE_CHECKING:
    from lib_mixdiff.records import Record

LIST_MAX = 256  # items


@dataclass(frozen=True)
class List(Kind):
    """Items of one kind; where they have names, these differ."""

    kind: Kind
    low: int = 0  # items
    high: int = LIST_MAX

    types, noun = (list, tuple), "a list"

    def wanted(self) -> str:
        return f"a list of {f'{self.low} to' if self.low else 'at most'} {self.high} items"

    def checked(self, value: list | tuple) -> tuple:
        if not self.low <= len(value) <= self.high:
            raise self.refusal(value, f"has {len(value)} items")
        items, names = [], set()
        for index, item in enumerate(value):
            with inside(index):
                items.append(self.kind.read(item))
                name = getattr(items[-1], "name", None)
                if name in names:
                    raise PlanError("name", name, "use another name, or null", "{value} is already taken")
            names |= {name} - {None}
        return tuple(items)

    def write(self, value: tuple, defaults: bool) -> list:
        return [self.kind.write(item, defaults) for item in value]

    def schema(self, defs: dict[str, dict]) -> dict:
        return {"type": "array", "items": self.kind.schema(defs), "minItems": self.low, "maxItems": self.high}


class Array(List):
    """One item for each of names, for example [width, height]; judged as a whole."""

    names: tuple[str, ...]

    def __init__(self, kind: Kind, *names: str):
        super().__init__(kind, len(names), len(names))
        object.__setattr__(self, "names", names)

    def wanted(self) -> str:
        return f"[{', '.join(self.names)}], each {self.kind.wanted()}"

    def checked(self, value: list | tuple) -> tuple:
        try:
            return super().checked(value)
        except PlanError:
            raise self.refusal(value, "does not fit") from None


class Box(Array):
    """In fractions of the canvas."""

    def __init__(self) -> None:
        super().__init__(Number(0, 1), "x0", "y0", "x1", "y1")

    def wanted(self) -> str:
        return super().wanted() + " (fractions of the canvas), with x0 < x1 and y0 < y1"

    def checked(self, value: list | tuple) -> tuple[float, float, float, float]:
        x0, y0, x1, y1 = super().checked(value)
        if x0 >= x1 or y0 >= y1:
            raise self.refusal(value, "is empty")
        return x0, y0, x1, y1


class JsonObject(Mapping):
    """A JSON object that nobody can change."""

    def __init__(self, value: Mapping):
        self._value = json.loads(json.dumps(dict(value), sort_keys=True, allow_nan=False, ensure_ascii=False).encode())

    def __getitem__(self, name: str) -> Any:
        return deepcopy(self._value[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._value)

    def __len__(self) -> int:
        return len(self._value)

    def __hash__(self) -> int:
        return hash(frozenset(self))

    def __repr__(self) -> str:
        return f"JsonObject({self._value})"


class Json(Kind):
    types, noun = (dict, JsonObject), "an object"

    def wanted(self) -> str:
        return "a JSON object"

    def checked(self, value: Mapping) -> JsonObject:
        try:
            return JsonObject(value)
        except (ValueError, TypeError):  # NaN, half a character, a set
            raise self.refusal(value, "is not JSON") from None

    def write(self, value: JsonObject, defaults: bool) -> dict:
        return dict(value)

    def schema(self, defs: dict[str, dict]) -> dict:
        return {"type": "object"}


@dataclass(frozen=True)
class Object(Kind):
    """A record. `of` is called late: records may hold themselves."""

    of: Callable[[], type[Record]]

    noun = "an object"

    def wanted(self) -> str:
        return "{" + (", ".join(f'"{name}": ...' for name in self.of().required()) or "...") + "}"

    def fits(self, value: object) -> bool:
        return type(value) is self.of() or (isinstance(value, dict) and value.keys() >= set(self.of().required()))

    def read(self, value: object) -> Record:
        return value if type(value) is self.of() else self.of().from_dict(value)

    def write(self, value: Record, defaults: bool) -> dict:
        return value.to_dict(defaults)

    def schema(self, defs: dict[str, dict]) -> dict:
        return self.of().schema(defs)


@dataclass(frozen=True)
class Either(Kind):
    """One of several kinds; objects are told apart by their required keys. `of` is called late."""

    of: Callable[[], tuple[Kind, ...]]

    def wanted(self) -> str:
        return " or ".join(kind.wanted() for kind in self.of())

    def fits(self, value: object) -> bool:
        return any(kind.fits(value) for kind in self.of())

    def kind(self, value: object) -> Kind:
        return next(kind for kind in self.of() if kind.fits(value))

    def read(self, value: object) -> Any:
        if not self.fits(value):
            raise self.refusal(value, "does not fit")
        return self.kind(value).read(value)

    def write(self, value: Any, defaults: bool) -> Any:
        return self.kind(value).write(value, defaults)

    def schema(self, defs: dict[str, dict]) -> dict:
        return {"anyOf": [kind.schema(defs) for kind in self.of()]}
