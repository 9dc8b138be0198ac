"""Where mixdiff enters a run of the WebUI: one-shots on objects that live no longer than the run."""
from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from torch import Tensor

from lib_mixdiff.host.protocols import Job, Sampler


def during_next_sampling(sampler: Sampler, enter: Callable[[ExitStack], None]) -> None:
    """Calls `enter` when the next sampling starts; what it puts on the stack is undone when that ends, however it ends.

    For `process_before_every_sampling`, where an exception would be logged and the job go on without us: this cannot fail,
    and what `enter` raises reaches the user.
    """
    def around(launch: Callable, steps: int, func: Callable[[], Tensor]) -> Tensor:
        with ExitStack() as stack:
            enter(stack)
            return launch(steps, lambda: _without_recursion_error(func))

    once(sampler, "launch_sampling", around)


def during_next_sample(p: Job, finish: Callable[[], None]) -> None:
    """Calls `finish` when the next `p.sample` has returned a result or raised; the first error is the one that is raised."""
    def around(sample: Callable, *args: Any, **kwargs: Any) -> Any:
        try:
            result = sample(*args, **kwargs)
        except BaseException:
            try:
                finish()
            except Exception:
                pass
            raise
        finish()
        return result

    once(p, "sample", around)


def once(owner: object, name: str, around: Callable) -> None:
    """The next call of `owner.name` is `around(plain, ...)`; then the owner is as it was."""
    plain, own, used = getattr(owner, name), vars(owner).get(name), False

    def shot(*args: Any, **kwargs: Any) -> Any:
        nonlocal used
        if used:                # another extension saved and restored us: step aside
            return plain(*args, **kwargs)
        used = True
        if vars(owner).get(name) is shot:
            if own is None:
                delattr(owner, name)
            else:
                setattr(owner, name, own)
        return around(plain, *args, **kwargs)

    setattr(owner, name, shot)


def _without_recursion_error(func: Callable[[], Tensor]) -> Tensor:
    """The WebUI's `launch_sampling` takes a RecursionError for a bad schedule and returns the last latent as the picture."""
    try:
        return func()
    except RecursionError as error:
        raise RuntimeError(f"sampling with mixdiff ran into a RecursionError: {error}") from error
