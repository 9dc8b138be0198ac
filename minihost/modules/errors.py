"""Reports that go to the console, and the refusal of what minihost does not have."""
from __future__ import annotations

import sys
import textwrap
import traceback


class NotHere(Exception):
    """A feature of the WebUI that minihost does not have: HTTP 501 and a sentence."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.status_code, self.detail = 501, sentence       # the API reads instance attributes


def report(message: str, *, exc_info: bool = False) -> None:
    for line in message.splitlines():
        print("***", line, file=sys.stderr)
    if exc_info:
        print(textwrap.indent(traceback.format_exc(), "    ") + "---", file=sys.stderr)


def display(e: Exception, task: str, *, full_traceback: bool = False) -> None:
    print(f"{task or 'error'}: {type(e).__name__}", file=sys.stderr)
    traceback.print_exception(e, file=sys.stderr)
