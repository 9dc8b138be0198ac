"""One batch of a job that has a plan, from the hook that finds the plan to the end of its sampling."""
from __future__ import annotations

import json
from contextlib import ExitStack

from torch import Tensor

from lib_mixdiff.errors import PlanError
from lib_mixdiff.host.encode import encoded
from lib_mixdiff.host.job import refuse
from lib_mixdiff.host.protocols import Conds, Job
from lib_mixdiff.host.rows import Rows, answering
from lib_mixdiff.host.seams import during_next_sample, during_next_sampling
from lib_mixdiff.mosaic import Mosaic
from lib_mixdiff.plan import Plan
from lib_mixdiff.regions import active_regions, members

CONTROLNET_ROW = 1      # ControlNet marks its conds with one more token


def asked(args: tuple) -> object:
    """The plan among the script's arguments, [PLAN] or [enabled, PLAN]; None where there is none, or only blanks."""
    if args and isinstance(args[0], bool):
        args = args[1:] if args[0] else ()
    plan = args[0] if args else None
    return None if isinstance(plan, str) and not plan.strip() else plan


def infotext(args: tuple) -> str | None:
    """The plan as one line for the picture's parameters; None where the job has none, or one that will be refused."""
    if (wanted := asked(args)) is None:
        return None
    try:
        plan = Plan.from_dict(wanted)
    except PlanError:
        return None
    return None if plan.is_neutral else json.dumps(plan.to_dict(defaults=False), ensure_ascii=False)


class Run:
    """Hangs on the job (`p._mixdiff`) while one batch is sampled."""

    def __init__(self, wanted: object) -> None:
        self.wanted = wanted
        self.entered = False
        self.rows: Rows | None = None

    @classmethod
    def of(cls, p: Job | None) -> Run | None:
        return getattr(p, "_mixdiff", None)

    @classmethod
    def begin(cls, p: Job, args: tuple) -> None:
        """For `process_batch`. Cannot fail: what is wrong with the plan is raised when sampling starts."""
        if (wanted := asked(args)) is None:
            return
        run = p._mixdiff = cls(wanted)

        def finish() -> None:
            del p._mixdiff
            if not run.entered and not Plan.from_dict(wanted).is_neutral:
                raise PlanError("job", type(p).__name__, "use it without mixdiff, or mixdiff without it",
                                "a script that replaces this job's sampling does not let mixdiff in ({value})")

        during_next_sample(p, finish)

    def before_sampling(self, p: Job, x: Tensor, conds: Conds) -> None:
        """For `process_before_every_sampling`. Cannot fail."""
        during_next_sampling(p.sampler, lambda stack: self.enter(stack, p, x, conds))

    def enter(self, stack: ExitStack, p: Job, x: Tensor, conds: Conds) -> None:
        """Everything that can fail, inside the launch: what is raised here reaches the user."""
        self.entered = True
        plan = Plan.from_dict(self.wanted)
        if plan.is_neutral:
            return
        refuse(plan, p)
        height, width = x.shape[-2:]
        places = {id(r): f"regions[{i}]" for i, r in enumerate(plan.regions)}
        regions = active_regions(plan)
        texts = encoded(p, [r.prompt for r in regions], [r.negative_prompt for r in regions], [places[id(r)] for r in regions])
        and_weights = [[part.weight for part in parts] for parts in conds.batch]
        mosaic = Mosaic(members(plan, height, width, p.cfg_scale, texts), and_weights)
        self.rows = stack.enter_context(answering(p.sampler.model_wrap_cfg, mosaic))
        stack.push(self._leave)

    def _leave(self, exception_type: type | None, *_: object) -> None:
        rows, self.rows = self.rows, None
        if exception_type is None:
            rows.check()

    def step(self, text_cond_shape: tuple) -> None:
        """For `on_cfg_denoiser`: the next calls of the network bring one step's rows. Cannot fail."""
        if self.rows is None:
            return
        with self.rows.keeping_errors():
            self.rows.start()
            if text_cond_shape[1] % 77 == CONTROLNET_ROW:
                raise PlanError("job", "ControlNet", "switch its units off, or mixdiff",
                                "mixdiff does not do {value} together with regions yet")


def step_done(network: object, x: Tensor) -> None:
    """For `on_cfg_denoised`: the host is about to sum the rows x. Cannot fail."""
    if isinstance(network, Rows):
        with network.keeping_errors():
            network.finish(x)
