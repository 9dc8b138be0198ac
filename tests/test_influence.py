"""The picture of what regions have to say where."""
from __future__ import annotations

import numpy as np
import pytest
import torch

from lib_mixdiff.boxes import Box
from lib_mixdiff.influence import BASE, COLORS, colored, influence, rgb
from lib_mixdiff.plan import Plan
from lib_mixdiff.regions import Canvas
from lib_mixdiff.shares import shares
from lib_mixdiff.windows import gaussian_window
from tests.test_masks import opened, painted


def test_it_is_what_shares_says():
    """Two regions that overlap, on 16 x 24 cells, the base between them."""
    plan = Plan.from_dict({"regions": [{"box": [0, 0, 0.5, 1]}, {"enabled": False}, {"box": [0.25, 0, 1, 0.5], "weight": 2}],
                           "base": {"feather": 0, "share": 0.1}})
    boxes = Box(0, 0, 16, 12), Box(0, 6, 8, 24)
    base, parts = shares(16, 24, [(box, weight * gaussian_window(box.height, box.width), None) for box, weight in zip(boxes, (1, 2))], 0.1, 0)
    found = dict(influence(plan, Canvas(16, 24), None))
    assert set(found) == {0, 2, None} and torch.equal(found[None], base)
    for index, box, part in zip((0, 2), boxes, parts):
        assert torch.allclose(found[index][box.of], part) and found[index].sum() == pytest.approx(part.sum().item())
    assert torch.allclose(sum(found.values()), torch.ones(16, 24))


def test_a_mask_and_an_empty_plan(tmp_path):
    plan = Plan.from_dict({"regions": [{"mask": painted(0, 0, 0.5, 1)}], "base": {"feather": 0}})
    (index, share), (base, rest) = influence(plan, Canvas(16, 16), lambda image: opened(image, tmp_path))
    assert (index, base) == (0, None) and torch.equal(share[:, :8], torch.ones(16, 8)) and torch.equal(share, 1 - rest)
    [(base, share)] = influence(Plan(), Canvas(8, 8), None)
    assert base is None and share.min() == 1


def test_two_regions_that_are_the_same_have_their_own_places():
    assert [index for index, _ in influence(Plan.from_dict({"regions": [{}, {}]}), Canvas(8, 8), None)] == [0, 1]


def test_colours_are_mixed_by_share():
    half = torch.full((2, 3), 0.5)
    picture = colored([(0, half), (len(COLORS), half * 0.5), (None, half * 0.5)])
    assert picture.shape == (2, 3, 3) and picture.dtype == np.uint8
    assert np.allclose(picture[0, 0], 0.75 * rgb(COLORS[0]) + 0.25 * rgb(BASE), atol=0.51)


def test_white_letters_can_be_read_on_every_colour():
    """WCAG 2, contrast of at least 4.5."""
    for color in COLORS:
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb(color) / 255]
        assert 1.05 / (np.dot(linear, [0.2126, 0.7152, 0.0722]) + 0.05) >= 4.5, color
    assert len(set(COLORS)) == len(COLORS)
