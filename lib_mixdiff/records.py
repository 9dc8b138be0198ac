"""Objects of a plan: frozen dataclasses whose fields are of a kind."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from typing import Any, TypeVar

from lib_mixdiff.errors import PlanError, inside
from lib_mixdiff.fields import Choice, Kind, nearest
from lib_mixdiff.nested import Object

R = TypeVar("R", bound="Record")


def key(kind: Kind, default: Any = MISSING, about: str = "") -> Any:
    """A field of a record: required where it has no default, open to null where the default is None."""
    return field(default=default, metadata={"kind": kind, "about": about})


def choice(*values: str, about: str = "") -> Any:
    """A field that holds one of values, by default the first."""
    return key(Choice(values), values[0], about)


@dataclass(frozen=True)
class Record:
    """An object of the plan: a frozen dataclass whose fields are made by `key`, checked where it is made."""

    @classmethod
    @cache
    def keyed(cls) -> dict[str, Field]:
        """The one ordered list of fields, by JSON key; `from_` is Python for "from"."""
        return {each.name.rstrip("_"): each for each in fields(cls)}

    @classmethod
    def required(cls) -> list[str]:
        return [name for name, each in cls.keyed().items() if each.default is MISSING]

    def __post_init__(self) -> None:
        for name, each in self.keyed().items():
            value = getattr(self, each.name)
            if value is None and each.default is None:
                continue
            with inside(name):
                object.__setattr__(self, each.name, each.metadata["kind"].read(value))
        self.check()

    def check(self) -> None:
        """What no field can know alone; PlanError."""

    @classmethod
    def refuse_unknown(cls, value: Mapping) -> None:
        known = cls.keyed()
        for name in value:
            if name not in known:
                near = nearest(name, known)
                remedy = f'use "{near}"' if near else f"leave it out; the keys here are {', '.join(known)}"
                raise PlanError("", value[name], remedy, "there is no such key").within(str(name))

    @classmethod
    def from_dict(cls: type[R], value: object) -> R:
        """From JSON's object; PlanError where it breaks a rule."""
        if not isinstance(value, dict):
            raise Object(lambda: cls).refusal(value, "is not an object")
        cls.refuse_unknown(value)
        for name in cls.required():
            if name not in value:
                raise PlanError(name, None, f"add {cls.keyed()[name].metadata['kind'].wanted()}", "this key is required")
        return cls(**{each.name: value[name] for name, each in cls.keyed().items() if name in value})

    def to_dict(self, defaults: bool = True) -> dict:
        """As JSON's object; without defaults, what equals its default is left out."""
        written = {}
        for name, each in self.keyed().items():
            value = getattr(self, each.name)
            if defaults or value != each.default:
                written[name] = None if value is None else each.metadata["kind"].write(value, defaults)
        return written

    @classmethod
    def schema(cls, defs: dict[str, dict]) -> dict:
        """A reference to its JSON Schema, which is in defs then."""
        if cls.__name__ not in defs:
            described = defs[cls.__name__] = {"type": "object", "description": cls.__doc__}  # first, for a record inside itself
            described["properties"] = {name: property_schema(each, defs) for name, each in cls.keyed().items()}
            described |= {"required": cls.required(), "additionalProperties": False}
        return {"$ref": f"#/$defs/{cls.__name__}"}


def property_schema(each: Field, defs: dict[str, dict]) -> dict:
    kind, default, about = each.metadata["kind"], each.default, each.metadata["about"]
    schema = kind.schema(defs)
    if default is None:
        schema = {"anyOf": [schema, {"type": "null"}]}
    if default is not MISSING:
        schema = schema | {"default": default if default is None else kind.write(default, True)}
    return schema | {"description": about} if about else schema
