"""Something else in the place of an object's attribute, for as long as a block runs."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def swapped(owner: Any, name: str, value: object) -> Iterator[None]:
    """`owner.name` is `value` inside the block; then it is as it was, absent where it was inherited."""
    own, old = name in vars(owner), getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if own:
            setattr(owner, name, old)
        else:
            delattr(owner, name)
