"""Denoising loss by noise, one model against stacks at equal training compute: `python -m bench.experts`, eDiff-I's claim of section 4.

A generalist learns the 64x64 pictures from nothing for a while (--generalist 0: it is `shapes`, which has learned all that it can).
Then one model goes on for T steps; two take a half of the noise and T/2 steps each; three the lowest quarter, the highest, and what lies
between, with T/3 each. Three seeds. The loss is of the average weights, on pictures that none of them learned from, the same noise for
all; these models predict v, so their own loss is the one weighted as v. Last, what they draw: objects that have their colour and shape in
their quadrant, a region each (as `bench.placement`), 20 steps Euler, guidance 5. It goes on where it stopped.
"""
from __future__ import annotations

import argparse
import contextlib
import json
import sys
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import torch
import yaml

from bench import placement
from bench.detector import detect
from lib_mixdiff.train.__main__ import main as train
from lib_mixdiff.train.atomic import write_text
from lib_mixdiff.train.checkpoint import Checkpoint
from lib_mixdiff.train.config import Config
from lib_mixdiff.train.data import Data
from lib_mixdiff.train.noise import Part, part, uniform_area
from lib_mixdiff.train.unet import UnetTarget
from minihost import models
from minihost.client import served
from minihost.shapes import folder, parts, world

INTERVALS = 10
STACKS: dict[str, list[dict]] = {
    "one model": [{}],
    "two experts": [{"node": [1, 0]}, {"node": [1, 1]}],
    "three experts": [{"node": [2, 0]}, {"node": [2, 3]}, {"complement": [[2, 0], [2, 3]]}],
}


def run(home: Path, source: Path, name: str, steps: int, **keys: object) -> Path:
    """One training, and the checkpoint that it leaves. What is done already is not done again."""
    config = {"checkpoint": str(source), "data": str(home / "pictures"), "out": str(home / "trained"), "cache": str(home / "cache"),
              "name": name, "batch": 32, "steps": steps, "betas": [0.9, 0.99], "save_every": 200, "log_every": 50, **keys}
    write_text(home / f"{name}.yaml", yaml.safe_dump(config))
    with contextlib.redirect_stdout(sys.stderr):
        train([str(home / f"{name}.yaml")])
    return home / "trained" / f"{name}.safetensors"


def generalist(home: Path, steps: int) -> Path:
    """`shapes` with a U-Net that has learned from nothing, all noise alike, for so many steps."""
    shapes, nothing = Checkpoint(models.assembled() / "shapes.safetensors"), home / "nothing.safetensors"
    if not nothing.exists():
        torch.manual_seed(0)
        shapes.write(nothing, parts.unet().state_dict(), "")
    return run(home, nothing, f"generalist-{steps}", steps, lr=1e-3)


def trained(home: Path, source: Path, stack: str, seed: int, total: int, lr: float) -> list[tuple[Part, Path]]:
    """The timesteps and the file of each model of a stack, `total` steps all together, their rate falling to nothing."""
    found, steps = [], total // len(STACKS[stack])
    for number, keys in enumerate(STACKS[stack]):
        name = f"{stack.replace(' ', '-')}-{seed}-{number}-of-{source.stem}"
        path = run(home, source, name, steps, lr=lr, warmup=20, decay=steps, seed=seed, **keys)
        nodes = {key: tuple(map(tuple, value)) if key == "complement" else tuple(value) for key, value in keys.items()}
        found.append((part(uniform_area(1000), **nodes), path))
    return found


@torch.no_grad()
def losses(stack: list[tuple[Part, Path]], home: Path, source: Path) -> np.ndarray:
    """(INTERVALS,) mean squared error of v, rising noise: each sample's by the model that has its timestep."""
    config = Config(checkpoint=str(source), data=str(home / "unseen"), cache=str(home / "cache"), seed=0)
    targets = [(each, UnetTarget(replace(config, checkpoint=str(path))).eval()) for each, path in stack]
    base = Checkpoint(source)
    data = Data(config, [base], part(uniform_area(len(base.abar))), torch.device("cpu"), lambda text: None)
    data.checks = data.pictures
    found = []
    for k in range(INTERVALS):
        values = []
        for batch in data.check(k, INTERVALS, 32):
            loss = torch.full((len(batch.t),), float("nan"))
            for each, target in targets:
                mine = torch.tensor([each.holds(t) for t in batch.t.tolist()])
                if mine.any():
                    loss[mine] = target(batch)[mine]
            values.append(loss)
        found.append(torch.cat(values).mean().item())
    assert np.isfinite(found).all(), "every timestep has its model"
    return np.array(found)


