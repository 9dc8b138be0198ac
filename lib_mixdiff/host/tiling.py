"""The tiles of a pass, as large as the loaded model likes them where the plan does not say."""
from __future__ import annotations

from dataclasses import replace

from lib_mixdiff.boxes import CELL_PX
from lib_mixdiff.host.job import loaded
from lib_mixdiff.host.settings import setting
from lib_mixdiff.plan import ModelPlan
from lib_mixdiff.tiles import Grid

SDXL_PX, SD2_V_PX, SD1_CELLS = 1024, 768, 64


def grid_of(plan: ModelPlan) -> Grid | None:
    """None: the whole canvas at once. PlanError where its tiles cannot be had."""
    if plan.tiles is None:
        return None
    return Grid.of(replace(plan.tiles, batch=plan.tiles.batch or setting("mixdiff_tile_batch")), native_px())


def native_px() -> int:
    """Side of the pictures that the loaded checkpoint was trained on; SD 1's while none is loaded, since asking must not load one.
    SD2's 768 px say 64 cells in their configuration, too."""
    model = loaded()
    if getattr(model, "is_sdxl", False):
        return SDXL_PX
    if getattr(model, "is_sd2", False) and model.parameterization == "v":
        return SD2_V_PX
    return CELL_PX * getattr(model, "image_size", SD1_CELLS)
