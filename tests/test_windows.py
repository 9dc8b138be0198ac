"""Laws of windows, boxes and shares."""
from __future__ import annotations

import math
import random

import pytest
import torch

from lib_mixdiff.boxes import Box, latent_box, view_before_cut, view_of_area
from lib_mixdiff.shares import shares
from lib_mixdiff.windows import WINDOWS, gaussian_window


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("size", [(1, 1), (5, 8), (64, 7), (96, 160)])
def test_a_window_is_positive_symmetric_and_at_most_one(name, size):
    window = WINDOWS[name](*size)
    assert window.shape == size and window.dtype == torch.float64
    assert (window > 0).all() and window.max() <= 1
    assert torch.allclose(window, window.flip(0)) and torch.allclose(window, window.flip(1))
    if size[0] % 2 == size[1] % 2 == 1:
        assert window.max() == 1


def test_the_gaussian_window_is_the_papers():
    height, width = 6, 9
    for i in range(height):
        for j in range(width):
            density = 1.0
            for k, n in ((i, height), (j, width)):
                u, mid = k / n, (n - 1) / 2 / n
                density *= math.exp(-((u - mid) ** 2) / (2 * 0.01))
            assert float(gaussian_window(height, width)[i, j]) == pytest.approx(density, rel=1e-12)


def test_a_constant_window_is_one_everywhere():
    assert (WINDOWS["constant"](3, 4) == 1).all()


@pytest.mark.parametrize("fractions, cells, expected", [
    ((0, 0, 1, 1), (8, 16), Box(0, 0, 8, 16)),
    (None, (8, 16), Box(0, 0, 8, 16)),
    ((1 / 3, 0, 2 / 3, 1), (16, 24), Box(0, 8, 16, 16)),       # thirds of 24 cells are whole cells
    ((1 / 3, 0, 2 / 3, 1), (16, 16), Box(0, 5, 16, 11)),       # of 16 they are rounded outward
    ((0.333333333, 0, 0.666666667, 1), (16, 24), Box(0, 8, 16, 16)),
    ((0.5, 0.5, 0.5 + 1e-4, 0.5 + 1e-4), (16, 16), Box(8, 8, 9, 9)),
])
def test_boxes_are_rounded_outward(fractions, cells, expected):
    assert latent_box(fractions, *cells) == expected


@pytest.mark.parametrize("fractions", [(0.5, 0, 0.5 + 1e-10, 1), (1 - 1e-11, 0, 1, 1), (0, 1 - 1e-11, 1, 1)])
def test_the_thinnest_box_is_a_cell(fractions):
    for n in range(1, 130):
        box = latent_box(fractions, n, n)
        assert box.height >= 1 and box.width >= 1 and box.bottom <= n and box.right <= n and box.top >= 0 and box.left >= 0


def scattered(rng: random.Random, height: int, width: int, count: int) -> list[tuple[Box, torch.Tensor, torch.Tensor | None]]:
    regions = []
    for _ in range(count):
        top, left = rng.randint(0, height - 2), rng.randint(0, width - 2)
        box = Box(top, left, rng.randint(top + 1, height), rng.randint(left + 1, width))
        grey = torch.tensor([[rng.choice([0.0, rng.random(), 1.0]) for _ in range(box.width)] for _ in range(box.height)], dtype=torch.float64)
        regions.append((box, rng.uniform(0.1, 5) * WINDOWS[rng.choice(list(WINDOWS))](box.height, box.width), rng.choice([None, grey])))
    return regions


def test_all_shares_sum_to_one_at_every_cell():
    rng = random.Random(1)
    for _ in range(100):
        height, width = rng.randint(2, 30), rng.randint(2, 30)
        regions = scattered(rng, height, width, rng.randint(1, 5))
        base, parts = shares(height, width, regions, rng.choice([0, rng.random(), 1]), rng.choice([0, rng.uniform(0, 12)]))
        total = base.clone()
        for (box, _, mask), part in zip(regions, parts):
            assert (part >= 0).all() and (mask is None or (part[mask == 0] == 0).all())
            total[box.of] += part
        assert torch.allclose(total, torch.ones(height, width), atol=1e-6)


