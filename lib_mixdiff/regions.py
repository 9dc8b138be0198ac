"""From the plan's regions to the members of a mosaic."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from lib_mixdiff.boxes import WHOLE, Box, Fractions, latent_box
from lib_mixdiff.conds import Cond
from lib_mixdiff.errors import PlanError
from lib_mixdiff.mosaic import Member, Part
from lib_mixdiff.plan import Plan, Region
from lib_mixdiff.shares import shares
from lib_mixdiff.windows import WINDOWS

CELL_PX = 8                 # of the latent, in pixels
LARGEST_FEATHER = 0.25      # of the smallest region's short side


def active_regions(plan: Plan) -> list[Region]:
    return [r for r in plan.regions if r.enabled and r.weight > 0]


@dataclass(frozen=True)
class Canvas:
    """What one pass draws on: latent cells, the part of the output picture that they show, and their size against the first pass."""
    height: int
    width: int
    view: Fractions = WHOLE
    scale: float = 1.0


def placed(plan: Plan, canvas: Canvas, cfg_scale: float) -> list[tuple[int | None, Member]]:
    """A member for each active region that reaches the canvas, with the region's place among the active ones, and one for the
    base where it has a say, with None. They still say what the job says, whose guidance scale is `cfg_scale`."""
    height, width = canvas.height, canvas.width
    regions, boxes, weights = [], [], []
    feather = canvas.scale * plan.base.feather / CELL_PX
    for index, region in enumerate(active_regions(plan)):
        whole = latent_box(region.box, height, width, canvas.view)
        if (box := whole.cut(height, width)) is None:
            continue
        feather = min(feather, LARGEST_FEATHER * min(whole.height, whole.width))
        regions.append((index, region)), boxes.append(box)
        weights.append(region.weight * WINDOWS[region.window](whole.height, whole.width, box.inside(whole)))
    base, parts = shares(height, width, list(zip(boxes, weights)), plan.base.share, feather)
    result: list[tuple[int | None, Member]] = []
    for (index, region), box, part in zip(regions, boxes, parts):
        crop = box.grown(height, width)
        share = torch.zeros(crop.height, crop.width)
        share[box.inside(crop).of] = part
        guidance = region.cfg_scale or cfg_scale
        if guidance != cfg_scale and cfg_scale == 0:
            raise PlanError(f"regions[{plan.regions.index(region)}].cfg_scale", region.cfg_scale,
                            "give the job a CFG scale above 0, or leave the regions' cfg_scale out",
                            "{value} is reached through the job's own guidance, which is 0")
        result.append((index, Member(crop, share, guidance / cfg_scale if cfg_scale else 1.0)))
    if bool((base > 0).any()):
        result.append((None, Member(Box(0, 0, height, width), base)))
    return result


def told(members: Sequence[tuple[int | None, Member]], texts: Sequence[tuple[tuple[Part, ...] | None, Cond | None]]) -> list[Member]:
    """What `placed` returned, each with its own words; `texts` holds for each active region its conds and its uncond, None for
    the job's own."""
    return [m if index is None else replace(m, parts=texts[index][0], uncond=texts[index][1]) for index, m in members]
