"""Where weight sets are: on the device while they fit, else in RAM, else in their files; the next one is copied ahead of its turn."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Protocol

import torch
from torch import Tensor


class Transfers:
    """Copies, all at once. Beside the work of a GPU: `Streamed`."""
    pinned = False          # whether sources are better in pinned RAM than in their files

    def start(self, copies: Iterable[tuple[Tensor, Tensor]]) -> Any:
        """From the first into the second of each pair; what `wait` wants to know."""
        for source, into in copies:
            into.copy_(source)
        return None

    def wait(self, ticket: Any) -> None:
        """What the network computes from now on sees the values."""


class Streamed(Transfers):
    """On a stream of their own: sources in pinned RAM do not stop the network's calls."""
    pinned = True

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)

    def start(self, copies: Iterable[tuple[Tensor, Tensor]]) -> torch.cuda.Event:
        self.stream.wait_stream(torch.cuda.current_stream(self.stream.device))      # that has used the memory until now
        with torch.cuda.stream(self.stream):
            for source, into in copies:
                into.copy_(source, non_blocking=True)
                into.record_stream(self.stream)
        return self.stream.record_event()

    def wait(self, ticket: torch.cuda.Event) -> None:
        torch.cuda.current_stream(self.stream.device).wait_event(ticket)


class Movable(Protocol):
    """A weight set, as seen from here."""
    bytes: int
    busy: bool          # it must stay where it is

    @property
    def placed(self) -> bool: ...

    def place(self, transfers: Transfers) -> object: ...

    def leave(self) -> None: ...

    def into_ram(self, pinned: bool) -> None: ...


class Residency:
    """Of the sets of one job. `expect` says in which order they will be wanted; whenever one is used, those that come next are on their
    way, as many as fit beside it. `settle` is called before parameters change hands: a host that moves whole modules puts them back."""

    def __init__(self, transfers: Transfers, device_bytes: float, ram_bytes: float, settle: Callable[[], None] = lambda: None) -> None:
        self.transfers, self.device_bytes, self.ram_bytes, self.settle = transfers, device_bytes, ram_bytes, settle
        self.order: list[Movable] = []
        self._under_way: dict[Movable, object] = {}
        self._placed: list[Movable] = []
        self._whole = False                     # all of the order are placed

    def join(self, weights: Movable) -> None:
        """A new one, which comes into RAM while there is room."""
        if self.transfers.pinned and weights.bytes <= self.ram_bytes:
            with suppress(RuntimeError):        # not all systems have that much memory that can be pinned: it stays in its file
                weights.into_ram(True)
                self.ram_bytes -= weights.bytes

    def expect(self, order: Sequence[Movable]) -> None:
        self.order, self._whole = list(dict.fromkeys(order)), False

    def use(self, weights: Movable) -> None:
        """It is on the device afterwards, and what fits of those after it is on its way; those that are wanted last leave for it, and
        those that nobody expects first. MemoryError where it does not fit alone."""
        if self._whole and weights.placed:
            return self._arrived(weights)
        first = self.order.index(weights) if weights in self.order else 0
        wanted = list(dict.fromkeys([weights, *self.order[first:], *self.order[:first], *self._placed]))
        room, stay = self.device_bytes, []
        for each in wanted:
            room -= each.bytes
            if stay and room < 0:
                break
            stay.append(each)
        self._leave([each for each in self._placed if each not in stay and not each.busy])
        for each in stay:
            if not each.placed and not self._place(each):       # there is less room than was thought
                break
        if not weights.placed:
            self._leave([each for each in self._placed if not each.busy])
            if not self._place(weights):
                raise MemoryError(f"the weights of another checkpoint ({weights.bytes / 1e9:.1f} GB) do not fit beside the loaded one; "
                                  "start the WebUI with --medvram, or use fewer or smaller ones")
        self._arrived(weights)
        self._whole = all(each.placed for each in self.order)

    def _place(self, weights: Movable) -> bool:
        try:
            self._under_way[weights] = weights.place(self.transfers)
        except torch.cuda.OutOfMemoryError:
            return False
        self._placed.append(weights)
        return True

    def _leave(self, those: list[Movable]) -> None:
        self._whole = self._whole and not those
        for each in those:
            self._arrived(each)
            each.leave()
            self._placed.remove(each)

    def _arrived(self, weights: Movable) -> None:
        if weights in self._under_way:
            self.transfers.wait(self._under_way.pop(weights))
