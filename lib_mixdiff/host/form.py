"""What the AFA tab asks for: keys of a training's configuration (docs/training.md), in the order of the page."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from modules import devices, sd_models

from lib_mixdiff.fields import Integer, Kind, Number
from lib_mixdiff.nested import List
from lib_mixdiff.train.config import Config

NODES = {"all noise": None, "the upper half": [1, 1], "the lower half": [1, 0],
         **{f"quarter {i + 1}, {'the lowest' if i == 0 else 'the highest' if i == 3 else 'rising'} noise": [2, i] for i in range(4)}}


@dataclass(frozen=True)
class Entry:
    key: str
    label: str
    info: str = ""
    value: Any = None           # where the page begins with another one than the configuration's default
    more: bool = False          # under "More settings"

    @property
    def kind(self) -> Kind:
        return Config.keyed()[self.key].metadata["kind"]

    @property
    def default(self) -> Any:
        default = Config.keyed()[self.key].default
        return self.value if self.value is not None else default if isinstance(default, (bool, int, float, str)) else None

    @property
    def emptied(self) -> Any:
        """What a control without a value stands for: null, where the configuration has that, else what the page begins with."""
        return None if Config.keyed()[self.key].default is None else self.value

    def read(self, value: Any) -> Any:
        """What the page's control has, as the configuration takes it; None leaves it out."""
        if self.key == "node":
            return NODES[value]
        if self.key == "prompts":
            return [line.strip() for line in (value or "").splitlines() if line.strip()]
        if isinstance(self.kind, List):
            return list(value or [])
        if isinstance(self.kind, Number) and value is not None:
            return int(value) if isinstance(self.kind, Integer) and value == int(value) else value
        return value.strip() or None if isinstance(value, str) else value


def _common(steps: int, what: str) -> tuple[Entry, ...]:
    on_cpu = devices.device.type == "cpu"
    return (
        Entry("data", "Folder of pictures", "on this machine; a caption in NAME.txt beside each picture"),
        Entry("steps", "Steps", value=steps), Entry("batch", "Batch size", "pictures in one step"),
        Entry("resolution", "Resolution, px", "larger pictures are scaled to this area, squared; empty: none is", value=512),
        Entry("lr", "Learning rate"),
        Entry("precision", "Precision", "bfloat16: RTX 30 and later; float16: older cards", value="float32" if on_cpu else "bfloat16"),
        Entry("checkpointing", "Gradient checkpointing", "less memory, more time", value=not on_cpu),
        Entry("skip_bad", "Go on without pictures that cannot be used", value=True),
        Entry("prompts", "Prompts of sample pictures", "one a line"),
        Entry("sample_every", "Steps between sample pictures"),
        Entry("validation", "Held-out pictures", "share of the folder that is only looked at", value=0.02),
        Entry("validate_every", "Steps between validations", more=True), Entry("save_every", "Steps between snapshots", more=True),
        Entry("accumulate", "Gradient accumulation", more=True), Entry("warmup", "Warm-up steps", more=True),
        Entry("decay", "Steps of decay", "at the end", more=True), Entry("weight_decay", "Weight decay", more=True),
        Entry("drop_text", "Captions dropped", "share of samples that learn without, for guidance", more=True),
        Entry("ema", "EMA", f"the moving average of {what}", more=True), Entry("clip_norm", "Gradient clipping", more=True),
        Entry("tokens", "Tokens of a caption", more=True), Entry("weighting", "Weighting of the loss", more=True),
        Entry("guidance", "CFG Scale of sample pictures", more=True), Entry("seed", "Seed", more=True))


def forms() -> dict[str, tuple[Entry, ...]]:
    """By target."""
    return {
        "afa": (Entry("models", "Checkpoints", "two or more of one architecture"), Entry("name", "Name", "of the aggregator's file"),
                *_common(12500, "the aggregators"),
                Entry("mode", "Mode", "full: every block; last: the prediction alone", more=True),
                Entry("without", "Aggregators without", "the paper's ablations", more=True)),
        "unet": (Entry("checkpoint", "Checkpoint", "to begin with"), Entry("name", "Name", "of the expert's file"),
                 Entry("node", "Noise", "that it becomes an expert of", value="the upper half"), *_common(5000, "the weights"))}


def titles() -> list[str]:
    return [info.title for info in sd_models.checkpoints_list.values()]


def configuration(target: str, values: Sequence[Any]) -> dict[str, Any]:
    """What the controls of a form have, in its order, as a configuration."""
    given = [(entry, entry.emptied if value is None else value) for entry, value in zip(forms()[target], values)]
    read = {entry.key: None if value is None else entry.read(value) for entry, value in given}
    return {"target": target, **{key: value for key, value in read.items() if value is not None}}
