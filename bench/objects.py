"""What the shapes checkpoint can do by itself: `python -m bench.objects`. One row a size: pictures that show all that was asked for."""
from __future__ import annotations

import numpy as np

from bench.detector import detect
from bench.hosts import arguments, drawn, host
from bench.scores import has, has_only, one_background, wilson
from minihost.shapes import world

SEED = 50_000       # first of the unseen


def scene(index: int, count: int) -> world.Scene:
    """What to ask for: `count` objects and a background at random; places do not matter."""
    return world.scene_at_random(np.random.default_rng((SEED, count, index)), 128, 128, count)


def main() -> None:
    chosen = arguments(__doc__, 200).parse_args()
    print("| objects | size | pictures | right | 95 % interval | and nothing else | background right |\n|---|---|---|---|---|---|---|")
    with host(chosen) as on:
        for count, (width, height) in ((1, (64, 64)), (2, (128, 128))):
            right = only = ground = 0
            for index in range(chosen.count):
                wanted = scene(index, count)
                found = detect(drawn(on, chosen, f"objects {count}", world.caption(wanted), width, height, SEED + index))
                names = [t.name for t in wanted.things]
                right += has(found, names)
                only += has_only(found, names)
                ground += one_background(found, wanted.background)
            low, high = wilson(right, chosen.count)
            n = chosen.count
            print(f"| {count} | {width}x{height} | {n} | {right / n:.1%} | {low:.1%} to {high:.1%} | {only / n:.1%} | {ground / n:.1%} |",
                  flush=True)


if __name__ == "__main__":
    main()
