"""What stands under Settings > mixdiff."""
from __future__ import annotations

from typing import Any

from modules import shared
from modules.call_queue import queue_lock

from lib_mixdiff.autoencoder import TILE
from lib_mixdiff.boxes import CELL_PX
from lib_mixdiff.errors import PlanError
from lib_mixdiff.tiles import BATCH

WHEN = ["when needed", "always", "never"]
HOW = ["exact", "fast"]
HIDDEN, SHOWN = LOOKS = ["no", "after a job's pictures"]
UNLED, SOME, _ = LEADS = ["no", "some blocks", "all blocks"]
REMEDY = "change it where the WebUI is started"
# name: default, label, choices or (lowest, highest, step), what stands beside it
OPTIONS: dict[str, tuple[Any, str, Any, str]] = {
    "mixdiff_tile_batch": (BATCH, "Tiles in one call of the network", (1, 64, 1), "where the plan does not say"),
    "mixdiff_vae_when": (WHEN[0], "Tiled VAE", WHEN, "in jobs with a plan; needed = the picture would not fit into the free memory"),
    "mixdiff_vae_how": (HOW[0], "Tiled VAE's way", HOW, "exact: the same picture, in up to thrice the time; fast: nearly, in twice"),
    "mixdiff_vae_tile": (CELL_PX * TILE, "Tiled VAE's tiles, px", (128, 2048, 64), "larger ones are faster and take more memory"),
    "mixdiff_looks": (HIDDEN, "Where painted words look", LOOKS, "a picture of the cross-attention to each phrase, step by step"),
    "mixdiff_leads": (UNLED, "Where each model of an ensemble leads", LEADS, "a picture of AFA's attention maps, step by step"),
    "mixdiff_weights_gpu": (0.0, "Other checkpoints on the GPU, GB", (0, 96, 0.5), "0: half of what is free when a job begins"),
    "mixdiff_weights_ram": (0.0, "Other checkpoints in RAM, GB", (0, 256, 1), "the same; what finds no place stays in its file"),
}


def setting(name: str) -> Any:
    """As the user has set it. The API makes floats of integers."""
    default = OPTIONS[name][0]
    return type(default)(getattr(shared.opts, name, default))


def of_choices() -> dict[str, Any]:
    """Those of several choices, for the page: {name: {"value", "choices"}}."""
    return {name: {"value": setting(name), "choices": choices} for name, (_, _, choices, _) in OPTIONS.items() if isinstance(choices, list)}


def choose(wanted: dict[str, Any]) -> dict[str, Any]:
    """{name: value}, kept as the settings page keeps them; PlanError where there is no such setting or choice, or they are closed."""
    known = of_choices()
    for name, value in wanted.items():
        if name not in known:
            raise PlanError(name, value, f"use {', '.join(known)}", "there is no such setting of several choices")
        if value not in known[name]["choices"]:
            raise PlanError(name, value, f"use {', '.join(known[name]['choices'])}")
    with queue_lock:            # while a job runs the settings are that job's own
        for name, value in wanted.items():
            try:
                shared.opts.set(name, value)
                if (file := getattr(shared, "config_filename", None)) is not None:     # the embedded host keeps none
                    shared.opts.save(file)
            except (AssertionError, OSError) as error:
                raise PlanError(name, value, REMEDY, f"this setting cannot be changed ({error})") from error
            if setting(name) != value:
                raise PlanError(name, value, REMEDY, "this setting cannot be changed here")
    return of_choices()
