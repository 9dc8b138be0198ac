"""Which region has most to say where: what overlapping regions are judged by."""
from __future__ import annotations

import numpy as np

from bench.detector import Detection
from lib_mixdiff.boxes import CELL_PX
from lib_mixdiff.plan import Plan
from lib_mixdiff.regions import Canvas, located


def territories(plan: dict, width: int, height: int) -> np.ndarray:
    """(height, width) cells: the index of the region whose weight is the largest there, -1 where there is none; of equal ones the
    first. The plan's regions have boxes and no masks."""
    canvas = Canvas(height // CELL_PX, width // CELL_PX)
    places = located(Plan.from_dict(plan), canvas, lambda image: None)
    most, index = np.zeros((canvas.height, canvas.width)), np.full((canvas.height, canvas.width), -1)
    for place in places:
        weight = place.weight.numpy()
        here = weight > most[place.box.of[-2:]] * (1 + 1e-9)
        most[place.box.of[-2:]][here], index[place.box.of[-2:]][here] = weight[here], place.index
    return index


def holders(found: Detection, ground: np.ndarray) -> list[int]:
    """For each thing the region on whose territory its centroid lies."""
    return [int(ground[int(t.y) // CELL_PX, int(t.x) // CELL_PX]) for t in found.things]


def held(found: Detection, ground: np.ndarray, names: list[str]) -> list[bool]:
    """For each region whether a thing of its name stands on its territory."""
    there = {(holder, t.name) for holder, t in zip(holders(found, ground), found.things)}
    return [(index, name) in there for index, name in enumerate(names)]
