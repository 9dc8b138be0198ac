"""The plan: the one configuration that page, API, infotext, XYZ plot and presets speak. Public, versioned."""
# ruff: noqa: RUF009  (each call below makes a dataclass field)
from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from lib_mixdiff.documents import as_pasted, changed, decoded, leave_out, merged
from lib_mixdiff.errors import PlanError, inside, within
from lib_mixdiff.fields import Image, Integer, Number, Off, Switch, Text
from lib_mixdiff.models import Model, model_key
from lib_mixdiff.nested import Array, Box, Either, Json, JsonObject, List, Object
from lib_mixdiff.ranges import Range, range_key
from lib_mixdiff.records import Record, choice, key

VERSION = 1
SIDE = Integer(64, 16384, step=8)  # px of a canvas, whole latent cells
TILE_PX = (64, 4096)
OVERLAP = Integer(0, TILE_PX[1] - 1)  # px
OVERLAPS = (OVERLAP, Array(OVERLAP, "x", "y"))

MASK = "spans the whole canvas, white = in, grey = in part"
FIRST_PASS_ONLY = {"canvas", "hires"}
ESSENTIAL = {"box", "mask", "image"}  # of a region or guide: without it, it would act somewhere else, or not at all
MIXED = 0.4  # of the steps (AMDM, 4.1: 20 of 50)
MOST_LEFT_OUT = 1000  # things of a pasted plan
WINDOWS = ("gaussian", "constant", "quartic")  # all with peak 1

# what several records hold
name_key = partial(key, Text(1, 80, unless="base"), None, "unique in its list")
enabled_key = partial(key, Switch(), True)
prompt_key = partial(key, Text(), None, "null = this pass's own")
cfg_scale_key = partial(key, Number(1, 100), None, "null = this pass's own")
seed_key = partial(key, Integer(-1, 2**32 - 1), None, "null = the job's noise, -1 = random, else image k of the job uses seed + k")
control_units_key = partial(key, List(Integer(0)), None, "ControlNet's, from 0; null = all units, [] = none")
weight_key = partial(key, Number(0, 1000), 1.0)
eta_key = partial(key, Number(0, 100), 0.3, "length of the correction toward the model's own mean, at 512 x 512")
box_key = partial(key, Box(), None, "fractions of the canvas; null = the mask's bounds, else the whole canvas")
strength_key = partial(key, Number(0, 10))
image_key = partial(key, Image())


class Version(Integer):
    """The only one so far; a newer plan may hold what this code would leave out."""

    def checked(self, value: float) -> int:
        if value > VERSION:
            raise PlanError("", value, "update mixdiff to use it", "{value} was made by a newer mixdiff")
        return super().checked(value)


@dataclass(frozen=True, kw_only=True)
class Base(Record):
    """The job's own prompt, which fills what no region covers."""

    share: float = key(Number(0, 1), 0.0, "its share inside regions")
    feather: int = key(Integer(0, 4096), 64, "px of the first pass, of the picture where only a part of it is drawn; scales with the pass")


@dataclass(frozen=True, kw_only=True)
class Tiles(Record):
    """Pieces that the network sees one at a time; px of the pass at hand."""

    width: int | None = key(Integer(*TILE_PX), None, "px; null = the model's native size")
    height: int | None = key(Integer(*TILE_PX), None, "px; null = the model's native size")
    overlap: int | tuple[int, int] | None = key(Either(lambda: OVERLAPS), None, "px, one or [x, y]; null = a quarter of the tile")
    window: str = choice(*WINDOWS)
    grid: str = choice("shifted", "fixed")
    coords: str = choice("canvas", "own", about="SDXL: crop coordinates of the canvas, or of its own picture")
    batch: int | None = key(Integer(1), None, "tiles in one network call; null = from the settings")

    def check(self) -> None:
        both = self.overlap if isinstance(self.overlap, tuple) else (self.overlap, self.overlap)
        for overlap, side, name in zip(both, (self.width, self.height), ("width", "height")):
            if overlap is not None and side is not None and overlap >= side:
                remedy = f"use less than the tile's {name}, which is {side}"
                raise PlanError("overlap", self.overlap, remedy, "{value} is too large")


