"""One batch of a job that has a plan, from the hook that finds the plan to the end of its sampling."""
from __future__ import annotations

import json
from contextlib import ExitStack
from random import randrange
from typing import Any, ClassVar
from weakref import ref

from modules import shared
from torch import Tensor

from lib_mixdiff.conds import Cond
from lib_mixdiff.errors import PlanError, inside, within
from lib_mixdiff.host import vae
from lib_mixdiff.host.calls import CALLS, counted
from lib_mixdiff.host.checkpoints import forget
from lib_mixdiff.host.images import by_hash
from lib_mixdiff.host.job import refuse
from lib_mixdiff.host.mixing import Mixing, job_of
from lib_mixdiff.host.networks import Networks
from lib_mixdiff.host.prompts import chosen, has_wildcards, styled
from lib_mixdiff.host.protocols import Conds, Denoiser, Job
from lib_mixdiff.host.said import Said
from lib_mixdiff.host.sampling import Sampling, models_of
from lib_mixdiff.host.seams import during_next_sample, during_next_sampling
from lib_mixdiff.host.wording import find
from lib_mixdiff.plan import ModelPlan, Plan
from lib_mixdiff.regions import active_regions
from lib_mixdiff.seeds import RANDOM, SEEDS, has_seeds, of_image, seeded

INFOTEXT = "mixdiff"    # key of the plan under a picture


def asked(args: tuple) -> object:
    """The plan among the script's arguments, [PLAN] or [enabled, PLAN]; None where there is none, or only blanks.
    Arguments of any other form come back as they are, which no plan is."""
    if args and isinstance(args[0], bool):
        args = args[1:] if args[0] else ()
    given = [a for a in args if a is not None and not (isinstance(a, str) and not a.strip())]
    if not given:
        return None
    return args[0] if len(given) == 1 and given[0] is args[0] else list(args)


