"""When a part of the plan acts: a range of the steps, or of the noise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from lib_mixdiff.errors import PlanError, inside
from lib_mixdiff.fields import Number
from lib_mixdiff.nested import Object
from lib_mixdiff.records import Record, choice, key

UNITS = {  # from and to of "always"
    "timestep": (1000, 0),  # the network's timestep + 1
    "sigma": (1_000_000, 0),  # far above any schedule's first, zero terminal SNR (4518) included
    "steps": (0, 1),  # step index / steps of the pass
}


@dataclass(frozen=True, kw_only=True)
class Range(Record):
    """When something acts. Timestep and sigma fall, active while from >= now > to; steps rise, active while from <= now < to."""

    unit: str = choice(*UNITS)
    from_: float = key(Number(0, max(map(max, UNITS.values()))), None, "null = from the beginning")
    to: float = key(Number(0, max(map(max, UNITS.values()))), None, "null = to the end")

    def check(self) -> None:
        first, last = UNITS[self.unit]
        for field, end in (("from_", first), ("to", last)):
            value = getattr(self, field)
            with inside(field.rstrip("_")):
                object.__setattr__(self, field, Number(*sorted(UNITS[self.unit])).read(end if value is None else value))
        if (self.to - self.from_) * (last - first) <= 0:
            side = "below" if last < first else "above"
            raise PlanError("to", self.to, f'use a number {side} "from", which is {self.from_:g}', "{value} leaves no time")

    def overlaps(self, other: Range) -> bool:
        """Whether both are active at once; false where the units differ, for that depends on the schedule."""
        mine, theirs = sorted((self.from_, self.to)), sorted((other.from_, other.to))
        return self.unit == other.unit and max(mine[0], theirs[0]) < min(mine[1], theirs[1])


range_key = partial(key, Object(lambda: Range), None, "null = always")
