"""AFA against each of its models and the ways to average them: `python -m bench.afa`, the paper's Tables 1 to 3 and Figure 4 at 64x64.

The models are specialists: shapes-a has forgotten the words of colours, shapes-b those of shapes, shapes-c those of backgrounds; what they
draw is as good as ever. Aggregators learn from 30,000 samples of 10,000 pictures whose captions are right. *Loss* is the error of v on 200
pictures that nobody learned from, the same noise for all rows. *Right* is a picture whose things and background are those of its prompt,
and no others: 25 prompts of one and two objects, four pictures each, the same seeds in all rows, Euler, guidance 5.

`merge` is the mean of the weights, `noise` of the predictions, `blocks` of each block's features; `saliency` is MagicFusion; `last`
aggregates the predictions alone. A second table has some rows at other guidances, and what of the pictures is right there; a third what
full is ahead of the averages, and its interval of 95 % over prompts drawn again.

It goes on where it stopped, from what is known in bench/afa.json on: delete that where the library, the checkpoints or the detector have
changed. --only, --rows and --steps do a part of it. About three hours on one core.
"""
from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
import yaml
from safetensors.torch import load_file

from bench.detector import Detection, detect
from bench.hosts import CFG_SCALE
from bench.scores import has_only, interval, mean, one_background, wilson
from lib_mixdiff.train.__main__ import main as train
from lib_mixdiff.train.afa import AfaTarget
from lib_mixdiff.train.atomic import write_text
from lib_mixdiff.train.checkpoint import UNET, Checkpoint
from lib_mixdiff.train.config import Config
from lib_mixdiff.train.data import Data
from lib_mixdiff.train.target import Target
from lib_mixdiff.train.unet import UnetTarget
from lib_mixdiff.weights import Mean
from minihost import models
from minihost.client import Host, served
from minihost.shapes import folder, world

MODELS = ("shapes-a", "shapes-b", "shapes-c")
SAMPLES, BATCH, INTERVALS = 30_000, 32, 10
RECIPE = {"batch": BATCH, "steps": SAMPLES // BATCH, "lr": 1e-3, "warmup": 50, "decay": SAMPLES // BATCH // 3, "betas": [0.9, 0.99],
          "save_every": 100, "log_every": 50}
TRAINED: dict[str, dict] = {
    "full": {}, "last": {"mode": "last"}, "without space": {"without": ["space"]}, "without time": {"without": ["time"]},
    "without text": {"without": ["text"]}, "full, seed 1": {"seed": 1}, "full, seed 2": {"seed": 2},
}
AVERAGES = ("merge", "noise", "blocks", "saliency")
ROWS = (*MODELS, *AVERAGES, *TRAINED)
GUIDED, GUIDANCES = (*MODELS, *AVERAGES, "full"), (1, 2, 3, CFG_SCALE, 8)
SEED, PROMPTS, SEEDS = 150_000, 25, 4
KNOWN = Path(__file__).with_suffix(".json")


def files() -> list[str]:
    return [str(models.assembled() / f"{name}.safetensors") for name in MODELS]


def stem(row: str) -> str:
    return row.replace(", ", "-").replace(" ", "-")


def finished(home: Path, row: str) -> bool:
    log = home / "trained" / f"{stem(row)}.log.jsonl"
    return log.exists() and any(line["step"] == RECIPE["steps"] for line in map(json.loads, log.read_text(encoding="utf-8").splitlines()))


def trained(home: Path, row: str, minutes: float | None) -> None:
    """The row's aggregators, as far as they come in these minutes."""
    name = stem(row)
    config = {"target": "afa", "models": files(), "data": str(home / "pictures"), "out": str(home / "trained"),
              "cache": str(home / "cache"), "name": name, "minutes": minutes, **RECIPE, **TRAINED[row]}
    write_text(home / f"{name}.yaml", yaml.safe_dump(config))
    with contextlib.redirect_stdout(sys.stderr):
        train([str(home / f"{name}.yaml")])


