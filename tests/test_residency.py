"""Which weight sets are where, and when they are copied, by a double that writes it down."""
from __future__ import annotations

import pytest
import torch

from lib_mixdiff.residency import Residency, Transfers


class Set:
    """Of one byte; `log` is everyone's."""

    def __init__(self, name: str, log: list[str], residency: Residency | None = None) -> None:
        self.name, self.log, self.bytes, self.placed, self.in_ram, self.busy = name, log, 1, False, False, False
        if residency:
            residency.join(self)

    def place(self, transfers: Transfers) -> object:
        self.placed = True
        return transfers.start([(self, self)])

    def leave(self) -> None:
        self.placed = False
        self.log.append(f"{self.name} leaves")

    def into_ram(self, pinned: bool) -> None:
        self.in_ram = True


class Recording(Transfers):
    pinned = True

    def __init__(self, log: list[str]) -> None:
        self.log = log

    def start(self, copies):
        (source, _), = copies
        self.log.append(f"copy {source.name}")
        return source.name

    def wait(self, ticket):
        self.log.append(f"wait for {ticket}")


def run(names: str, room: int, uses: str) -> tuple[list[str], dict[str, Set]]:
    log: list[str] = []
    residency = Residency(Recording(log), room, 100)
    sets = {name: Set(name, log, residency) for name in names}
    residency.expect([sets[name] for name in names])
    for name in uses:
        residency.use(sets[name])
        assert sets[name].placed and sum(each.placed for each in sets.values()) <= max(1, room)
        log.append(f"call {name}")
    return log, sets


@pytest.mark.parametrize("room", [2, 3, 4])
def test_the_next_ones_copy_is_queued_before_the_last_call_of_this_one(room):
    log, _ = run("abcd", room, "aabbccdd")
    for this, following in ("ab", "bc", "cd"):
        last = max(i for i, line in enumerate(log) if line == f"call {this}")
        assert log.index(f"copy {following}") < last
    for name in "abcd":         # and none computes before its values are there
        assert log.index(f"copy {name}") < log.index(f"wait for {name}") < log.index(f"call {name}")


def test_what_fits_is_copied_once():
    log, _ = run("abc", 3, "abcabcabc")
    assert [line for line in log if line.startswith("copy")] == ["copy a", "copy b", "copy c"] and "leaves" not in " ".join(log)


def test_with_room_for_one_each_comes_when_it_is_used():
    log, _ = run("ab", 1, "aab")
    assert log == ["copy a", "wait for a", "call a", "call a", "a leaves", "copy b", "wait for b", "call b"]


def test_the_one_that_is_wanted_last_leaves():
    log, _ = run("abc", 2, "abca")
    assert [line for line in log if "wait" not in line] == [
        "copy a", "copy b", "call a", "a leaves", "copy c", "call b", "b leaves", "copy a", "call c", "c leaves", "copy b", "call a"]


def test_a_set_under_way_is_waited_for_before_it_leaves():
    log: list[str] = []
    residency = Residency(Recording(log), 2, 0)
    a, b, c = (Set(name, log) for name in "abc")
    residency.expect([a, b])
    residency.use(a)
    residency.expect([c])
    residency.use(c)
    assert log.index("wait for b") < log.index("b leaves")


def test_ram_is_filled_as_far_as_it_goes():
    log: list[str] = []
    residency = Residency(Recording(log), 1, 2)
    assert [Set(name, log, residency).in_ram for name in "abc"] == [True, True, False]
    assert not Set("a", log, Residency(Transfers(), 1, 2)).in_ram        # where the device is the RAM


def test_what_fits_stays_although_nobody_expects_it():
    """As a text encoder between two batches."""
    log: list[str] = []
    residency = Residency(Recording(log), 3, 0)
    text, a, b = (Set(name, log) for name in ("text", "a", "b"))
    for _ in range(2):
        residency.use(text)
        residency.expect([a, b])
        residency.use(a), residency.use(b)
    assert [line for line in log if line.startswith("copy")] == ["copy text", "copy a", "copy b"] and "leaves" not in " ".join(log)


class Full(Set):
    """Fits `times` times fewer than the residency thinks."""
    refused = 1

    def place(self, transfers: Transfers) -> object:
        if Full.refused:
            Full.refused -= 1
            raise torch.cuda.OutOfMemoryError("full")
        return super().place(transfers)


def test_no_room_for_the_next_is_no_reason_to_stop():
    log: list[str] = []
    residency = Residency(Recording(log), 2, 0)
    a, b = Set("a", log), Full("b", log)
    residency.expect([a, b])
    Full.refused = 1
    residency.use(a)
    assert a.placed and not b.placed
    Full.refused = 1                    # and for the one that is used, the others leave
    residency.use(b)
    assert b.placed and not a.placed
    Full.refused = 9
    residency.use(a)
    b.leave(), residency._placed.clear(), a.leave()
    with pytest.raises(MemoryError, match="--medvram"):
        residency.use(b)
    assert not b.placed and residency._under_way == {}


def test_ram_that_cannot_be_pinned_is_none():
    class Unpinnable(Set):
        def into_ram(self, pinned: bool) -> None:
            raise RuntimeError("CUDA error")
    residency = Residency(Recording([]), 1, 1)
    Unpinnable("a", [], residency)
    assert residency.ram_bytes == 1 and Set("b", [], residency).in_ram
