"""The tiles of a pass: how large the loaded model likes them, and how many go through it at once."""
from __future__ import annotations

from modules import shared

from lib_mixdiff.plan import Plan
from lib_mixdiff.tiles import CELL_PX, Grid

SDXL_PX, SD2_V_PX, SD1_CELLS = 1024, 768, 64
BATCH = 4               # tiles in a call


def grid_of(plan: Plan) -> Grid | None:
    """None: the whole canvas at once. PlanError where its tiles cannot be had."""
    return None if plan.tiles is None else Grid.of(plan.tiles, native_px())


def native_px() -> int:
    """Side of the pictures that the loaded checkpoint was trained on. SD2's 768 px say 64 cells in their configuration, too."""
    model = shared.sd_model
    if getattr(model, "is_sdxl", False):
        return SDXL_PX
    if getattr(model, "is_sd2", False) and model.parameterization == "v":
        return SD2_V_PX
    return CELL_PX * getattr(model, "image_size", SD1_CELLS)


def largest_call(plan: Plan, grid: Grid | None) -> int | None:
    """Latent cells that one call of the network may hold for each of the host's rows; None: those of the canvas."""
    if plan.tiles is None or grid is None:
        return None
    return (plan.tiles.batch or getattr(shared.opts, "mixdiff_tile_batch", BATCH)) * grid.height * grid.width