@dataclass(frozen=True, kw_only=True)
class Region(Record):
    """A part of the canvas with a prompt, a model and a noise of its own."""

    name: str | None = name_key()
    enabled: bool = enabled_key()
    box: tuple[float, float, float, float] | None = box_key()
    mask: str | None = image_key(None, MASK)
    prompt: str | None = prompt_key()
    negative_prompt: str | None = prompt_key()
    cfg_scale: float | None = cfg_scale_key()
    seed: int | None = seed_key()
    weight: float = weight_key()
    window: str = choice(*WINDOWS)
    range: Range | None = range_key()
    model: Model = model_key(about="null = the canvas's model")
    coords: str = choice("own", "canvas", about="SDXL: crop coordinates of its own picture, or of the canvas")
    control_units: tuple[int, ...] | None = control_units_key()


@dataclass(frozen=True, kw_only=True)
class Guide(Record):
    """An image that the canvas follows inside a box while the noise is high."""

    name: str | None = name_key()
    enabled: bool = enabled_key()
    image: str = image_key(about="PNG")
    box: tuple[float, float, float, float] | None = box_key()
    mask: str | None = image_key(None, MASK)
    fit: str = choice("cover", "contain", "stretch")
    strength: float = key(Number(0, 1), 0.6, "holds while timestep > (1 - strength) * 1000; higher = closer to the image")


@dataclass(frozen=True, kw_only=True)
class Phrase(Record):
    """Words of a prompt and where they belong."""

    phrase: str = key(Text(1))
    mask: str = image_key(about=MASK)
    strength: float = strength_key(1.0, "times that of paint")
    in_: tuple[str, ...] | None = key(List(Text(1), 1), None, 'null = wherever it occurs, or "base" and names of regions')


@dataclass(frozen=True, kw_only=True)
class Paint(Record):
    """Paint with words: cross-attention biased to the phrases' masks."""

    strength: float = strength_key(0.2, "times that of each phrase")
    scale: str = choice("max", "std")
    range: Range | None = range_key()
    phrases: tuple[Phrase, ...] = key(List(Object(lambda: Phrase)), ())

    @property
    def acts(self) -> bool:
        return any(self.strength * phrase.strength > 0 for phrase in self.phrases)


@dataclass(frozen=True, kw_only=True)
class ModelPlan(Record):
    """What the plan of one AMDM model may hold."""

    v: int = key(Version(VERSION, VERSION), VERSION)
    model: Model = model_key(about="null = the loaded one")
    base: Base = key(Object(lambda: Base), Base())
    tiles: Tiles | None = key(Object(lambda: Tiles), None, "null = the whole canvas at once")
    regions: tuple[Region, ...] = key(List(Object(lambda: Region)), ())
    guides: tuple[Guide, ...] = key(List(Object(lambda: Guide)), (), "a later one lies on top")
    paint: Paint = key(Object(lambda: Paint), Paint())

    def check(self) -> None:
        on = [index for index, region in enumerate(self.regions) if region.enabled]
        if on and not any(self.regions[index].weight for index in on):
            raise no_weight("every enabled region").within(on[0]).within("regions")

    @property
    def is_neutral(self) -> bool:
        """Whether it asks for nothing, so that generation can step aside."""
        acting = any(each.enabled for each in self.regions + self.guides)
        return not (acting or self.model or self.tiles or self.paint.phrases)


@dataclass(frozen=True, kw_only=True)
class AmdmModel(Record):
    """One of AMDM's models beside the main one."""

    name: str | None = name_key()
    weight: float = weight_key()
    eta: float = eta_key()
    seed: int | None = seed_key()
    prompt: str | None = prompt_key()
    negative_prompt: str | None = prompt_key()
    cfg_scale: float | None = cfg_scale_key()
    control_units: tuple[int, ...] | None = control_units_key()
    plan: ModelPlan = key(Object(lambda: ModelPlan), ModelPlan(), "its own: no amdm, hires, canvas, ui")


