"""AMDM: does a model gain what another one controls, untrained? `python -m bench.amdm`, 64x64, 20 steps Euler, guidance 5.

`specialists`: one object; A is shapes-a, which has forgotten the words of colours, B is shapes-b, which has forgotten those of shapes.
`regions`: two objects; A is the plain prompt, B the same checkpoint with a region for each, the left and the right half.
`paint`: two objects; A is the stack of shapes-high and shapes-low, B the loaded checkpoint with the objects' names painted on the halves.
`three`: one object, in one half; A is shapes-a, B shapes-b, and C is shapes-a with the object in a region, that half, and "a gray
background" elsewhere: to A it lends the place, and no colour.

"A(+B)": A is the main model, B acts in the first steps. 8 of the 20 (40 %), eta 0.3, weights 1 : 1 and slerp unless a row says otherwise;
of 0 steps it is A alone. Two objects have their *attributes* where both are drawn, anywhere; the *layout* where there is a thing, whatever
it is, in either half; *both* where each object has its centroid in its own half. *Placed* is the share of that among pictures with the
attributes. One object's *colour* and *shape* are those of any thing; its *place* is right where there is a thing in its half and none in
the other; *all* where its place is right and it is there itself.

Of quality: *named*, the pictures without a patch that is no thing of this world; *background*, those on the one that is named, one colour
all over; *palette*, the share of pixels that have a colour of this world, the mean.

Every prompt is drawn with eight seeds in one batch, the same of all rows. Pictures of one prompt are alike: the intervals are Wilson's for
the pictures divided by the design effect (Kish 1965), where that is above 1. Of two rows: pictures that only one of them has right, and the
difference with its interval over prompts drawn again. What was seen in a picture is kept in --kept, by the request, and is not drawn again;
delete that file where the library, the checkpoints or the detector have changed.
"""
from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from hashlib import sha256
from itertools import product
from pathlib import Path
from queue import Queue
from typing import NamedTuple

import numpy as np
from PIL import Image

from bench.detector import ONE_COLOR, PALETTE, Detection, Found, detect
from bench.hosts import CFG_SCALE, STEPS, arguments, host
from bench.paint import HALVES
from bench.scores import has, interval, mean, one_background, placed, wilson
from bench.specialists import right, stack
from minihost.client import Host, encoded
from minihost.shapes import world

SEED, SIZE, SEEDS = 120_000, 64, 8
MIXED, ETA = 8, 0.3
MIXES = ("slerp", "lerp", "average")
KEPT = Path("out/bench/amdm.jsonl")


class Model(NamedTuple):
    """What one is asked alone."""
    prompt: str
    plan: dict


class Asked(NamedTuple):
    """Objects, what they stand on, of each its half, and the models."""
    scene: world.Scene
    halves: tuple[list[float], ...]
    models: dict[str, Model]

    @property
    def names(self) -> list[str]:
        return [thing.name for thing in self.scene.things]


class Cell(NamedTuple):
    """Which models, the main one first; "A" alone, or "ABC"."""
    models: str
    mix: str = "slerp"
    steps: int = MIXED
    eta: float = ETA
    weight: float = 1       # of the others

    @property
    def alone(self) -> bool:
        return len(self.models) == 1 or not self.steps

    def title(self, table: str = "headline") -> str:
        """With what is not the default, or what the table is about."""
        main, *others = self.models
        told = {"steps": (self.steps, MIXED, f"{self.steps} steps"), "eta": (self.eta, ETA, f"eta {self.eta}"),
                "weight": (self.weight, 1, f"weight {self.weight}")}
        how = [self.mix] * (self.mix != "slerp") + [text for name, (is_, usual, text) in told.items() if is_ != usual or name == table]
        return ", ".join([f"{main}(+{'+'.join(others)})", *how]) if others else main

    def asked(self, models: dict[str, Model]) -> Model:
        main, *others = (models[name] for name in self.models)
        if self.alone:
            return main
        beside = [{"weight": self.weight, "eta": self.eta, "prompt": None if other.prompt == main.prompt else other.prompt,
                   "plan": other.plan} for other in others]
        return Model(main.prompt, main.plan | {
            "amdm": {"steps": self.steps, "weight": 1, "eta": self.eta, "mix": self.mix, "models": beside}})


class Seen(NamedTuple):
    found: Detection
    palette: float


class Setting(NamedTuple):
    asked: Callable[[int], Asked]
    scores: tuple[str, ...]                                     # the last one is what was asked for as a whole
    judged: Callable[[Detection, Asked], tuple[bool, ...]]
    headline: list[Cell]


