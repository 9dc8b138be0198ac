"""What is wrong with a plan, in one sentence that a user can act on."""
from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import islice

LONGEST = 60  # characters of a value or a key in a message
NOT_YET = "{value} is understood, but not built yet"  # as a problem
PLAIN_KEY = re.compile(r"[\w.\[\]]+")


class PlanError(Exception):
    """A field of a plan, its value and what would be right; HTTP 422.

    `problem` is the first half of the sentence, with {value} where the shortened value belongs. `path` holds the keys
    and indices that lead to the field, outermost first.
    """

    def __init__(self, field: str, value: object, remedy: str, problem: str = "{value} does not fit"):
        super().__init__(field, value, remedy, problem)
        self.path: list[str | int] = [field] if field else []
        self.value, self.remedy, self.problem = value, remedy, problem
        self.status_code = 422  # on the instance: the WebUI reads vars() (modules/api/api.py)

    def within(self, key: str | int) -> PlanError:
        """The same error, one level further out."""
        self.path.insert(0, key)
        return self

    @property
    def field(self) -> str:
        """For example regions[1].cfg_scale; "plan" is the whole."""
        return "".join(f"[{key}]" if isinstance(key, int) else f".{spelled(key)}" for key in self.path).lstrip(".") or "plan"

    def __str__(self) -> str:
        return f"{self.field}: {self.problem.replace('{value}', shown(self.value))}; {self.remedy}."


@contextmanager
def within(path: Iterable[str | int]) -> Iterator[None]:
    """What goes wrong in the body happened under these keys, outermost first."""
    try:
        yield
    except PlanError as error:
        error.path[:0] = path
        raise


def inside(key: str | int) -> AbstractContextManager[None]:
    """What goes wrong in the body happened under this key."""
    return within([key])


def shown(value: object) -> str:
    """The value as JSON, at most LONGEST characters of it."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        chunks = json.JSONEncoder(ensure_ascii=False, default=repr).iterencode(value)
        text = "".join(islice(chunks, LONGEST + 1)).encode(errors="backslashreplace").decode()  # of half a character
    except (ValueError, TypeError, RecursionError):  # an integer of 5000 digits, a tuple as key, a cycle
        text = f"this {type(value).__name__}"
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def spelled(key: str) -> str:
    """A key of an object as it stands in a path."""
    return key if PLAIN_KEY.fullmatch(key) and len(key) <= LONGEST else shown(key)
