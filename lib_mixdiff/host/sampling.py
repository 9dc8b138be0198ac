"""One model in one pass of a batch that has a plan: what hangs on it while the host samples."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from math import log1p

from modules import shared
from torch import Tensor

from lib_mixdiff.boxes import CELL_PX, Box, view_before_cut, view_of_area
from lib_mixdiff.conds import Cond, tokens
from lib_mixdiff.errors import PlanError, inside
from lib_mixdiff.experts import Pair, at, possible
from lib_mixdiff.host.clock import Clock, in_sigmas
from lib_mixdiff.host.encode import Texts
from lib_mixdiff.host.guiding import Guiding, pulls_of
from lib_mixdiff.host.images import opened
from lib_mixdiff.host.job import refuse_weightless
from lib_mixdiff.host.lora import Calls, Loras, calls_in
from lib_mixdiff.host.networks import Networks
from lib_mixdiff.host.noise import Noise
from lib_mixdiff.host.painting import Painting, contexts
from lib_mixdiff.host.protocols import Conds, Denoiser, Job
from lib_mixdiff.host.rows import Rows, answering
from lib_mixdiff.host.said import Said
from lib_mixdiff.host.settings import SHOWN, SOME, UNLED, setting
from lib_mixdiff.host.sizes import sizes_of
from lib_mixdiff.host.tiling import grid_of
from lib_mixdiff.host.wording import crops_of
from lib_mixdiff.influence import COLORS
from lib_mixdiff.leads import Leads
from lib_mixdiff.looks import Looks
from lib_mixdiff.models import Aggregation, Experts, Model
from lib_mixdiff.moments import Moment
from lib_mixdiff.mosaic import Member, Mosaic, Rivals, Told
from lib_mixdiff.mosaic import Model as Network
from lib_mixdiff.paint import Brush
from lib_mixdiff.plan import ModelPlan
from lib_mixdiff.regions import Canvas, active_regions, located, placed, told
from lib_mixdiff.seeds import weights_by_seed

CONTROLNET_ROW = 1      # ControlNet marks its conds with one more token
SOME_TIME = Moment(1000, 1.0, 0.0)      # where nothing depends on it
SOME_BLOCKS = 4         # first, last, and two between, in a picture of who leads
WRAPPED = 5             # wrappers around ours that are looked through


class Sampling:
    """A plan's regions in one pass: their places, noise and prompts, the mosaics that they make, and its guides."""

    rows: Rows | None = None                    # where regions act, while the network is asked
    working: tuple[Pair, ...] = ()              # whose networks, at this step
    painting: Painting | None = None            # where words are painted
    brush: Brush | None = None
    guiding: Guiding | None = None
    span = (0.0, 1.0)                           # of a step that one answer takes

    def __init__(self, plan: ModelPlan, p: Job, x: Tensor, noise: Tensor, beside: Sampling | None = None, calls: Calls = (),
                 name: str = "") -> None:
        """Puts the noise of regions with seeds into `noise`. `beside`: another one's, in the same pass. `p` says the base's prompt,
        which `calls` these LoRAs beside the job's."""
        self.plan, self.p, self.start_noise, self.name = plan, p, noise, name
        self.clock = beside.clock if beside else Clock(p.sampler)
        self.canvas = canvas_of(p, x)
        self.regions, self.grid = active_regions(plan), grid_of(plan)
        self.places = located(plan, self.canvas, opened)
        self.members = {}                       # by the indexes of the regions that act
        self.all = tuple(place.index for place in self.places)
        leads = setting("mixdiff_leads")
        self.leads = None if leads == UNLED else Leads(self.canvas.height, self.canvas.width, SOME_BLOCKS if leads == SOME else None)
        self.networks = Networks(p, beside.loras if beside else Loras(p), self.leads)
        self.loras, self.models = self.networks.loras, models_of(plan, self.networks)
        self.together: Sequence[Sampling] = [self]      # all that are asked in a step
        self.calls = self.calls_of(calls)
        self.looks = Looks(self.canvas.height, self.canvas.width) if plan.paint.phrases and setting("mixdiff_looks") == SHOWN else None
        self.paints = bool(self.looks or plan.paint.acts)
        self.contested = any(each.mode == "saliency" for each in self.aggregations)
        self.ranged = bool(any(place.region.range for place in self.places) or any(isinstance(model, Experts) for model in self.models)
                           or self.paints or self.contested)
        whole = self.members_of(self.all)
        self.noise: Noise | None = None
        if any(region.seed is not None for region in self.regions):
            weights = weights_by_seed(whole, [region.seed for region in self.regions], self.canvas.height, self.canvas.width)
            self.noise = Noise(p, weights, len(noise))
            self.noise.into(noise, p)

    def prepare(self, stack: ExitStack, conds: Conds) -> None:
        """Encodes what it says; until the stack ends the network may be asked `answering`."""
        if pulls := pulls_of(self.plan, self.canvas):
            self.guiding = Guiding(self.p, pulls, self.start_noise, self.clock)
        self.and_weights = weights_of(conds)
        if self.mixes:
            self.encode()
        if self.looks or self.leads:
            stack.callback(self.show_looks)

    @property
    def mixes(self) -> bool:
        """Whether the network's rows are other ones than the host's."""
        return bool(self.regions or self.grid or any(self.models) or self.paints or self.calls[-1])

    @property
    def several(self) -> bool:
        """Whether there is an ensemble of models."""
        return any(each.calls > 1 for each in self.aggregations)

    @property
    def aggregations(self) -> list[Aggregation]:
        return [pair.unet for model in self.models for pair in possible(model) if isinstance(pair.unet, Aggregation)]

    def refuse_weightless(self, conds: Conds) -> None:
        """PlanError where the job's prompt could not be told from one that is not there."""
        for weights in weights_of(conds) if self.mixes else ():
            refuse_weightless("job", self.p.prompt, weights)

    def enter(self, stack: ExitStack, conds: Conds) -> None:
        """For the whole pass, whose noise and loop are its own, too."""
        self.refuse_weightless(conds)
        self.prepare(stack, conds)
        self.lead(stack)
        stack.enter_context(self.answering())

    def lead(self, stack: ExitStack) -> None:
        """The pass's noise and loop are its own."""
        if self.noise is not None:
            self.noise.enter(stack, self.p)
        if self.guiding is not None:
            self.guiding.lead(stack)
        self.clock.enter(stack)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """What asks the host's denoiser in the block, asks this one."""
        with ExitStack() as stack:
            if self.guiding is not None:
                stack.enter_context(self.guiding.pulling())
            if self.mixes:
                self.rows = stack.enter_context(answering(self.p.sampler.model_wrap_cfg))
                stack.callback(setattr, self, "rows", None)
            yield

    def show_looks(self) -> None:
        names, first = [phrase.phrase for phrase in self.plan.paint.phrases], len(self.plan.regions) + len(self.plan.guides)
        colors = [COLORS[(first + index) % len(COLORS)] for index in range(len(names))]         # as the canvas has them
        for image in range(len(self.and_weights)):
            index = self.p.iteration * self.p.batch_size + image
            title = f"picture {index + 1}" + self.name + (", hires pass" if getattr(self.p, "is_hr_pass", False) else "")
            look = f"{title}: where its painted words look, and their share of the attention"
            for picture in (self.looks and self.looks.picture(image, look, names, colors),
                            self.leads and self.leads.picture(image, title)):
                if picture:
                    self.p._mixdiff_looks.append((index, picture))

    def members_of(self, acting: tuple[int, ...]) -> list[tuple[int | None, Member]]:
        if acting not in self.members:
            self.members[acting] = placed([place for place in self.places if place.index in acting], self.plan, self.canvas,
                                          self.p.cfg_scale)
        return self.members[acting]

    def sized(self, member: Member) -> Member:
        """What is the whole canvas keeps the host's own sizes."""
        whole = Box(0, 0, self.canvas.height, self.canvas.width)
        return member if member.crop == whole else replace(member, sizes=sizes_of(member.crop, member.frame or whole))

    def calls_of(self, base: Calls) -> list[Calls]:
        """Of LoRAs, by region, where those of the base act as well, and last of the base; their files are read and tried."""
        several: list[Calls] = []
        for index, region in enumerate(self.regions):
            with inside("regions"), inside(self.plan.regions.index(region)), inside("prompt"):
                several.append((*base, *calls_in(region.prompt, self.p)))
                self.read(self.models[index], several[-1])
        self.read(self.models[-1], base)
        self.loras.note([*several, base])
        return [*several, base]

    def read(self, model: Model, calls: Calls) -> None:
        for pair in possible(model):
            self.networks.unet(calls, pair.unet), self.networks.texts(calls, pair.text)

    def voices(self, index: int, pair: Pair) -> list[tuple[Network | None, bool]]:
        """Of each model of an ensemble, else of the one: the text encoder, and whether the job's own rows are wanted of it."""
        encoders, several = self.networks.texts(self.calls[index], pair.text), isinstance(pair.unet, Aggregation) and pair.unet.calls > 1
        if several and len(encoders) == 1:
            encoders *= pair.unet.calls
        return [(encoder, several or encoder is not None) for encoder in encoders]

    def encode(self) -> None:
        """With the checkpoint that is loaded now: the refiner changes it in mid-run."""
        self.checkpoint = shared.sd_model.sd_checkpoint_info
        if self.paints:
            said = Said.by(self.p, [region.prompt for region in self.regions], getattr(self.p, "is_hr_pass", False))
            crops = crops_of(self.members_of(self.all), self.plan)
            self.painting = Painting(self.plan, said, self.canvas, crops, self.start_noise.device)
            self.brush = Brush(shared.sd_model.model.diffusion_model, contexts, self.plan.paint.scale, self.looks)
        asked: dict[tuple[Network | None, bool], set[int]] = {}         # who uses which text encoder at some time
        for index, model in enumerate(self.models):
            for pair in possible(model):
                for voice in self.voices(index, pair):
                    asked.setdefault(voice, set()).add(index)
        self.texts = {voice: Texts(self.p, *([getattr(r, name) if i in users else None for i, r in enumerate(self.regions)]
                                             for name in ("prompt", "negative_prompt")), *voice) for voice, users in asked.items()}
        self.mosaics: dict[tuple, Mosaic] = {}          # by what acts, and what it says
        self.said: dict[tuple, list[Told | Rivals]] = {}         # by who works, and which entries of their prompts hold

    def step(self, denoiser: Denoiser, text_cond: Cond, level: Tensor) -> None:
        """For `on_cfg_denoiser`: the next calls of the network bring one step's rows. Cannot fail."""
        if self.rows is not None:
            with self.rows.keeping_errors():
                self.begin(self.rows, denoiser, text_cond, level)

    def begin(self, rows: Rows, denoiser: Denoiser, text_cond: Cond, level: Tensor) -> None:
        if shared.sd_model.sd_checkpoint_info is not self.checkpoint:
            if denoiser.model_wrap is not rows:         # the host has dropped us, with what we stood in
                rows.inner = denoiser.inner_model
                denoiser.model_wrap = rows
            self.encode()
        refuse_controlnet(text_cond)
        (step, call), acting, now = self.clock.call, self.all, SOME_TIME
        if self.ranged:
            now = self.clock.moment(level)
            acting = tuple(place.index for place in self.places if now.within(place.region.range))
        working = self.at(now)
        grid = self.grid and self.grid.at(step)
        saying = working, tuple(texts.entries(denoiser.step) for texts in self.texts.values())
        if self.painting:
            saying += (self.painting.said.entries(denoiser.step),)
            self.brush.weight = log1p(now.sigma) if now.within(self.plan.paint.range) else 0.0
            if self.looks:
                self.looks.at(step)
        if self.leads:
            self.leads.looks.at(step)
        if self.contested:              # with sigmas, predictions differ by sigma times what their noises do
            self.networks.saliency.unit = self.p.cfg_scale / (now.sigma if in_sigmas(denoiser) else 1.0)
        key = acting, grid, saying
        if working != self.working and any(self.models):
            self.working = working
            self.networks.expect([each.at(moment) for moment in [now, *self.clock.moments(step + 1)] for each in self.together])
        if key not in self.mosaics:
            if grid != self.grid:           # a shifted one hardly ever comes back
                self.mosaics.clear()
                if self.painting:
                    self.painting.forget()
            members = self.members_of(acting) if grid is None else grid.tiles(self.members_of(acting))
            members = [(index, self.sized(member)) for index, member in members]
            if saying not in self.said:
                self.said[saying] = self.each(working, denoiser)
            self.mosaics[key] = Mosaic(told(members, self.said[saying]), self.and_weights, grid and grid.largest,
                                       [each for each in (self.brush, self.leads) if each])
        counts = step > 0 and call == 0         # the host's own count of steps begins with the second
        rows.start(self.mosaics[key], self.span if counts else None)

    def at(self, now: Moment) -> tuple[Pair, ...]:
        """Which checkpoints work."""
        return tuple(at(model, now) for model in self.models)

    def alone(self) -> None:
        """From now on no other model is asked beside it."""
        self.together, self.span, self.working = [self], (0.0, 1.0), ()

    def each(self, working: tuple[Pair, ...], denoiser: Denoiser) -> list[Told | Rivals]:
        """Of the regions, and last of the base."""
        step = denoiser.step
        said = {voice: texts.at(step, denoiser) for voice, texts in self.texts.items()}
        rows = {voice: texts.rows(step, denoiser) for voice, texts in self.texts.items()}
        told: list[Told | Rivals] = []
        for index, pair in enumerate(working):
            voices = [Told(*(said[voice][index] if index < len(self.regions) else (None, None)), rows[voice])
                      for voice in self.voices(index, pair)]
            if self.painting is not None:
                voices = [self.painting.painted(each, index, step) for each in voices]
            told.append(self.networks.told(voices, self.calls[index], pair.unet))
        return told


