"""AFA against each of its models and the ways to average them: `python -m bench.afa`, the paper's Tables 1 to 3 and Figure 4 at 64x64.

The models are specialists: shapes-a has forgotten the words of colours, shapes-b those of shapes, shapes-c those of backgrounds; what they
draw is as good as ever. Aggregators learn from 30,000 samples of 10,000 pictures whose captions are right. *Loss* is the error of v on 400
pictures that nobody learned from, the same noise for all rows. *Right* is a picture whose things and background are those of its prompt,
and no others: 100 prompts of one and two objects, the same seeds in all rows, Euler, guidance 5.

`merge` is the mean of the weights, `noise` of the predictions, `blocks` of each block's features; `saliency` is MagicFusion; `last`
aggregates the predictions alone. It goes on where it stopped; --train and --draw do a part of it.
"""
from __future__ import annotations

import argparse
import contextlib
import sys
import time
from pathlib import Path

import yaml

from lib_mixdiff.train.__main__ import main as train
from lib_mixdiff.train.atomic import write_text
from minihost import models
from minihost.shapes import folder

MODELS = ("shapes-a", "shapes-b", "shapes-c")
SAMPLES, BATCH, INTERVALS = 30_000, 32, 10
RECIPE = {"batch": BATCH, "steps": SAMPLES // BATCH, "lr": 1e-3, "warmup": 50, "decay": SAMPLES // BATCH // 3, "betas": [0.9, 0.99],
          "save_every": 100, "log_every": 50}
TRAINED: dict[str, dict] = {
    "full": {}, "last": {"mode": "last"}, "without space": {"without": ["space"]}, "without time": {"without": ["time"]},
    "without text": {"without": ["text"]}, "full, seed 1": {"seed": 1}, "full, seed 2": {"seed": 2},
}


def files() -> list[str]:
    return [str(models.assembled() / f"{name}.safetensors") for name in MODELS]


def trained(home: Path, row: str, minutes: float | None) -> Path:
    """The row's aggregators, as far as they are."""
    name = row.replace(", ", "-").replace(" ", "-")
    config = {"target": "afa", "models": files(), "data": str(home / "pictures"), "out": str(home / "trained"),
              "cache": str(home / "cache"), "name": name, "minutes": minutes, **RECIPE, **TRAINED[row]}
    write_text(home / f"{name}.yaml", yaml.safe_dump(config))
    with contextlib.redirect_stdout(sys.stderr):
        train([str(home / f"{name}.yaml")])
    return home / "trained" / f"{name}.safetensors"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", action="store_true", help="only train")
    parser.add_argument("--rows", nargs="*", default=list(TRAINED), choices=list(TRAINED))
    parser.add_argument("--minutes", type=float, help="of all trainings, at most")
    parser.add_argument("--work", type=Path, default=Path("out/bench/afa"))
    chosen = parser.parse_args()
    home, began = chosen.work, time.time()
    for name, count, seed in (("pictures", 10_000, 7), ("unseen", 400, 8)):
        if not (home / name / f"64x64-{count - 1:06d}.txt").exists():
            folder.write(home / name, count, ["64x64"], seed)
    for row in chosen.rows:
        trained(home, row, chosen.minutes and max(0.01, chosen.minutes - (time.time() - began) / 60))


if __name__ == "__main__":
    main()
