"""SDXL's size conditions: of which picture a piece of the canvas is a part, and which part."""
from __future__ import annotations

from typing import Any

import torch
from modules import devices, shared
from torch import Tensor

from lib_mixdiff.boxes import CELL_PX, Box

ORIGINAL, CROP, TARGET = "original_size_as_tuple", "crop_coords_top_left", "target_size_as_tuple"


def sizes_of(crop: Box, frame: Box) -> tuple[int, Tensor] | None:
    """For a piece of the canvas whose picture is `frame`: (first column, (1, columns)) of the `vector` of a text condition, counted from
    its end. The embedders' own way (modules/sd_models_xl.py, get_learned_conditioning). None where the loaded model has no such thing."""
    said = {ORIGINAL: (frame.height, frame.width), CROP: (crop.top - frame.top, crop.left - frame.left), TARGET: (crop.height, crop.width)}
    shift = {CROP: (getattr(shared.opts, "sdxl_crop_top", 0), getattr(shared.opts, "sdxl_crop_left", 0))}
    embedders = _embedders()
    found = []
    for embedder in embedders:
        if (key := embedder.input_key) in said:
            values = [CELL_PX * cells + more for cells, more in zip(said[key], shift.get(key, (0, 0)))]
            found.append(embedder(torch.tensor([values], device=devices.device, dtype=devices.dtype)))
    if not found:
        return None
    behind = [embedder for embedder in embedders if embedder.input_key not in said]        # the refiner's aesthetic score
    return -sum(each.shape[1] for each in found) - sum(embedder.outdim for embedder in behind), torch.cat(found, dim=1)


def _embedders() -> list[Any]:
    """Those of numbers, in the order in which they stand at the vector's end."""
    conditioner = getattr(shared.sd_model, "conditioner", None)
    return [embedder for embedder in getattr(conditioner, "embedders", []) if hasattr(embedder, "outdim")]