def weights_of(conds: Conds) -> list[list[float]]:
    """Of the parts of an `AND`, by image."""
    return [[part.weight for part in parts] for parts in conds.batch]


def refuse_controlnet(text_cond: Cond) -> None:
    if tokens(text_cond) % 77 == CONTROLNET_ROW:
        raise PlanError("job", "ControlNet", "switch its units off, or mixdiff",
                        "mixdiff does not do {value} together with regions, paint or several models yet")


def models_of(plan: ModelPlan, networks: Networks) -> list[Model]:
    """Of the regions, and last of the base; their files are read for the job."""
    with inside("model"):
        networks.read(plan.model)
    for region in active_regions(plan):
        with inside("regions"), inside(plan.regions.index(region)), inside("model"):
            networks.read(region.model)
    return [*(plan.model if region.model is None else region.model for region in active_regions(plan)), plan.model]


def canvas_of(p: Job, x: Tensor) -> Canvas:
    """What this pass draws on; boxes refer to the output picture, of which it may be less or more."""
    height, width = x.shape[-2:]
    if getattr(p, "is_hr_pass", False):
        return Canvas(height, width, scale=p.hr_upscale_to_x / p.width)
    if getattr(p, "enable_hr", False) and (p.truncate_x or p.truncate_y):       # the hires pass cuts off what is too much
        whole = p.hr_upscale_to_x // CELL_PX, p.hr_upscale_to_y // CELL_PX
        return Canvas(height, width, view_before_cut((p.truncate_x, p.truncate_y), whole))
    if (pasted := getattr(p, "paste_to", None)) and p.overlay_images:
        picture, drawn = p.overlay_images[0].size, (CELL_PX * width, CELL_PX * height)
        view = view_of_area(pasted, picture, drawn)
        return Canvas(height, width, view, scale=drawn[0] / (picture[0] * (view[2] - view[0])))
    return Canvas(height, width)


def step_done(network: object, x: Tensor) -> None:
    """For `on_cfg_denoised`: the host is about to sum the rows x. Cannot fail. Another extension may have wrapped us."""
    for _ in range(WRAPPED):
        if isinstance(network, Rows):
            with network.keeping_errors():
                network.finish(x)
            return
        network = getattr(network, "inner_model", None) or getattr(network, "inner", None)
