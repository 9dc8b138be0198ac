"""What a plan may name as a model: a checkpoint, a stack of experts, an ensemble."""
# ruff: noqa: RUF009  (each call below makes a dataclass field)
from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from lib_mixdiff.errors import PlanError
from lib_mixdiff.fields import Text
from lib_mixdiff.nested import Either, List, Object
from lib_mixdiff.ranges import Range, range_key
from lib_mixdiff.records import Record, choice, key

CHECKPOINT = Text(1, noun="the title, name or hash of a checkpoint")
model_key = partial(key, Either(lambda: MODEL), None)


@dataclass(frozen=True, kw_only=True)
class Expert(Record):
    """One checkpoint of a stack, for one interval of the noise."""

    model: Model = model_key(about="null = the loaded one")
    range: Range | None = range_key()
    text_encoder: str = choice("own", "loaded", about="which one encodes the prompts")


@dataclass(frozen=True, kw_only=True)
class Experts(Record):
    """eDiff-I's stack: one checkpoint per interval of the noise, the loaded one in the gaps."""

    experts: tuple[Expert, ...] = key(List(Object(lambda: Expert), 1))

    def check(self) -> None:
        for index, expert in enumerate(self.experts):
            for earlier in range(index):
                other = self.experts[earlier].range
                if expert.range is None or other is None or expert.range.overlaps(other):
                    value = expert.range and expert.range.to_dict()
                    raise PlanError("range", value, "let one end where the other begins",
                                    f"{{value}} overlaps the range of experts[{earlier}]").within(index).within("experts")


@dataclass(frozen=True, kw_only=True)
class Aggregation(Record):
    """Which models AFA runs together and how it makes one of them."""

    aggregator: str | None = key(Text(1), None, "file of the trained weights; modes full and last only")
    models: tuple[str, ...] = key(List(CHECKPOINT, 1))
    mode: str = choice("full", "blocks", "last", "noise", "merge", "saliency")

    @property
    def trained(self) -> bool:
        """Whether its aggregators come from a file."""
        return self.mode in ("full", "last")

    @property
    def calls(self) -> int:
        """Of the U-Net, for one of a plain model."""
        return 1 if self.mode == "merge" else len(self.models)


@dataclass(frozen=True, kw_only=True)
class Afa(Record):
    """Adaptive feature aggregation: several models as one U-Net."""

    afa: Aggregation = key(Object(lambda: Aggregation))


Model = str | Experts | Afa | None
MODEL = (CHECKPOINT, Object(lambda: Experts), Object(lambda: Afa))