def test_the_papers_window_at_96_cells_still_sums_to_one():
    base, (part,) = shares(96, 96, [(Box(0, 0, 96, 96), gaussian_window(96, 96), None)])
    assert (base == 0).all() and (part == 1).all()


def test_the_base_under_the_regions_is_written_out():
    """Against the sentence of the design, cell by cell: what no region covers is the base's, and a feather leads there."""
    rng = random.Random(2)
    for _ in range(20):
        height, width, share, feather = rng.randint(4, 14), rng.randint(4, 14), rng.random(), rng.uniform(0.5, 6)
        regions = scattered(rng, height, width, rng.randint(1, 3))
        largest = torch.zeros(height, width, dtype=torch.float64)
        for box, weight, mask in regions:
            largest[box.of] = torch.maximum(largest[box.of], torch.ones_like(weight) if mask is None else mask)
        covered = largest > 0
        base, _ = shares(height, width, regions, share, feather)
        holes = [(y, x) for y in range(height) for x in range(width) if not covered[y, x]]
        for y in range(height):
            for x in range(width):
                t = min([1.0, *(math.hypot(y - v, x - u) / feather for v, u in holes)])
                m = (1 - share) * t * t * (3 - 2 * t) * float(largest[y, x])
                assert float(base[y, x]) == pytest.approx(1 - m, abs=1e-6)


@pytest.mark.parametrize("area, picture, canvas", [((64, 96, 128, 128), (256, 256), (128, 128)), ((0, 0, 256, 64), (256, 64), (128, 128)),
                                                   ((10, 20, 50, 200), (300, 240), (512, 256)), ((3, 5, 7, 11), (20, 20), (64, 64))])
def test_a_canvas_shows_an_area_centred(area, picture, canvas):
    left, top, width, height = area
    x0, y0, x1, y1 = view_of_area(area, picture, canvas)
    zoom = canvas[0] / (x1 - x0) / picture[0]
    assert zoom == pytest.approx(canvas[1] / (y1 - y0) / picture[1]), "nothing is stretched"
    assert max(width / canvas[0], height / canvas[1]) * zoom == pytest.approx(1), "it fits"
    assert (x0 + x1) / 2 * picture[0] == pytest.approx(left + width / 2) and (y0 + y1) / 2 * picture[1] == pytest.approx(top + height / 2)


@pytest.mark.parametrize("cut, whole", [((0, 16), (16, 32)), ((5, 0), (33, 16)), ((3, 7), (20, 20))])
def test_what_is_cut_off_lies_outside_of_the_picture(cut, whole):
    x0, y0, x1, y1 = view_before_cut(cut, whole)
    for cut_cells, cells, start, end in ((cut[0], whole[0], x0, x1), (cut[1], whole[1], y0, y1)):
        kept = [start + (i + 0.5) / cells * (end - start) for i in range(cells)][cut_cells // 2:cells - (cut_cells + 1) // 2]
        assert kept == pytest.approx([(i + 0.5) / len(kept) for i in range(len(kept))])


def test_of_a_box_that_is_seen_in_part_the_part_weighs_as_in_the_whole():
    view = (0.25, 0.0, 0.75, 1.0)
    whole = latent_box((0.0, 0.0, 1.0, 1.0), 16, 16, view)
    assert whole == Box(0, -8, 16, 24) and whole.cut(16, 16) == Box(0, 0, 16, 16)
    for window in WINDOWS.values():
        part = window(whole.height, whole.width, whole.cut(16, 16).inside(whole))
        assert torch.equal(part, window(16, 32)[:, 8:24])
    assert latent_box((0.8, 0.0, 1.0, 1.0), 16, 16, view).cut(16, 16) is None