def one(index: int) -> tuple[world.Scene, list[float]]:
    """An object and a half: none comes again before all have come."""
    plans = list(product(HALVES, world.BACKGROUNDS, world.SHAPES, world.COLORS))
    half, ground, shape, color = plans[np.random.default_rng(SEED).permutation(len(plans))[index % len(plans)]]
    return world.Scene(SIZE, SIZE, ground, (world.Thing(color, shape, 0, 0, 0),)), half


def two(index: int) -> tuple[world.Scene, tuple[list[float], ...]]:
    """Objects of two colours and two shapes, and their halves."""
    rng = np.random.default_rng((SEED, index))
    colors, shapes = rng.choice(list(world.COLORS), 2, replace=False), rng.choice(world.SHAPES, 2, replace=False)
    things = tuple(world.Thing(str(color), str(shape), 0, 0, 0) for color, shape in zip(colors, shapes))
    scene = world.Scene(SIZE, SIZE, str(rng.choice(list(world.BACKGROUNDS))), things)
    return scene, tuple(HALVES[side] for side in rng.permutation(2))


def of_one(scene: world.Scene, half: list[float]) -> dict:
    """A region with the only object of a scene."""
    return {"regions": [{"box": half, "prompt": world.caption(scene)}]}


def specialists(index: int) -> Asked:
    scene, half = one(index)
    text = world.caption(scene)
    return Asked(scene, (half,), {"A": Model(text, {"model": "shapes-a"}), "B": Model(text, {"model": "shapes-b"})})


def three(index: int) -> Asked:
    scene, half = one(index)
    region = {"model": "shapes-a"} | of_one(scene, half)
    nothing = world.caption(world.Scene(SIZE, SIZE, scene.background, ()))
    return Asked(scene, (half,), specialists(index).models | {"C": Model(nothing, region)})


def regions(index: int) -> Asked:
    scene, halves = two(index)
    own = [world.Scene(SIZE, SIZE, scene.background, (thing,)) for thing in scene.things]
    text = world.caption(scene)
    plan = {"regions": [each for alone, half in zip(own, halves) for each in of_one(alone, half)["regions"]]}
    return Asked(scene, halves, {"A": Model(text, {}), "B": Model(text, plan)})


def paint(index: int) -> Asked:
    scene, halves = two(index)
    text, columns = world.caption(scene), (np.arange(SIZE) + 0.5) / SIZE
    masks = [np.repeat((columns >= half[0]) & (columns < half[2]), 3).reshape(1, SIZE, 3).repeat(SIZE, 0) for half in halves]
    phrases = [{"phrase": thing.name, "mask": encoded(np.where(mask, 255, 0).astype(np.uint8))} for thing, mask in zip(scene.things, masks)]
    return Asked(scene, halves, {"A": Model(text, stack("shapes-high", "shapes-low", 0.5)),
                                 "B": Model(text, {"paint": {"strength": 0.2, "phrases": phrases}})})


def inside(found: Detection, half: list[float]) -> int:
    """Things with their centroid in a half."""
    return sum(half[0] <= thing.x / found.width < half[2] for thing in found.things)


def judged_one(found: Detection, asked: Asked) -> tuple[bool, ...]:
    return right(found, asked.names[0])


def judged_place(found: Detection, asked: Asked) -> tuple[bool, ...]:
    color, shape, _ = right(found, asked.names[0])
    place = 0 < inside(found, asked.halves[0]) == len(found.things)
    return color, shape, place, place and has(found, asked.names)


def judged_two(found: Detection, asked: Asked) -> tuple[bool, ...]:
    layout = all(inside(found, half) for half in HALVES)
    return has(found, asked.names), layout, all(placed(found, half, name) for half, name in zip(asked.halves, asked.names))