def in_place(stack: list[tuple[Part, Path]], source: Path, plans: int) -> list[bool]:
    """By object, on an embedded host that has loaded the source."""
    model = {"experts": [{"model": path.stem, "text_encoder": "loaded", "range": when}
                         for each, path in stack for when in ([None] if each.whole else each.ranges())]}
    hits = []
    with served("--models", str(source.parent), "--ckpt", source.stem) as on:
        for index in range(plans):
            scenes = placement.content("quadrants", index)
            answer = on.txt2img({**placement.plan("quadrants", scenes), "model": model}, prompt=world.caption(placement.whole(scenes)),
                                width=128, height=128, seed=placement.SEED + index, steps=20, cfg_scale=5, sampler_name="Euler")
            if answer.status != 200:
                raise RuntimeError(answer.error)
            hits += placement.in_place(detect(answer.pictures[0]), "quadrants", scenes)
    return hits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=600, help="T")
    parser.add_argument("--generalist", type=int, default=1500, help="steps of the generalist")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--plans", type=int, default=25, help="pictures of four objects for each model; 0: none")
    parser.add_argument("--work", type=Path, default=Path("out/bench/experts"))
    chosen = parser.parse_args()
    home = chosen.work
    for name, count, seed in (("pictures", 6000, 0), ("unseen", 400, 1)):
        if not (home / name / f"64x64-{count - 1:06d}.txt").exists():
            folder.write(home / name, count, ["64x64"], seed)
    source = generalist(home, chosen.generalist) if chosen.generalist else models.assembled() / "shapes.safetensors"
    results = home / f"losses-{source.stem}-{chosen.steps}-{chosen.lr:g}.json"
    known = json.loads(results.read_text(encoding="utf-8")) if results.exists() else {}

    def measured(name: str, stack: list[tuple[Part, Path]]) -> np.ndarray:
        if name not in known:
            known[name] = losses(stack, home, source).tolist()
            write_text(results, json.dumps(known))
        return np.array(known[name])

    start = measured("start", [(part(uniform_area(1000)), source)])
    columns = {stack: [] for stack in STACKS}
    everyone = [("start", [(part(uniform_area(1000)), source)])]
    for seed in range(1, chosen.seeds + 1):
        for stack, values in columns.items():
            everyone.append((f"{stack} {seed}", trained(home, source, stack, seed, chosen.steps, chosen.lr)))
            values.append(measured(*everyone[-1]))
    print(f"| timesteps | {source.stem} | {' | '.join(f'{stack}, {chosen.steps // len(STACKS[stack])} steps each' for stack in STACKS)} |\n"
          f"|{(2 + len(STACKS)) * '---|'}")
    rows = [(f"{1000 * k // INTERVALS} to {1000 * (k + 1) // INTERVALS - 1}", slice(k, k + 1)) for k in range(INTERVALS)]
    for name, which in [*rows, ("all", slice(None))]:
        cells = []
        for values in columns.values():
            means = [value[which].mean() for value in values]
            cells.append(f"{np.mean(means):.4f} ({min(means):.4f} to {max(means):.4f})")
        print(f"| {name} | {start[which].mean():.4f} | {' | '.join(cells)} |")
    if chosen.plans:
        for name, stack in everyone:
            if (key := f"{chosen.plans} plans, {name}") not in known:
                known[key] = in_place(stack, source, chosen.plans)
                write_text(results, json.dumps(known))
        several = [[known[f"{chosen.plans} plans, {stack} {seed}"] for seed in range(1, chosen.seeds + 1)] for stack in STACKS]
        cells = [f"{placement.rate(list(chain.from_iterable(hits)))}; {', '.join(f'{np.mean(each):.0%}' for each in hits)}"
                 for hits in several]
        print(f"| objects in place | {placement.rate(known[f'{chosen.plans} plans, start'])} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