@dataclass(frozen=True, kw_only=True)
class Amdm(Record):
    """Several guided models whose latents are mixed on the sphere, the first steps long."""

    steps: int | None = key(Integer(0), None, "at most the pass's; null = 40 % of them, rounded")
    weight: float = weight_key(about="of the main model")
    eta: float = eta_key()
    mix: str = choice("slerp", "lerp", "average")
    models: tuple[AmdmModel, ...] = key(List(Object(lambda: AmdmModel), 1))

    def check(self) -> None:
        if not any(each.weight for each in (self, *self.models)):
            raise no_weight("every model, the main one included")
        for index, each in self.acting if self.mix == "average" else ():
            enabled = [(["plan", "regions", i], region) for i, region in enumerate(each.plan.regions) if region.enabled]
            for path, place in [([], each), *enabled]:
                if place.seed is not None:
                    with within(["models", index, *path]):
                        raise PlanError("seed", place.seed, 'leave it out, or use another "mix"',
                                        '{value} has no effect with "average", where all models predict from one latent')

    @property
    def acting(self) -> list[tuple[int, AmdmModel]]:
        """Those that have a say, by their index; none where no step is mixed."""
        return [(index, each) for index, each in enumerate(self.models) if each.weight > 0 and self.steps != 0]

    def mixed(self, steps: int) -> int:
        """How many of a pass's steps are mixed; PlanError where it has less."""
        if self.steps is not None and self.steps > steps:
            raise PlanError("steps", self.steps, "use fewer, or leave it out", f"{{value}} are more than the {steps} of this pass")
        return max(1, round(MIXED * steps)) if self.steps is None else self.steps


@dataclass(frozen=True, kw_only=True)
class Plan(ModelPlan):
    """All that mixdiff is asked for in one job."""

    canvas: tuple[int, int] | None = key(Array(SIDE, "width", "height"), None, "px of the first pass; null = the job's")
    amdm: Amdm | None = key(Object(lambda: Amdm), None)
    hires: JsonObject | Literal[False] = key(Either(lambda: (Json(), Off())), JsonObject({}), "merge patch (RFC 7396); false = plain pass")
    ui: JsonObject = key(Json(), JsonObject({}), "the editor's own: kept, never read")

    @classmethod
    def from_dict(cls, value: object) -> Plan:
        """From JSON's object or its text; PlanError where it breaks a rule."""
        return super().from_dict(decoded(value))

    def to_dict(self, defaults: bool = True) -> dict:
        return {"v": self.v} | super().to_dict(defaults)

    @classmethod
    def salvage(cls, value: object, finish: Callable[[Plan], Plan] = lambda plan: plan) -> tuple[Plan, list[str]]:
        """What is understood of a pasted plan, and a sentence for each thing that had to be left out. `finish` may refuse more of it."""
        left, gone, read = [], [], super().from_dict
        try:
            value = copy.deepcopy(decoded(value))
        except PlanError as error:
            return cls(), [str(error)]
        while True:
            try:
                return finish(read(value)), left
            except PlanError as error:
                *item, key = error.path or [""]
                whole = key in ESSENTIAL and item and isinstance(item[-1], int)
                away = leave_out(value, item if whole else error.path)
                error.path = as_pasted(error.path, gone)
                left.append(str(error))
                if len(left) > MOST_LEFT_OUT:
                    return cls(), [*left, f"plan: after {len(left)} things the rest was left out, too."]
                if not away:
                    return cls(), left
                gone.append(away)

    def with_each(self, keys: Collection[str], change: Callable[[Any], Any]) -> Plan:
        """With every value under these keys changed where it is not null, in the hires pass's patch too; `ui` is left alone."""
        return Plan.from_dict(changed(self.to_dict(), keys, change, unless=("ui",)))

    def check(self) -> None:
        super().check()
        if not self.hires:
            return
        with inside("hires"):
            self.refuse_unknown(self.hires)  # with null, too, which a merge would take without a word
            for name in FIRST_PASS_ONLY & set(self.hires):
                raise PlanError(name, self.hires[name], "leave it out", "the hires pass has none of its own")
            self.for_hires()

    def for_hires(self) -> Plan | None:
        """The hires pass's own; None where that pass is plain. The canvas is the first pass's."""
        if self.hires is False:
            return None
        whole = {name: value for name, value in self.to_dict().items() if name not in FIRST_PASS_ONLY}
        return Plan.from_dict(merged(whole, dict(self.hires)))

    @property
    def is_neutral(self) -> bool:
        if self.canvas or self.amdm or not super().is_neutral:
            return False
        hires = self.for_hires() if self.hires else None
        return hires is None or hires.is_neutral


def schema() -> dict:
    """JSON Schema of a plan, draft 2020-12. What ties several fields together is checked by from_dict alone."""
    defs: dict[str, dict] = {}
    whole = Plan.schema(defs)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "mixdiff plan"} | whole | {"$defs": defs}


def no_weight(of: str) -> PlanError:
    return PlanError("weight", 0, "use a number above 0 for at least one", f"{{value}} is the weight of {of}")
