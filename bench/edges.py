"""How steep a picture is, where: seams at the borders of regions, sharpness inside them.

The picture's gradient is taken between neighbouring pixels, in grey levels a px (0 to 255), the mean of its channels.
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

REACH_PX = 4            # half of a latent cell: the decoder does not keep a step to the pixel
STEEPEST = 0.005        # share of the pixels: those of one edge from top to bottom in the seams' pictures


def columns(picture: np.ndarray) -> np.ndarray:
    """(width - 1,) of a picture (height, width, 3): the mean step between each column of pixels and the next."""
    return np.abs(np.diff(picture.astype(np.float64), axis=1)).mean((0, 2))


def seam(picture: np.ndarray, borders: Sequence[int]) -> tuple[float, float]:
    """Steps at vertical borders, and elsewhere; their ratio is the seam score, 1 where a border is like any other place.

    A border x lies between the columns x - 1 and x. It counts with the steepest column within REACH_PX, and so does
    every place that is too far from all borders to see one, so that neither texture nor noise is a seam.
    ValueError where borders leave no such place, or lie outside the picture.
    """
    steps = columns(picture)
    if not borders or min(borders) < REACH_PX or max(borders) > picture.shape[1] - REACH_PX:
        raise ValueError(f"borders {list(borders)} of a picture {picture.shape[1]} px wide: each has to be {REACH_PX} px inside")
    # steps[x - 1] lies at border x; the window of an even size reaches from x - REACH_PX to x + REACH_PX - 1
    near = ndimage.maximum_filter1d(steps, 2 * REACH_PX, mode="nearest")
    elsewhere = np.ones(len(near), bool)
    elsewhere[:REACH_PX] = elsewhere[len(near) - REACH_PX + 1:] = False
    for border in borders:
        elsewhere[max(0, border - 2 * REACH_PX):border + 2 * REACH_PX - 1] = False
    if not elsewhere.any():
        raise ValueError(f"borders {list(borders)} leave nothing of a picture {picture.shape[1]} px wide to compare with")
    return float(near[[border - 1 for border in borders]].mean()), float(near[elsewhere].mean())


def steepest(picture: np.ndarray, spans: Sequence[tuple[int, int]]) -> float:
    """The steepest column within `spans` of columns [first, last): a straight edge from top to bottom, wherever it stands."""
    steps = columns(picture)
    return max(float(steps[first:last - 1].max()) for first, last in spans)


def sharpness(picture: np.ndarray, spans: Sequence[tuple[int, int]]) -> float:
    """Mean of the steepest gradients, in any direction, within `spans` of columns [first, last): those of STEEPEST of the pixels."""
    found = []
    for first, last in spans:
        part = picture[:, first:last].astype(np.float64)
        right, down = np.diff(part, axis=1)[:-1], np.diff(part, axis=0)[:, :-1]
        found.append(np.sqrt(right**2 + down**2).mean(-1).ravel())
    gradients = np.sort(np.concatenate(found))
    return float(gradients[-max(1, round(STEEPEST * len(gradients))):].mean())