PAIR = [Cell("A"), Cell("B"), Cell("AB"), Cell("BA"), Cell("AB", "lerp"), Cell("AB", "average")]
TRIO = [*map(Cell, ("A", "B", "C", "AB", "AC", "ABC", "BAC", "CAB")), Cell("ABC", "lerp"), Cell("ABC", "average")]
SETTINGS = {
    "specialists": Setting(specialists, ("colour", "shape", "both"), judged_one, PAIR),
    "regions": Setting(regions, ("attributes", "layout", "both"), judged_two, PAIR),
    "paint": Setting(paint, ("attributes", "layout", "both"), judged_two, PAIR),
    "three": Setting(three, ("colour", "shape", "place", "all"), judged_place, TRIO),
}
STEPPED, ETAS = (0, 2, 4, 8, 12, 16, 20), (0, 0.1, 0.2, 0.3, 0.4, 0.5, 1, 3, 10)
FIGURE_7 = [Cell("AB", mix, steps) for mix in MIXES for steps in STEPPED]
TABLE_3 = [Cell("AB", eta=eta) for eta in ETAS]
CURVES: dict[str, dict[str, list[Cell]]] = {
    "steps": {"specialists": [*FIGURE_7, *(Cell("BA", steps=steps) for steps in (8, 12, 16))], "regions": FIGURE_7,
              "paint": [Cell("AB", steps=steps) for steps in (8, 12, 16, 20)],
              "three": [Cell("ABC", steps=steps) for steps in (8, 12, 16, 20)]},
    "eta": {"specialists": [*TABLE_3, *(Cell("AB", steps=STEPS, eta=eta) for eta in (0, ETA, 1, 3, 10))], "regions": TABLE_3},
    "weight": {"specialists": [Cell("AB", weight=weight) for weight in (0.25, 0.5, 1, 2, 4)]},
}


