"""Rectangles of latent cells, and the way from a plan's fractions to them."""
from __future__ import annotations

import math
from dataclasses import dataclass

Fractions = tuple[float, float, float, float]      # x0, y0, x1, y1

WHOLE: Fractions = (0.0, 0.0, 1.0, 1.0)
CELL_PX = 8     # of the latent, in pixels
ROUND = 6       # decimals of a cell: 1/3 of 24 cells is 8 cells, not 9


@dataclass(frozen=True)
class Box:
    """Cells top <= y < bottom and left <= x < right of a canvas."""
    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def of(self) -> tuple:
        """The index of these cells in a tensor (..., height, width)."""
        return (..., slice(self.top, self.bottom), slice(self.left, self.right))

    def cut(self, height: int, width: int) -> Box | None:
        """What of it lies on a canvas of height x width cells; None where nothing does."""
        box = Box(max(self.top, 0), max(self.left, 0), min(self.bottom, height), min(self.right, width))
        return box if box.height > 0 and box.width > 0 else None

    def inside(self, outer: Box) -> Box:
        """The same cells, counted from the corner of `outer`."""
        return Box(self.top - outer.top, self.left - outer.left, self.bottom - outer.top, self.right - outer.left)


def latent_box(fractions: Fractions | None, height: int, width: int, view: Fractions = WHOLE) -> Box:
    """Fractions x0, y0, x1, y1 of a picture, rounded outward to cells, at least one; None is the whole, what the canvas shows beside
    the picture too.

    The canvas of height x width cells shows the part `view` of the picture; of the box, parts may lie outside the canvas.
    """
    left, top, right, bottom = view
    x0, y0, x1, y1 = fractions or (min(left, 0.0), min(top, 0.0), max(right, 1.0), max(bottom, 1.0))
    rows = _cells((y0 - top) / (bottom - top), (y1 - top) / (bottom - top), height)
    columns = _cells((x0 - left) / (right - left), (x1 - left) / (right - left), width)
    return Box(rows[0], columns[0], rows[1], columns[1])


def view_of_area(area: tuple[int, int, int, int], picture: tuple[int, int], canvas: tuple[int, int]) -> Fractions:
    """Where a canvas lies, in fractions of a picture of which it shows one area (left, top, width, height), fitted in and centred
    (the WebUI's modules/images.py, resize_image 2). All in px, sizes as (width, height)."""
    left, top, width, height = area
    zoom = min(canvas[0] / width, canvas[1] / height)
    x, y, half_x, half_y = left + width / 2, top + height / 2, canvas[0] / zoom / 2, canvas[1] / zoom / 2
    return (x - half_x) / picture[0], (y - half_y) / picture[1], (x + half_x) / picture[0], (y + half_y) / picture[1]


def view_before_cut(cut: tuple[int, int], whole: tuple[int, int]) -> Fractions:
    """Where a canvas lies, in fractions of a picture that is left of it when so many cells, (x, y), are cut off of its whole size, the
    lesser half of them left and above (the WebUI's modules/processing.py, sample_hr_pass)."""
    left, top = (-(c // 2) / (n - c) for c, n in zip(cut, whole))
    right, bottom = ((n - c // 2) / (n - c) for c, n in zip(cut, whole))
    return left, top, right, bottom


def _cells(start: float, end: float, length: int) -> tuple[int, int]:
    first, last = math.floor(round(start * length, ROUND)), math.ceil(round(end * length, ROUND))
    return (first, last) if last > first else (first - (first == length), last + (first < length))