def targets(home: Path, row: str) -> Target:
    """What says the row's predictions."""
    if row in MODELS or row == "merge":
        file = models.assembled() / f"{row}.safetensors" if row in MODELS else home / "merge.safetensors"
        if not file.exists():
            several = [Checkpoint(Path(path)).state(UNET) for path in files()]
            Checkpoint(Path(files()[0])).write(file, dict(Mean(several)), "")
        return UnetTarget(Config(checkpoint=str(file), data="-"))
    target = AfaTarget(Config(target="afa", models=tuple(files()), data="-", mode="last" if row == "noise" or row == "last" else "full",
                              without=tuple(TRAINED.get(row, {}).get("without", ()))))
    if row in TRAINED:
        state = load_file(home / "trained" / f"{stem(row)}.safetensors")
        target.aggregators.load_state_dict({name: each.float() for name, each in state.items()})
    return target


@torch.no_grad()
def losses(home: Path, row: str) -> list[float]:
    """Of INTERVALS of the noise, rising, on the pictures that nobody learned from."""
    target = targets(home, row).eval()
    config = Config(target="afa", models=tuple(files()), data=str(home / "unseen"), cache=str(home / "cache"))
    data = Data(config, target.sources, target.part, torch.device("cpu"), lambda text: None)
    data.checks = data.pictures
    return [float(torch.cat([target(batch) for batch in data.check(k, INTERVALS, BATCH)]).mean()) for k in range(INTERVALS)]


def plan(home: Path, row: str) -> dict:
    """As the host draws the row; copies its aggregators to where the embedded one looks for them."""
    if row in MODELS:
        return {"model": row}
    asked = {"models": list(MODELS), "mode": TRAINED[row].get("mode", "full") if row in TRAINED else row}
    if row in TRAINED:
        asked["aggregator"] = f"bench-{stem(row)}"
        there = models.aggregators(models.assembled())
        shutil.copyfile(home / "trained" / f"{stem(row)}.safetensors", there / f"{asked['aggregator']}.safetensors")
    return {"model": {"afa": asked}}


def scene(index: int) -> world.Scene:
    return world.scene_at_random(np.random.default_rng((SEED, index)), 64, 64, 1 + index % 2)


def key(row: str, steps: int, cfg_scale: float, index: int) -> str:
    return f"{row}, {steps} steps, {'' if cfg_scale == CFG_SCALE else f'CFG {cfg_scale:g}, '}prompt {index}"


def conditions(row: str) -> list[tuple[int, float]]:
    """Steps and guidances at which a row is drawn."""
    at = [(20, CFG_SCALE), (10, CFG_SCALE)] + [(50, CFG_SCALE)] * (row in (*MODELS, "full"))
    return at + [(20, each) for each in GUIDANCES if row in GUIDED and each != CFG_SCALE]


def drawn(on: Host, asked: dict, steps: int, cfg_scale: float, index: int) -> str:
    """What is right of each picture of a prompt, between commas: "t" things, "s" their shapes, "c" their colours, "b" background."""
    wanted = scene(index)
    answer = on.txt2img(asked, prompt=world.caption(wanted), width=64, height=64, steps=steps, seed=SEED + SEEDS * index, batch_size=SEEDS,
                        cfg_scale=cfg_scale, sampler_name="Euler", override_settings={"sd_model_checkpoint": "shapes"})
    if answer.status != 200:
        raise RuntimeError(answer.error)
    return ",".join(marks(detect(picture), wanted) for picture in answer.pictures[:SEEDS])


def marks(found: Detection, wanted: world.Scene) -> str:
    def same(part: str) -> bool:
        return Counter(getattr(each, part) for each in found.things) == Counter(getattr(each, part) for each in wanted.things)

    right = {"t": has_only(found, [thing.name for thing in wanted.things]), "s": same("shape"), "c": same("color"),
             "b": one_background(found, wanted.background)}
    return "".join(mark for mark, is_right in right.items() if is_right)


