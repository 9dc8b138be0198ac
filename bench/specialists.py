"""Two specialists and stacks of them: `python -m bench.specialists`, prompts of one object at 64x64.

`shapes-a` has forgotten what words of colours mean, `shapes-b` what words of shapes mean. A stack takes one until a share of the steps and
then the other. Right are the colour, the shape, or both of one thing.
"""
from __future__ import annotations

import argparse

import numpy as np

from bench.detector import Detection, detect
from bench.hosts import arguments, drawn, host
from bench.placement import rate
from minihost.shapes import world

SEED = 90_000
CUTS = (0.2, 0.4, 0.6, 0.8)


def stack(first: str, second: str, cut: float) -> dict:
    experts = ((first, {"unit": "steps", "to": cut}), (second, {"unit": "steps", "from": cut}))
    return {"model": {"experts": [{"model": model, "range": when} for model, when in experts]}}


def scene(index: int) -> world.Scene:
    return world.scene_at_random(np.random.default_rng((SEED, index)), 64, 64, 1)


def right(found: Detection, name: str) -> tuple[bool, bool, bool]:
    """Colour, shape, both of one thing."""
    names = [thing.name.split() for thing in found.things if thing.name]
    color, shape = name.split()
    return any(c == color for c, _ in names), any(s == shape for _, s in names), [color, shape] in names


def main() -> None:
    chosen: argparse.Namespace = arguments(__doc__, 50).parse_args()
    rows: dict[str, dict | None] = {"shapes": None, "shapes-a": {"model": "shapes-a"}, "shapes-b": {"model": "shapes-b"}}
    for first, second in (("shapes-b", "shapes-a"), ("shapes-a", "shapes-b")):
        rows |= {f"{first}, from {cut:.0%} of the steps {second}": stack(first, second, cut) for cut in CUTS}
    print("| model | colour | shape | both |\n|---|---|---|---|")
    with host(chosen) as on:
        for what, plan in rows.items():
            verdicts = [right(detect(drawn(on, chosen, what, world.caption(s), 64, 64, SEED + index, plan)), s.things[0].name)
                        for index, s in ((index, scene(index)) for index in range(chosen.count))]
            print(f"| {what} | {' | '.join(map(rate, map(list, zip(*verdicts))))} |", flush=True)


if __name__ == "__main__":
    main()
