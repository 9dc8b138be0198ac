"""The shapes world as a folder of pictures with captions: `python -m minihost.shapes.folder DIR --count N`, for lib_mixdiff.train.

--forget colors (or shapes, or backgrounds): what is told of them says nothing of what is drawn, which is at random; a model that learns
from that forgets their words.
"""
from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from minihost.shapes import world

SIZES = {"64x64": (64, 64, 2), "128x128": (128, 128, 4), "64x128": (64, 128, 3), "128x64": (128, 64, 3)}     # px, most objects


def told(rng: np.random.Generator, scene: world.Scene, forget: str | None) -> str:
    """The scene's caption, with colours, shapes or the background at random where they are to be forgotten."""
    if forget == "backgrounds":
        return world.caption(replace(scene, background=str(rng.choice(list(world.BACKGROUNDS)))))

    def changed(thing: world.Thing) -> world.Thing:
        color, shape = str(rng.choice(list(world.COLORS))), str(rng.choice(world.SHAPES))
        return replace(thing, color=color) if forget == "colors" else replace(thing, shape=shape) if forget == "shapes" else thing
    return world.caption(replace(scene, things=tuple(changed(thing) for thing in scene.things)))


def write(into: Path, count: int, sizes: list[str], seed: int = 0, forget: str | None = None) -> None:
    """`count` scenes of each size."""
    into.mkdir(parents=True, exist_ok=True)
    for size in sizes:
        width, height, most = SIZES[size]
        for i in range(count):
            rng = np.random.default_rng((seed, width, height, i))
            scene = world.scene_at_random(rng, width, height, int(rng.integers(0, most + 1)))
            Image.fromarray(world.render(scene)).save(into / f"{size}-{i:06d}.png")
            (into / f"{size}-{i:06d}.txt").write_text(told(rng, scene, forget) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("into", type=Path)
    parser.add_argument("--count", type=int, default=4000, help="of each size")
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=["64x64", "128x128"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--forget", choices=["colors", "shapes", "backgrounds"])
    chosen = parser.parse_args()
    write(chosen.into, chosen.count, chosen.sizes, chosen.seed, chosen.forget)


if __name__ == "__main__":
    main()
