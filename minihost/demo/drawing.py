"""Pictures of the embedded host, and what a detector says of them."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.detector import Detection
from minihost.client import Host


def draw(on: Host, prompt: str, seed: int, plan: dict | None = None, width: int = 128, height: int = 128, which: int = 0,
         cfg_scale: float = 5, **settings: object) -> np.ndarray:
    """(height, width, 3) uint8 of the job's pictures this one; the program ends with the host's sentence where it refuses the job."""
    answer = on.txt2img(plan, prompt=prompt, seed=seed, width=width, height=height, steps=20, cfg_scale=cfg_scale, sampler_name="Euler",
                        override_settings=settings)
    if answer.status != 200:
        raise SystemExit(f"the embedded host refused the job: {answer.error}")
    return answer.pictures[which]


def seen(found: Detection) -> str:
    return "seen: " + (", ".join(t.name or "something" for t in found.things) or "nothing")


def of(hits: Sequence[bool], what: str) -> str:
    return f"{sum(hits)} of {len(hits)} {what}"
