"""A turn is asked for and waited for; its end and the giver's are noticed between two pieces of work."""
from __future__ import annotations

import io

import pytest

from lib_mixdiff.turns import GO, OVER, PAUSE, STOP, Turns


@pytest.mark.parametrize("told, words", [("go\ngo\nstop\n", [GO, GO, STOP, STOP]), ("pause\ngo\n", [PAUSE, PAUSE]), ("go\n", [GO, PAUSE, PAUSE]), ("", [PAUSE])],
                         ids=["stopped", "paused", "the giver dies", "it is dead"])
def test_each_turn_is_asked_for(told, words):
    said, lines = [], io.StringIO(told)
    turns = Turns(lines, said.append, seconds=0)
    assert [turns.next() for _ in words] == words
    assert said == [OVER] * (words.index(words[-1]) + 1)


def test_a_turn_lasts():
    said: list[str] = []
    turns = Turns(io.StringIO("go\nstop\n"), said.append, seconds=1e6)
    assert [turns.next() for _ in range(5)] == [GO] * 5 and said == [OVER]


def test_nobody_hears_it():
    def say(text: str) -> None:
        raise BrokenPipeError
    assert Turns(io.StringIO(), say).next() == PAUSE
