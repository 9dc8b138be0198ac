"""A training's configuration: the one ordered list of keys, from a YAML file. docs/training.md explains them."""
# ruff: noqa: RUF009  (each call below makes a dataclass field)
from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from lib_mixdiff.aggregator import STATES
from lib_mixdiff.errors import PlanError
from lib_mixdiff.fields import Choice, Integer, Number, Switch, Text
from lib_mixdiff.nested import Array, Either, List, Object
from lib_mixdiff.records import Record, choice, key
from lib_mixdiff.train.faults import TrainError

PATH = Text(1, noun="the path of a .safetensors checkpoint")
NODE = Array(Integer(0, 2**20), "level", "index")
# What may differ between a snapshot and the run that goes on from it. `batch` and `accumulate` may, too, while their product with
# the number of processes stays.
FREE = {"out", "work", "name", "cache", "checkpoint", "models", "data", "batch", "accumulate", "steps", "minutes", "save_every",
        "log_every", "sample_every", "prompts", "sample_size", "guidance", "validate_every", "checkpointing", "skip_bad"}


@dataclass(frozen=True, kw_only=True)
class Lognormal(Record):
    """ln sigma is normal: eDiff-I and EDM train with mean -1.2 and deviation 1.2."""

    lognormal: tuple[float, float] = key(Array(Number(-100, 100), "mean", "deviation"))

    def check(self) -> None:
        if self.lognormal[1] <= 0:
            raise PlanError("lognormal", list(self.lognormal), "use a deviation above 0, for example [-1.2, 1.2]")


@dataclass(frozen=True, kw_only=True)
class Config(Record):
    """What is trained, on what, and how; paths are relative to where the command is given."""

    target: str = choice("unet", "afa")
    checkpoint: str | None = key(PATH, None)  # of target unet
    models: tuple[str, ...] = key(List(PATH, 0, 16), ())  # of target afa
    mode: str = choice("full", "last")
    without: tuple[str, ...] = key(List(Choice(STATES)), ())
    data: str = key(Text(1, noun="a folder of pictures with .txt captions"))
    out: str = key(Text(1, noun="a folder"), "out")
    name: str | None = key(Text(1, 80), None)  # null = the configuration file's
    work: str | None = key(Text(1, noun="a folder"), None)  # of what going on needs and shows; null = OUT
    cache: str | None = key(Text(1, noun="a folder"), None)  # null = WORK/cache
    node: tuple[int, int] | None = key(NODE, None)
    complement: tuple[tuple[int, int], ...] | None = key(List(NODE, 1), None)
    noise: str | Lognormal = key(Either(lambda: (Choice(("uniform",)), Object(lambda: Lognormal))), "uniform")
    resolution: int | None = key(Integer(64, 8192), None)  # px; null = pictures keep their sizes
    tokens: int = key(Integer(75, 75 * 8, 75), 75)  # of a caption
    skip_bad: bool = key(Switch(), False)
    steps: int = key(Integer(1), 5000)
    minutes: float | None = key(Number(0, None), None)
    batch: int = key(Integer(1), 8)  # of a process
    accumulate: int = key(Integer(1), 1)
    lr: float = key(Number(0, 10), 1e-4)
    warmup: int = key(Integer(0), 100)  # steps
    decay: int = key(Integer(0), 0)  # steps
    weight_decay: float = key(Number(0, 10), 0.01)
    betas: tuple[float, float] = key(Array(Number(0, 0.999999), "beta1", "beta2"), (0.9, 0.999))
    clip_norm: float = key(Number(0, None), 1.0)
    ema: float = key(Number(0, 0.9999999), 0.9999)
    drop_text: float = key(Number(0, 1), 0.1)
    weighting: str = choice("plain", "v")
    precision: str = choice("float32", "bfloat16", "float16")
    checkpointing: bool = key(Switch(), False)
    seed: int = key(Integer(0, 2**32 - 1), 0)
    save_every: int = key(Integer(1), 500)  # steps
    log_every: int = key(Integer(1), 20)  # steps
    sample_every: int = key(Integer(1), 500)  # steps
    prompts: tuple[str, ...] = key(List(Text()), ())
    sample_size: tuple[int, int] | None = key(Array(Integer(64, 8192, 8), "width", "height"), None)  # px; null = the commonest in data
    guidance: float = key(Number(1, 100), 7.0)
    validation: float = key(Number(0, 0.9), 0.0)  # share of the pictures
    validate_every: int = key(Integer(1), 500)  # steps

    def check(self) -> None:
        if self.target == "unet" and self.checkpoint is None:
            raise PlanError("checkpoint", None, "name the .safetensors file to begin with", "target unet needs one")
        if self.target == "afa" and len(self.models) < 2:
            raise PlanError("models", list(self.models), "name at least two .safetensors files", "target afa needs several")
        for name, target in (("checkpoint", "unet"), ("models", "afa"), ("mode", "afa"), ("without", "afa"), ("node", "unet"),
                             ("complement", "unet")):
            if target != self.target and getattr(self, name) != self.keyed()[name].default:
                raise PlanError(name, self.to_dict()[name], f"leave it out, or use target: {target}", f"{{value}} is of target {target}")
        if self.node is not None and self.complement is not None:
            raise PlanError("complement", [list(n) for n in self.complement], "leave out one of them", "{value} stands beside node")
        if self.name and (Path(self.name).name != self.name or self.name in (".", "..")):
            raise PlanError("name", self.name, "use the name of a file, without its folder (that is `out`) and without .safetensors")
        for name, nodes in (("node", [self.node] if self.node else []), ("complement", self.complement or ())):
            for level, index in nodes:
                if level > 20 or index >= 2**level:
                    raise PlanError(name, [level, index], "use [level, index] with a level up to 20 and an index below 2^level")

    def differs(self, earlier: dict) -> str | None:
        """The first key that changes the run and is not as it was in `earlier`, a `to_dict()`, perhaps of before there was such a key."""
        mine, before = self.to_dict(), {"mode": "full", "without": [], **earlier}
        return next((name for name in mine if name not in FREE and mine[name] != before.get(name)), None)


class Loader(yaml.SafeLoader):
    """YAML 1.1 takes 1e-4 for text, for it has no point."""


Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789"))


def read(path: Path) -> Config:
    try:
        found = yaml.load(path.read_text(encoding="utf-8-sig"), Loader)
    except FileNotFoundError:
        raise TrainError(f"{path}: there is no such file; name a configuration, docs/training.md shows one.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TrainError(f"{path} is not YAML in UTF-8 ({' '.join(str(error).split())}); correct it there.") from None
    if not isinstance(found, dict):
        raise TrainError(f"{path} holds no keys; write at least checkpoint (or target: afa and models) and data.")
    try:
        config = Config.from_dict(found)
    except PlanError as error:
        raise TrainError(f"{path}: {error}") from None
    config = config if config.name else replace(config, name=path.stem)
    written = (".yaml", ".safetensors") if config.target == "unet" else (".safetensors",)
    for taken in (path, *map(Path, config.models), *([Path(config.checkpoint)] if config.checkpoint else [])):
        if taken.resolve() in [(Path(config.out) / f"{config.name}{ending}").resolve() for ending in written]:
            raise TrainError(f"{path}: the trained {config.name}{' or '.join(written)} would overwrite {taken}; use another out or name.")
    return config