class Easel:
    """Draws batches on several hosts, and keeps what it has seen in them."""

    def __init__(self, chosen: argparse.Namespace, hosts: Iterable[Host], workers: int) -> None:
        self.chosen, self.free, self.workers = chosen, Queue(), ThreadPoolExecutor(workers)
        for on in hosts:
            self.free.put(on)
        chosen.kept.parent.mkdir(parents=True, exist_ok=True)
        lines = chosen.kept.read_text(encoding="utf-8").splitlines() if chosen.kept.exists() else []
        self.kept = {each["key"]: [restored(one) for one in each["seen"]] for each in map(json.loads, lines)}

    def several(self, setting: str, cell: Cell, count: int) -> list[tuple[Asked, Seen]]:
        contents = [SETTINGS[setting].asked(index) for index in range(count // SEEDS)]
        batches = self.workers.map(partial(self.batch, setting, cell), range(len(contents)), contents)
        return [(asked, seen) for asked, batch in zip(contents, batches) for seen in batch]

    def batch(self, setting: str, cell: Cell, index: int, asked: Asked) -> list[Seen]:
        prompt, plan = cell.asked(asked.models)
        request = dict(prompt=prompt, width=SIZE, height=SIZE, seed=SEED + SEEDS * index, batch_size=SEEDS, steps=STEPS,
                       cfg_scale=CFG_SCALE, sampler_name=self.chosen.sampler, scheduler="Automatic",
                       override_settings={"sd_model_checkpoint": self.chosen.checkpoint})
        key = sha256(json.dumps([self.chosen.url, plan, request], sort_keys=True).encode()).hexdigest()[:32]
        if key in self.kept and not self.chosen.pictures:
            return self.kept[key]
        on = self.free.get()
        try:
            answer = on.txt2img(plan or None, **request)
        finally:
            self.free.put(on)
        if answer.status != 200:
            raise RuntimeError(answer.error)
        seen = [Seen(detect(picture), palette(picture)) for picture in answer.pictures]
        if key not in self.kept:
            self.kept[key] = seen
            with self.chosen.kept.open("a", encoding="utf-8") as file:      # one short line: written at once
                file.write(json.dumps({"key": key, "seen": [told(one) for one in seen]}) + "\n")
        if self.chosen.pictures:
            self.chosen.pictures.mkdir(parents=True, exist_ok=True)
            what = f"{setting} {cell.title()}, {index:03d}, {', '.join(asked.names)}.png"
            Image.fromarray(np.hstack(answer.pictures)).save(self.chosen.pictures / what)
        return seen


def told(seen: Seen) -> dict:
    return asdict(seen.found) | {"palette": seen.palette}


def restored(line: dict) -> Seen:
    """The inverse of `told`."""
    things = tuple(Found(**thing | {"box": tuple(thing["box"])}) for thing in line["things"])
    return Seen(Detection(line["width"], line["height"], line["background"], line["background_share"], things), line["palette"])


def palette(picture: np.ndarray) -> float:
    """The share of pixels whose colour is one of this world's."""
    away = picture[..., None, :].astype(np.float64) - np.array(list(PALETTE.values()), np.float64)
    return float((np.linalg.norm(away, axis=-1).min(-1) <= ONE_COLOR).mean())


def rate(hits: np.ndarray, of: np.ndarray) -> str:
    """The share of `hits` in `of`, (prompts, seeds) booleans each, with its interval."""
    right, all_of = (hits & of).sum(1), of.sum(1)
    if not (count := all_of.sum()):
        return ""
    share = right.sum() / count
    apart = ((right - share * all_of) ** 2).sum() * len(of) / max(len(of) - 1, 1)       # count^2 times the variance of the share
    effect = max(1.0, apart / (share * (1 - share) * count)) if 0 < share < 1 else 1.0
    low, high = wilson(share * (count / effect), count / effect)
    return f"{share:.1%} ({low:.1%} to {high:.1%})"


def verdicts(setting: Setting, several: list[tuple[Asked, Seen]]) -> np.ndarray:
    """(scores, prompts, seeds) booleans."""
    found = np.array([setting.judged(seen.found, asked) for asked, seen in several])
    return found.T.reshape(-1, len(several) // SEEDS, SEEDS)


def row(setting: Setting, several: list[tuple[Asked, Seen]]) -> str:
    columns = verdicts(setting, several)
    named = np.mean([all(thing.name for thing in seen.found.things) for _, seen in several])
    ground = np.mean([one_background(seen.found, asked.scene.background) for asked, seen in several])
    rates = [rate(column, np.ones_like(column)) for column in columns]
    rates += [rate(columns[2], columns[0])] if setting.judged is judged_two else []
    pure = np.mean([seen.palette for _, seen in several])
    return " | ".join([*rates, f"{named:.1%}", f"{ground:.1%}", f"{pure:.1%}"])


def print_rows(name: str, table: str, cells: list[Cell], count: int, easel: Easel) -> None:
    setting = SETTINGS[name]
    scores = [*setting.scores, *(["placed"] if setting.judged is judged_two else []), "named", "background", "palette"]
    print(f"| {name} | pictures | {' | '.join(scores)} |\n|{'---|' * (2 + len(scores))}")
    for cell in cells:
        print(f"| {cell.title(table)} | {count} | {row(setting, easel.several(name, cell, count))} |", flush=True)
    print()


def print_pairs(name: str, count: int, easel: Easel) -> None:
    """Of the mixture with the defaults against each other row."""
    setting = SETTINGS[name]
    mixed = next(cell for cell in reversed(setting.headline) if cell.mix == "slerp" and cell.models[0] == "A")
    right = {cell: verdicts(setting, easel.several(name, cell, count))[-1] for cell in setting.headline}
    ours = right.pop(mixed)
    print(f"| {name}, {setting.scores[-1]} | only {mixed.title()} | only the other | difference |\n|---|---|---|---|")
    for cell, theirs in right.items():
        apart = interval(mean, ours.mean(1) - theirs.mean(1))
        print(f"| {cell.title()} | {(ours & ~theirs).sum()} | {(theirs & ~ours).sum()} | {apart} |")
    print(flush=True)


@contextmanager
def easel(chosen: argparse.Namespace) -> Iterator[Easel]:
    with ExitStack() as several:
        drawing = Easel(chosen, [several.enter_context(host(chosen)) for _ in range(chosen.workers)], chosen.workers)
        several.enter_context(drawing.workers)
        yield drawing


def main() -> None:
    parser = arguments(__doc__, 400)
    parser.add_argument("--only", nargs="+", choices=SETTINGS, default=[*SETTINGS], help="settings")
    parser.add_argument("--tables", nargs="+", choices=["headline", *CURVES], default=["headline", *CURVES])
    parser.add_argument("--cells", type=int, default=104, help="pictures a cell of the curves")
    parser.add_argument("--workers", type=int, default=2, help="embedded hosts, a process each")
    parser.add_argument("--kept", type=Path, default=KEPT, help="what was seen")
    chosen = parser.parse_args()
    if chosen.count % SEEDS or chosen.cells % SEEDS:
        parser.error(f"--count {chosen.count} --cells {chosen.cells}: multiples of {SEEDS} are needed, as many seeds has each prompt")
    with easel(chosen) as drawing:
        for table in chosen.tables:
            for name in chosen.only:
                if table == "headline":
                    print_rows(name, table, SETTINGS[name].headline, chosen.count, drawing)
                    print_pairs(name, chosen.count, drawing)
                elif name in CURVES[table]:
                    print_rows(name, table, CURVES[table][name], chosen.cells, drawing)


if __name__ == "__main__":
    main()
