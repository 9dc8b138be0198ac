"""From the plan's regions to the members of a mosaic."""
from __future__ import annotations

from collections.abc import Sequence

import torch

from lib_mixdiff.boxes import Box, latent_box
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


def members(plan: Plan, height: int, width: int, cfg_scale: float,
            texts: Sequence[tuple[tuple[Part, ...] | None, Cond | None]]) -> list[Member]:
    """One for each active region, and one for the base where it has a say, on a canvas of height x width latent cells.

    `texts` holds for each active region its conds and its uncond, None for the job's own; `cfg_scale` is the job's.
    """
    regions = active_regions(plan)
    boxes = [latent_box(r.box, height, width) for r in regions]
    feather = min([plan.base.feather / CELL_PX, *(LARGEST_FEATHER * min(b.height, b.width) for b in boxes)])
    weights = [r.weight * WINDOWS[r.window](b.height, b.width) for r, b in zip(regions, boxes)]
    base, parts = shares(height, width, list(zip(boxes, weights)), plan.base.share, feather)
    result = []
    for region, box, part, (conds, uncond) in zip(regions, boxes, parts, texts):
        crop = box.grown(height, width)
        share = torch.zeros(crop.height, crop.width)
        share[box.inside(crop).of] = part
        guidance = region.cfg_scale or cfg_scale
        if guidance != cfg_scale and cfg_scale == 0:
            raise PlanError(f"regions[{plan.regions.index(region)}].cfg_scale", region.cfg_scale,
                            "give the job a CFG scale above 0, or leave the regions' cfg_scale out",
                            "{value} is reached through the job's own guidance, which is 0")
        result.append(Member(crop, share, guidance / cfg_scale if cfg_scale else 1.0, conds, uncond))
    if bool((base > 0).any()):
        result.append(Member(Box(0, 0, height, width), base))
    return result

