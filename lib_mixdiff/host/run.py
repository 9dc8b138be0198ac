"""One batch of a job that has a plan, from the hook that finds the plan to the end of its sampling."""
from __future__ import annotations

import json
import math
from contextlib import ExitStack

from modules import shared
from torch import Tensor

from lib_mixdiff.conds import Cond, tokens
from lib_mixdiff.errors import PlanError
from lib_mixdiff.host.encode import Entries, Texts
from lib_mixdiff.host.job import refuse
from lib_mixdiff.host.protocols import Conds, Denoiser, Job
from lib_mixdiff.host.rows import Rows, answering
from lib_mixdiff.host.seams import during_next_sample, during_next_sampling
from lib_mixdiff.mosaic import Mosaic
from lib_mixdiff.plan import Plan
from lib_mixdiff.regions import CELL_PX, Canvas, active_regions, members

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
            if not run.entered and not Plan.from_dict(wanted).is_neutral:
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
        hires = plan.for_hires()
        for of_pass in (plan, hires):
            if of_pass is not None:
                refuse(of_pass, p)
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
        self.and_weights = [[part.weight for part in parts] for parts in conds.batch]
        if not all(any(weights) for weights in self.and_weights):
            raise PlanError("job", p.prompt, "end it differently, or give one of its parts a weight",
                            "the weight of the job's own prompt is 0, as a colon and a number at its end are read ({value})")
        self.encode()

    def encode(self) -> None:
        """With the checkpoint that is loaded now: the refiner changes it in mid-run."""
        regions = active_regions(self.plan)
        places = {id(r): f"regions[{i}]" for i, r in enumerate(self.plan.regions)}
        self.checkpoint = shared.sd_model.sd_checkpoint_info
        self.texts = Texts(self.p, [r.prompt for r in regions], [r.negative_prompt for r in regions], [places[id(r)] for r in regions])
        self.mosaics: dict[Entries, Mosaic] = {}

    def step(self, denoiser: Denoiser, text_cond: Cond) -> None:
        if shared.sd_model.sd_checkpoint_info is not self.checkpoint:
            self.encode()
            self.rows.inner = denoiser.inner_model      # a new one: the host has dropped that in which we stood
            denoiser.model_wrap = self.rows
        if tokens(text_cond) % 77 == CONTROLNET_ROW:
            raise PlanError("job", "ControlNet", "switch its units off, or mixdiff",
                            "mixdiff does not do {value} together with regions yet")
        if (entries := self.texts.entries(denoiser.step)) not in self.mosaics:
            texts = self.texts.at(denoiser.step, denoiser)
            self.mosaics[entries] = Mosaic(members(self.plan, self.canvas, self.p.cfg_scale, texts), self.and_weights)
        self.rows.start(self.mosaics[entries])


def canvas_of(p: Job, x: Tensor) -> Canvas:
    """What this pass draws on. The hires pass is as large as x says; "only masked" draws a part of the picture."""
    height, width = x.shape[-2:]
    scale = math.sqrt(height * width * CELL_PX**2 / (p.height * p.width)) if getattr(p, "is_hr_pass", False) else 1.0
    if getattr(p, "paste_to", None) is None or not p.overlay_images:
        return Canvas(height, width, scale=scale)
    (left, top, w, h), picture = p.paste_to, p.overlay_images[0]
    view = left / picture.width, top / picture.height, (left + w) / picture.width, (top + h) / picture.height
    return Canvas(height, width, view, scale)


def step_done(network: object, x: Tensor) -> None:
    """For `on_cfg_denoised`: the host is about to sum the rows x. Cannot fail. Another extension may have wrapped us."""
    for _ in range(WRAPPED):
        if isinstance(network, Rows):
            with network.keeping_errors():
                network.finish(x)
            return
        network = getattr(network, "inner_model", None) or getattr(network, "inner", None)
