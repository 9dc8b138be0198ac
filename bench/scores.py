"""Scores of a detected picture, for the benches and the demo: does it show what was asked for, where it was asked for?"""
from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from bench.detector import Detection

ONE_BACKGROUND = 0.97       # share of the background's pixels


def has(detection: Detection, names: Iterable[str]) -> bool:
    """Whether all the named things are there, two of one name twice; more may be. ("red circle", "blue square")"""
    return not Counter(names) - Counter(detection.names)


def has_only(detection: Detection, names: Iterable[str]) -> bool:
    """Whether exactly the named things are there, and nothing that has no name."""
    return Counter(t.name for t in detection.things) == Counter(names)


def placed(detection: Detection, box: Sequence[float], name: str) -> bool:
    """Whether a thing of that name has its centroid in the box (x0, y0, x1, y1), fractions of the picture, half-open."""
    x0, y0, x1, y1 = box
    if not (x0 < x1 and y0 < y1):
        raise ValueError(f"box {tuple(box)}: x0 < x1 and y0 < y1 is needed, in fractions of the picture")
    return any(t.name == name and x0 <= t.x / detection.width < x1 and y0 <= t.y / detection.height < y1 for t in detection.things)


def one_background(detection: Detection, name: str | None = None) -> bool:
    """Whether the background is one colour of the four all over, across region borders too; the named one where one is named."""
    right = detection.background is not None if name is None else detection.background == name
    return right and detection.background_share >= ONE_BACKGROUND


def wilson(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's score interval of a success rate, 95 % by default; (0, 1) without trials. Wilson 1927, eq. of p. 209."""
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes in {trials} trials: 0 <= successes <= trials is needed")
    if trials == 0:
        return 0.0, 1.0
    p, n = successes / trials, trials
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def bootstrap(statistic: Callable[..., np.ndarray], *columns: np.ndarray, draws: int = 2000) -> tuple[float, float, float]:
    """A statistic of columns (pictures,) and its 95 % interval over pictures drawn again, the same of all columns; percentiles of
    Efron 1979's bootstrap. `statistic` takes the columns as (..., pictures) and works along the last axis."""
    if len({len(column) for column in columns}) != 1 or not len(columns[0]):
        raise ValueError(f"columns of {[len(column) for column in columns]} values: as many in each are needed, one at least")
    picked = np.random.default_rng(0).integers(0, len(columns[0]), (draws, len(columns[0])))
    low, high = np.percentile(statistic(*(column[picked] for column in columns)), [2.5, 97.5])
    return float(statistic(*columns)), float(low), float(high)


def interval(statistic: Callable[..., np.ndarray], *columns: np.ndarray) -> str:
    """`bootstrap`'s, as it is printed."""
    value, low, high = bootstrap(statistic, *columns)
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


def mean(values: np.ndarray) -> np.ndarray:
    return values.mean(-1)


def ratio_of_means(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return above.mean(-1) / below.mean(-1)
