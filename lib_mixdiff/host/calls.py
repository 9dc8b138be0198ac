"""What a picture has cost: the U-Net's calls, among its parameters where several models had a hand in it."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from modules import shared

from lib_mixdiff.host.protocols import Job

CALLS = "mixdiff U-Net calls"


@contextmanager
def counted(p: Job) -> Iterator[None]:
    """Those of the pass that runs inside the block; the hires pass's stand beside the first one's."""
    calls, network = 0, shared.sd_model.model.diffusion_model

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    handle = network.middle_block[0].register_forward_pre_hook(count)       # which each model of an ensemble runs
    try:
        yield
    finally:
        handle.remove()
    texts = p.extra_generation_params
    if getattr(p, "is_hr_pass", False):
        texts[CALLS] = " + ".join([*([texts[CALLS]] if CALLS in texts else []), f"{calls} in the hires pass"])
    else:
        texts[CALLS] = str(calls)
