"""Where mixdiff enters a run of the WebUI: one-shots on objects that live no longer than the run."""
from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from torch import Tensor

from lib_mixdiff.host.protocols import Job, Sampler


def during_next_sampling(sampler: Sampler, enter: Callable[[ExitStack], None]) -> None:
    """Calls `enter` when the next sampling starts; what it puts on the stack is undone when that ends, however it ends.

    For `process_before_every_sampling`, where an exception would be logged and the job go on without us: this cannot fail,
    and what `enter` raises reaches the user.
    """
    launch, used = sampler.launch_sampling, False

    def once(steps: int, func: Callable[[], Tensor]) -> Tensor:
        nonlocal used
        if used:                # another extension saved and restored us: step aside
            return launch(steps, func)
        used = True
        if vars(sampler).get("launch_sampling") is once:
            del sampler.launch_sampling
        with ExitStack() as stack:
            enter(stack)
            return launch(steps, lambda: _without_recursion_error(func))

    sampler.launch_sampling = once


def during_next_sample(p: Job, finish: Callable[[], None]) -> None:
    """Calls `finish` when the next `p.sample` has returned a result or raised."""
    sample, own, used = p.sample, vars(p).get("sample"), False

    def once(*args, **kwargs):
        nonlocal used
        if used:
            return sample(*args, **kwargs)
        used = True
        if vars(p).get("sample") is once:
            if own is None:
                del p.sample
            else:
                p.sample = own
        try:
            result = sample(*args, **kwargs)
        except BaseException:
            finish_quietly()
            raise
        finish()
        return result

    def finish_quietly() -> None:
        try:
            finish()
        except Exception:       # the first error is the one to show
            pass

    p.sample = once


def _without_recursion_error(func: Callable[[], Tensor]) -> Tensor:
    """The WebUI's `launch_sampling` takes a RecursionError for a bad schedule and returns the last latent as the picture."""
    try:
        return func()
    except RecursionError as error:
        raise RuntimeError(f"sampling with mixdiff ran into a RecursionError: {error}") from error