class Run:
    """Hangs on the job (`p._mixdiff`) while one batch is sampled."""

    begun: ClassVar[list[ref]] = []         # the last job: of one that fails after its sampling no hook tells

    def __init__(self, wanted: object, settled: bool) -> None:
        """`settled`: as `write` has left it; otherwise as it was asked for."""
        self.wanted, self.settled = wanted, settled
        self.entered = False
        self.sampling: Sampling | Mixing | None = None

    @classmethod
    def of(cls, p: Job | None) -> Run | None:
        return getattr(p, "_mixdiff", None)

    @classmethod
    def write(cls, p: Job, args: tuple) -> None:
        """For `process`: a VAE that reads pictures of any size, the plan's canvas as the job's, and under the pictures the plan, random
        seeds settled and images kept by their hash, which is the one that runs. Cannot fail: what is wrong with the plan is raised when
        sampling starts."""
        for last in cls.begun:
            if (job := last()) is not None:
                forget(job)
        cls.begun[:] = [ref(p)]
        p._mixdiff_looks = []
        for key in (INFOTEXT, CALLS):           # of the last cell of an XYZ plot, whose jobs share this
            p.extra_generation_params.pop(key, None)
        try:
            lines = Lines(plan := settled(asked(args) or {}, p))
            lines.of_batch(p)
        except Exception:           # comes again
            return
        if plan.canvas is not None:
            p.width, p.height = plan.canvas
        if not plan.is_neutral:
            vae.during_next(p, "init")
            p.extra_generation_params[INFOTEXT] = lines if has_seeds(plan) or has_wildcards(plan) else infotext(plan)

    @classmethod
    def begin(cls, p: Job, args: tuple) -> None:
        """For `process_batch`. Cannot fail."""
        if (wanted := asked(args)) is None:
            return
        if written := p.extra_generation_params.get(INFOTEXT):
            wanted = infotext(written.of_batch(p)) if isinstance(written, Lines) else written
            for name in ("sample", "sample_hr_pass") if getattr(p, "enable_hr", False) else ("sample",):     # two checkpoints, perhaps
                vae.during_next(p, name)
        p.extra_generation_params.pop(CALLS, None)      # of the last batch
        run = p._mixdiff = cls(wanted, bool(written))

        def finish() -> None:
            if cls.of(p) is not run:        # the batch was begun anew
                return
            del p._mixdiff
            if p.iteration + 1 >= p.n_iter or shared.state.interrupted:      # its pictures are decoded with the room
                forget(p)
            if not run.entered and not shared.state.interrupted and not Plan.from_dict(wanted).is_neutral:
                raise PlanError("job", type(p).__name__, "use it without mixdiff, or mixdiff without it",
                                "a script that replaces this job's sampling does not let mixdiff in ({value})")

        during_next_sample(p, finish)

    @classmethod
    def end(cls, p: Job, ps: Any) -> None:
        """For `post_sample`. Cannot fail."""
        if p.extra_generation_params.get(INFOTEXT):
            ps.samples = vae.decoded(ps.samples)

    @classmethod
    def show(cls, p: Job, processed: Any) -> None:
        """For `postprocess`: pictures of where painted words look, each under the text of the picture that it is about. A job that was
        stopped between two batches ends here."""
        forget(p)
        texts = list(processed.infotexts) or [processed.info]           # none of a job that was stopped before its first picture
        for index, picture in getattr(p, "_mixdiff_looks", ()):
            processed.images.append(picture)
            processed.infotexts.append(texts[min(processed.index_of_first_image + index, len(texts) - 1)])

    def before_sampling(self, p: Job, x: Tensor, noise: Tensor, conds: Conds) -> None:
        """For `process_before_every_sampling`, once a pass, with its latent and its unit noise. Cannot fail: what is wrong is raised
        inside the launch, from where it reaches the user."""
        sampling: Sampling | Mixing | None
        sampling, failed, place = None, None, ["hires"] if getattr(p, "is_hr_pass", False) else []
        try:
            if (plan := self.plan_of_pass(p)) is not None:
                with within(place):
                    jobs_noise = noise.clone()
                    sampling = main = Sampling(plan, p, x, noise)
                    if plan.amdm is not None:
                        sampling = Mixing(plan.amdm, main, x, noise, jobs_noise, place)
                    if main.noise is not None:
                        main.noise.for_brownian(p.sampler)
        except Exception as error:
            failed = error

        def enter(stack: ExitStack) -> None:
            self.entered = True
            stack.push(lambda error, *where: forget(p) if error else None)
            if failed is not None:
                raise failed
            if sampling is not None:
                with within(place):
                    sampling.enter(stack, conds)
                self.sampling = sampling
                stack.callback(setattr, self, "sampling", None)
            if CALLS in p.extra_generation_params or (sampling is not None and sampling.several):
                stack.enter_context(counted(p))

        during_next_sampling(p.sampler, enter)

    def plan_of_pass(self, p: Job) -> Plan | None:
        """None where this pass is plain; PlanError."""
        plan = Plan.from_dict(self.wanted) if self.settled else Lines(settled(self.wanted, p)).of_batch(p)
        if plan.is_neutral:
            return None
        hires = refuse(plan, p)
        if hires is not None and getattr(p, "enable_hr", False) and not getattr(p, "hr_checkpoint_name", None):
            with inside("hires"):       # before the first pass has taken its time
                self.try_hires(hires, p)
        plan = hires if getattr(p, "is_hr_pass", False) else plan
        return None if plan is None or plan.is_neutral else plan

    def try_hires(self, plan: Plan, p: Job) -> None:
        """PlanError where the hires pass would have one."""
        self.try_model(plan, p)
        if plan.amdm is not None:
            with inside("amdm"):
                plan.amdm.mixed(p.hr_second_pass_steps or p.steps)
                for index, model in plan.amdm.acting:
                    with within(["models", index, "plan"]):
                        self.try_model(model.plan, job_of(model, p))

    def try_model(self, plan: ModelPlan, p: Job) -> None:
        models_of(plan, Networks(p))
        if plan.paint.acts and not getattr(p, "is_hr_pass", False):
            said = Said.by(p, [region.prompt for region in active_regions(plan)], hires=True)
            find(plan, said, otherwise='leave it out there with "hires": {"paint": null}')

    def step(self, denoiser: Denoiser, text_cond: Cond, level: Tensor) -> None:
        """For `on_cfg_denoiser`. Cannot fail."""
        if self.sampling is not None:
            self.sampling.step(denoiser, text_cond, level)


class Lines:
    """The line of each picture of a job, as the host asks for a parameter that is not the same for all (processing.py, create_infotext)."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.plans: dict[int, Plan] = {}        # by batch, with the lines of wildcards that its pictures share

    def of_batch(self, p: Job, batch: int | None = None) -> Plan:
        """None: the one at hand. By the seed of its first picture; PlanError."""
        batch = p.iteration if batch is None else batch
        if batch not in self.plans:
            self.plans[batch] = chosen(self.plan, p.all_seeds[batch * p.batch_size])
        return self.plans[batch]

    def __call__(self, p: Job, index: int, use_main_prompt: bool = False, iteration: int = 0, **of_picture: object) -> str:
        """`index` counts in the batch at hand, or in the job where the host says its `iteration`; the grid asks with `use_main_prompt`,
        after the last one."""
        if use_main_prompt:
            return infotext(self.of_batch(p, 0))
        return infotext(self.of_batch(p), (p.iteration - iteration) * p.batch_size + index)


def settled(wanted: object, p: Job) -> Plan:
    """With the job's styles, numbers for random seeds, and images kept here by their hash. PlanError."""
    plan = styled(Plan.from_dict(wanted), getattr(p, "styles", None) or ())
    plan = seeded(plan, lambda seed: randrange(SEEDS) if seed == RANDOM else seed)
    return plan.with_each(["image", "mask"], by_hash)


def infotext(plan: Plan, image: int = 0) -> str:
    """The plan as one line for the parameters of one of the job's pictures: as the first of a job, it would be the same."""
    plan = seeded(plan, lambda seed: of_image(seed, image))
    return json.dumps(plan.to_dict(defaults=False), ensure_ascii=False)
