"""One batch of a job that has a plan, from the hook that finds the plan to the end of its sampling."""
from __future__ import annotations

import json
from contextlib import ExitStack

from modules import shared
from torch import Tensor

from lib_mixdiff.boxes import view_before_cut, view_of_area
from lib_mixdiff.conds import Cond, tokens
from lib_mixdiff.errors import PlanError
from lib_mixdiff.host.encode import Entries, Texts
from lib_mixdiff.host.job import refuse, refuse_weightless
from lib_mixdiff.host.protocols import Conds, Denoiser, Job
from lib_mixdiff.host.rows import Rows, answering
from lib_mixdiff.host.seams import during_next_sample, during_next_sampling
from lib_mixdiff.mosaic import Mosaic
from lib_mixdiff.plan import Plan
from lib_mixdiff.regions import CELL_PX, Canvas, active_regions, placed, told

CONTROLNET_ROW = 1      # ControlNet marks its conds with one more token
WRAPPED = 5             # wrappers around ours that are looked through


def asked(args: tuple) -> object:
    """The plan among the script's arguments, [PLAN] or [enabled, PLAN]; None where there is none, or only blanks.
    Arguments of any other form come back as they are, which no plan is."""
    if args and isinstance(args[0], bool):
        args = args[1:] if args[0] else ()
    given = [a for a in args if a is not None and not (isinstance(a, str) and not a.strip())]
    if not given:
        return None
    return args[0] if len(given) == 1 and given[0] is args[0] else list(args)


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
        self.sampling: Sampling | None = None

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
            if cls.of(p) is not run:        # the batch was begun anew
                return
            del p._mixdiff
            if not run.entered and not shared.state.interrupted and not Plan.from_dict(wanted).is_neutral:
                raise PlanError("job", type(p).__name__, "use it without mixdiff, or mixdiff without it",
                                "a script that replaces this job's sampling does not let mixdiff in ({value})")

        during_next_sample(p, finish)

    def before_sampling(self, p: Job, x: Tensor, conds: Conds) -> None:
        """For `process_before_every_sampling`, once a pass. Cannot fail."""
        during_next_sampling(p.sampler, lambda stack: self.enter(stack, p, x, conds))

    def enter(self, stack: ExitStack, p: Job, x: Tensor, conds: Conds) -> None:
        """Everything that can fail, inside the launch: what is raised here reaches the user."""
        self.entered = True
        plan = Plan.from_dict(self.wanted)
        if plan.is_neutral:
            return
        hires = refuse(plan, p)
        if getattr(p, "is_hr_pass", False):
            plan = hires
        if plan is None or not active_regions(plan):
            return
        self.sampling = Sampling(plan, p, canvas_of(p, x), conds, stack.enter_context(answering(p.sampler.model_wrap_cfg)))
        stack.callback(setattr, self, "sampling", None)

    def step(self, denoiser: Denoiser, text_cond: Cond) -> None:
        """For `on_cfg_denoiser`: the next calls of the network bring one step's rows. Cannot fail."""
        if self.sampling is not None:
            with self.sampling.rows.keeping_errors():
                self.sampling.step(denoiser, text_cond)


class Sampling:
    """One pass of a batch: its regions' prompts, encoded, and the mosaics that they make."""

    def __init__(self, plan: Plan, p: Job, canvas: Canvas, conds: Conds, rows: Rows) -> None:
        self.plan, self.p, self.canvas, self.rows = plan, p, canvas, rows
        self.and_weights = [[part.weight for part in parts] for parts in conds.batch]       # by image
        for weights in self.and_weights:
            refuse_weightless("job", p.prompt, weights)
        self.members = placed(plan, canvas, p.cfg_scale)
        self.encode()

    def encode(self) -> None:
        """With the checkpoint that is loaded now: the refiner changes it in mid-run."""
        regions = active_regions(self.plan)
        self.checkpoint = shared.sd_model.sd_checkpoint_info
        self.texts = Texts(self.p, [r.prompt for r in regions], [r.negative_prompt for r in regions])
        self.entries: Entries | None = None
        self.mosaic: Mosaic | None = None           # of these entries

    def step(self, denoiser: Denoiser, text_cond: Cond) -> None:
        if shared.sd_model.sd_checkpoint_info is not self.checkpoint:
            if denoiser.model_wrap is not self.rows:        # the host has dropped us, with what we stood in
                self.rows.inner = denoiser.inner_model
                denoiser.model_wrap = self.rows
            self.encode()
        if tokens(text_cond) % 77 == CONTROLNET_ROW:
            raise PlanError("job", "ControlNet", "switch its units off, or mixdiff",
                            "mixdiff does not do {value} together with regions yet")
        entries = self.texts.entries(denoiser.step)
        if self.mosaic is None or entries != self.entries:
            self.entries = entries
            self.mosaic = Mosaic(told(self.members, self.texts.at(denoiser.step, denoiser)), self.and_weights)
        self.rows.start(self.mosaic)


def canvas_of(p: Job, x: Tensor) -> Canvas:
    """What this pass draws on; boxes refer to the output picture, of which it may be less or more."""
    height, width = x.shape[-2:]
    if getattr(p, "is_hr_pass", False):
        return Canvas(height, width, scale=p.hr_upscale_to_x / p.width)
    if getattr(p, "enable_hr", False) and (p.truncate_x or p.truncate_y):       # the hires pass cuts off what is too much
        whole = p.hr_upscale_to_x // CELL_PX, p.hr_upscale_to_y // CELL_PX
        return Canvas(height, width, view_before_cut((p.truncate_x, p.truncate_y), whole))
    if getattr(p, "paste_to", None) and p.overlay_images:
        return Canvas(height, width, view_of_area(p.paste_to, p.overlay_images[0].size, (CELL_PX * width, CELL_PX * height)))
    return Canvas(height, width)


def step_done(network: object, x: Tensor) -> None:
    """For `on_cfg_denoised`: the host is about to sum the rows x. Cannot fail. Another extension may have wrapped us."""
    for _ in range(WRAPPED):
        if isinstance(network, Rows):
            with network.keeping_errors():
                network.finish(x)
            return
        network = getattr(network, "inner_model", None) or getattr(network, "inner", None)
