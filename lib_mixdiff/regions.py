"""From the plan's regions to the members of a mosaic."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from PIL import Image
from torch import Tensor

from lib_mixdiff.boxes import CELL_PX, WHOLE, Box, Fractions, latent_box
from lib_mixdiff.errors import PlanError, inside
from lib_mixdiff.masks import bounded, grey, in_cells
from lib_mixdiff.mosaic import Member, Rivals, Told
from lib_mixdiff.plan import ModelPlan, Region
from lib_mixdiff.shares import shares
from lib_mixdiff.windows import WINDOWS

LARGEST_FEATHER = 0.25      # of the smallest region's short side


def active_regions(plan: ModelPlan) -> list[Region]:
    return [r for r in plan.regions if r.enabled and r.weight > 0]


@dataclass(frozen=True)
class Canvas:
    """What one pass draws on: latent cells, the part of the output picture that they show, and how much larger than in the first
    pass, or where only a part of a picture is drawn than in that picture."""
    height: int
    width: int
    view: Fractions = WHOLE
    scale: float = 1.0


@dataclass(frozen=True)
class Place:
    """A region on one canvas: its cells, and how much it has to say there by itself."""
    index: int              # among the active ones
    region: Region
    whole: Box              # parts may lie outside the canvas
    box: Box
    weight: Tensor          # (box height, box width), with its window
    mask: Tensor | None     # (box height, box width) in 0..1


def located(plan: ModelPlan, canvas: Canvas, opened: Callable[[str], Image.Image]) -> list[Place]:
    """A place for each active region that reaches the canvas. `opened` reads an image of the plan; PlanError where a mask is empty."""
    height, width = canvas.height, canvas.width
    places = []
    for index, region in enumerate(active_regions(plan)):
        fractions, pixels = region.box, None
        if region.mask is not None:
            with inside("regions"), inside(plan.regions.index(region)):
                with inside("mask"):
                    pixels = grey(opened(region.mask))
                fractions = bounded(pixels, region.box, region.mask)
        whole = latent_box(fractions, height, width, canvas.view)
        if (box := whole.cut(height, width)) is None:
            continue
        mask = None if pixels is None else in_cells(pixels, height, width, canvas.view)[box.of]
        weight = region.weight * WINDOWS[region.window](whole.height, whole.width, box.inside(whole))
        places.append(Place(index, region, whole, box, weight, mask))
    return places


def placed(places: Sequence[Place], plan: ModelPlan, canvas: Canvas, cfg_scale: float) -> list[tuple[int | None, Member]]:
    """A member for each of these places where it has a say, with the region's index among the active ones, and one for the base,
    with None. They still say what the job says, whose guidance scale is `cfg_scale`.

    A region's network sees its box and nothing more. Grown to a multiple of 8 cells, which the network would not need to halve three
    times (hosts join what does not fit), the crop shows parts of the neighbours: its own object may then stand there, where it has no
    weight, or is cut off (shapes, three columns of 6 of 16 cells: 84 % of the objects in place, with crops as wide as the boxes 98 %).
    """
    height, width = canvas.height, canvas.width
    feather = min([canvas.scale * plan.base.feather / CELL_PX, *(LARGEST_FEATHER * min(p.whole.height, p.whole.width) for p in places)])
    base, parts = shares(height, width, [(p.box, p.weight, p.mask) for p in places], plan.base.share, feather)
    result: list[tuple[int | None, Member]] = []
    for place, part in zip(places, parts):
        guidance = place.region.cfg_scale or cfg_scale
        if guidance != cfg_scale and cfg_scale == 0:
            raise PlanError(f"regions[{plan.regions.index(place.region)}].cfg_scale", guidance,
                            "give the job a CFG scale above 0, or leave the regions' cfg_scale out",
                            "{value} is reached through the job's own guidance, which is 0")
        if bool((part > 0).any()):
            frame = place.box if place.region.coords == "own" else None
            result.append((place.index, Member(place.box, part, guidance / cfg_scale if cfg_scale else 1.0, frame=frame)))
    if bool((base > 0).any()):
        result.append((None, Member(Box(0, 0, height, width), base)))
    return result


def told(members: Sequence[tuple[int | None, Member]], each: Sequence[Told | Rivals]) -> list[Member]:
    """What `placed` returned, each with its own model and words; `each` holds those of the active regions, and last those of the
    base."""
    return [replace(member, told=each[-1 if index is None else index]) for index, member in members]
