"""How close is a picture to its guide image? `python -m bench.guides`: against the guide's strength, in txt2img and img2img.

Scenes of two objects at 64x64, as guides for the middle of a canvas of 128x128 whose prompt names two others on the same background
(the decoder knows one background a picture), a seed each. The distance is the
mean difference, in grey levels, between the picture and the guide inside the box. At strength 1 what is left is what the VAE makes
of the guide; at strength 0 the picture has to be the plain job's, in every pixel. In img2img the picture begins with a third
scene and a denoising strength of 0.75, so that guides of up to 0.25 have let go before the first step; and since the host encodes it
by a random draw, no two plain pictures are equal there (tests/host/test_drawn.py holds that draw still).
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.hosts import CFG_SCALE, STEPS, arguments, host
from bench.scores import bootstrap, mean
from minihost.client import Host, encoded
from minihost.shapes import world

SEED, SIZE = 90_000, 128
BOX_PX = (32, 32, 96, 96)
STRENGTHS = [k / 10 for k in range(11)]
DENOISING = 0.75


def scene(index: int, kind: int, side: int) -> world.Scene:
    """Of one index all kinds have the same background: 0 a guide, 1 a prompt, 2 what img2img begins with."""
    things = world.scene_at_random(np.random.default_rng((SEED, kind, index)), side, side, 2).things
    return world.Scene(side, side, list(world.BACKGROUNDS)[index % len(world.BACKGROUNDS)], things)


def distance(picture: np.ndarray, guide: np.ndarray, box: Sequence[int] = BOX_PX) -> float:
    """Mean difference in grey levels between a guide and what a picture shows in its box (left, top, right, bottom) px."""
    left, top, right, bottom = box
    return float(np.abs(picture[top:bottom, left:right].astype(float) - guide).mean())


def drawn(on: Host, sampler: str, route: str, index: int, plan: dict | None) -> np.ndarray:
    """Picture `index` (SIZE, SIZE, 3) uint8; RuntimeError with the host's sentence."""
    own = {"init_images": [encoded(world.render(scene(index, 2, SIZE)))], "denoising_strength": DENOISING} if route == "img2img" else {}
    answer = on.run(route, plan, prompt=world.caption(scene(index, 1, SIZE)), seed=SEED + index, width=SIZE, height=SIZE, steps=STEPS,
                    cfg_scale=CFG_SCALE, sampler_name=sampler, scheduler="Automatic", **own)
    if answer.status != 200:
        raise RuntimeError(answer.error)
    return answer.pictures[0]


def main() -> None:
    chosen = arguments(__doc__, 16).parse_args()
    print("| route | strength | distance to the guide, grey levels | 95 % interval | equal to the plain picture |\n|---|---|---|---|---|")
    with host(chosen) as on:
        for route in ("txt2img", "img2img"):
            guides = [world.render(scene(index, 0, BOX_PX[2] - BOX_PX[0])) for index in range(chosen.count)]
            plain = [drawn(on, chosen.sampler, route, index, None) for index in range(chosen.count)]
            box = [edge / SIZE for edge in BOX_PX]
            for strength in STRENGTHS:
                plans = [{"guides": [{"image": encoded(guide), "box": box, "strength": strength}]} for guide in guides]
                pictures = [drawn(on, chosen.sampler, route, index, plan) for index, plan in enumerate(plans)]
                value, low, high = bootstrap(mean, np.array([distance(*pair) for pair in zip(pictures, guides)]))
                same = sum(np.array_equal(*pair) for pair in zip(pictures, plain))
                print(f"| {route} | {strength:.1f} | {value:.2f} | {low:.2f} to {high:.2f} | {same} of {chosen.count} |", flush=True)


if __name__ == "__main__":
    main()