def table(known: dict[str, str], loss: dict[str, list[float]]) -> None:
    def shown(row: str, steps: int, cfg_scale: float, wanted: str) -> np.ndarray:
        """Which pictures (prompts, seeds) have all that is wanted, of the prompts that are drawn."""
        told = [known[at].split(",") for index in range(PROMPTS) if (at := key(row, steps, cfg_scale, index)) in known]
        return np.array([[set(wanted) <= set(mark) for mark in some] for some in told])

    def share(row: str, steps: int, cfg_scale: float, wanted: str) -> str:
        """Of the row's pictures that have all that is wanted; with its interval where that is a whole picture."""
        each = shown(row, steps, cfg_scale, wanted).flatten()
        if not each.size:
            return "-"
        low, high = wilson(int(each.sum()), each.size)
        return f"{100 * each.mean():.0f}" + (f" % ({100 * low:.0f} to {100 * high:.0f})" if wanted == "tb" else "")

    def right(row: str, steps: int) -> str:
        parts = [share(row, steps, CFG_SCALE, wanted) for wanted in ("tb", "t", "b")]
        return "-" if parts[0] == "-" else "{}; {}, {}".format(*parts)

    print(f"| | loss | low, middle, high noise | right at 20 steps; things, ground | at 10 steps | at 50 steps |\n|{6 * '---|'}")
    for row in ROWS:
        each = loss.get(row)
        parts = "- | -" if each is None else \
            f"{np.mean(each):.4f} | {', '.join(f'{np.mean(part):.4f}' for part in np.array_split(each, 3))}"
        print(f"| {row} | {parts} | {right(row, 20)} | {right(row, 10)} | {right(row, 50)} |")

    heads = [f"CFG {each:g}" for each in GUIDANCES]
    print(f"\n| right at 20 steps; shapes, colours, ground | {' | '.join(heads)} |\n|{'---|' * (1 + len(heads))}")
    for row in GUIDED:
        cells = [[share(row, 20, each, wanted) for wanted in ("tb", "s", "c", "b")] for each in GUIDANCES]
        print(f"| {row} | {' | '.join('-' if cell[0] == '-' else '{}; {}, {}, {}'.format(*cell) for cell in cells)} |")

    print(f"\n| right pictures of full less those of | {' | '.join(heads)} | each at its best |\n|{'---|' * (2 + len(heads))}")
    rates = {row: [shown(row, 20, each, "tb").mean(-1) for each in GUIDANCES] for row in ("full", *AVERAGES)
             if all(len(shown(row, 20, each, "tb")) == PROMPTS for each in GUIDANCES)}
    for row in AVERAGES if "full" in rates else ():
        if row in rates:
            pairs = [*zip(rates["full"], rates[row]), [max(each, key=np.mean) for each in (rates["full"], rates[row])]]
            print(f"| {row} | {' | '.join(interval(mean, ours - theirs) for ours, theirs in pairs)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=["train", "loss", "draw"], choices=["train", "loss", "draw"])
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--steps", nargs="*", type=int, default=[20, 10, 50])
    parser.add_argument("--minutes", type=float, help="of all trainings, at most")
    parser.add_argument("--work", type=Path, default=Path("out/bench/afa"))
    chosen = parser.parse_args()
    home, began = chosen.work, time.time()
    for name, count, seed in (("pictures", 10_000, 7), ("unseen", 200, 8)):
        if not (home / name / f"64x64-{count - 1:06d}.txt").exists():
            folder.write(home / name, count, ["64x64"], seed)
    found = json.loads(KNOWN.read_text(encoding="utf-8")) if KNOWN.exists() else {"losses": {}, "pictures": {}}
    loss, known = found["losses"], found["pictures"]

    def keep() -> None:
        write_text(KNOWN, json.dumps(found, indent=0))

    for row in chosen.rows:
        unmeasured = row not in loss and row != "saliency"
        undrawn = [at for at in conditions(row) if at[0] in chosen.steps and key(row, *at, PROMPTS - 1) not in known]
        if row in TRAINED and (unmeasured or undrawn):
            if "train" in chosen.only:
                trained(home, row, chosen.minutes and max(0.01, chosen.minutes - (time.time() - began) / 60))
            if not finished(home, row):
                continue
        if unmeasured and "loss" in chosen.only:
            loss[row] = losses(home, row)
            keep()
        if undrawn and "draw" in chosen.only:
            with served("--ckpt", "shapes") as on:
                for at in undrawn:
                    for index in (index for index in range(PROMPTS) if key(row, *at, index) not in known):
                        known[key(row, *at, index)] = drawn(on, plan(home, row), *at, index)
                        keep()
    table(known, loss)


if __name__ == "__main__":
    main()
