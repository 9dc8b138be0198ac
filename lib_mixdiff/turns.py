"""Two programs that share a machine by turns: the one that was started works in turns that the other gives it, by lines on two pipes.

    taker: "turn over"            it is ready, or has worked for SECONDS and has come to the end of a piece of work
    giver: "go"                   when it is the taker's turn
    giver: "pause" or "stop"      in its place: the taker saves and ends. So it does where the giver is gone.
"""
from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TextIO

GO, PAUSE, STOP, OVER = "go", "pause", "stop", "turn over"
SECONDS = 2.0  # how long a picture may have to wait, and a piece of work


class Turns:
    """The taker's end."""

    def __init__(self, told: TextIO, say: Callable[[str], None], seconds: float = SECONDS) -> None:
        self._told, self._say, self._seconds, self._until, self.word = told, say, seconds, float("-inf"), GO

    def next(self) -> str:
        """Between two pieces of work: GO, after a wait where the last turn is over; or PAUSE or STOP, which stay."""
        if self.word == GO and time.monotonic() >= self._until:
            with contextlib.suppress(OSError):  # nobody hears it
                self._say(OVER)
            self.word = self._told.readline().strip() or PAUSE
            self._until = time.monotonic() + self._seconds
        return self.word
