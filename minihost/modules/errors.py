"""Reports that go to the console, and the refusal of what minihost does not have."""
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class NotHere(Exception):
    """A feature of the WebUI that minihost does not have: HTTP 501 and a sentence."""
    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.status_code, self.detail = 501, sentence       # the API reads instance attributes


def refuse(asked: dict[str, Any]) -> None:
    """Raises NotHere for the first feature of which something is asked."""
    for feature, found in asked.items():
        if found:
            raise NotHere(f"minihost has no {feature}: take it out of the request, or use the WebUI.")


def report(message: str, *, exc_info: bool = False) -> None:
    logging.getLogger(__name__).error("*** %s", message, exc_info=exc_info)


@contextmanager
def reported(message: str) -> Iterator[None]:
    """What is raised inside is reported, and goes no further."""
    try:
        yield
    except Exception:
        report(message, exc_info=True)
