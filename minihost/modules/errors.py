"""Reports that go to the console, and the refusal of what minihost does not have."""
from __future__ import annotations

import sys
import traceback


class NotHere(Exception):
    """A feature of the WebUI that minihost does not have: HTTP 501 and a sentence."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.status_code, self.detail = 501, sentence       # the API reads instance attributes


def report(message: str, *, exc_info: bool = False) -> None:
    print("***", message, file=sys.stderr)
    if exc_info:
        traceback.print_exc()
