"""Laws of guide images and of moments."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from lib_mixdiff.boxes import Box
from lib_mixdiff.errors import PlanError
from lib_mixdiff.guides import Pull, fitted, holds_above, pulled, shown
from lib_mixdiff.moments import Moment
from lib_mixdiff.plan import Guide
from lib_mixdiff.ranges import Range
from lib_mixdiff.regions import Canvas
from tests.test_masks import encoded

RAMP = Image.fromarray(np.stack([np.tile(np.arange(256, dtype=np.uint8), (128, 1))] * 3, -1))      # 256 x 128 px, darker to the left


@pytest.mark.parametrize("fit, box, area", [
    ("stretch", Box(0, 0, 10, 10), (0, 0, 256, 128)), ("cover", Box(0, 0, 10, 10), (64, 0, 192, 128)), ("cover", Box(0, 0, 5, 20), (0, 32, 256, 96)),
    ("contain", Box(0, 0, 10, 10), (0, 0, 256, 128)), ("cover", Box(0, 0, 10, 20), (0, 0, 256, 128))])
def test_fit(fit, box, area):
    target, source = fitted((256, 128), fit, box)
    assert source == pytest.approx(area)
    assert target == (box if fit != "contain" else Box(2, 0, 7, 10))
    if fit != "stretch":
        assert (source[2] - source[0]) / target.width == pytest.approx((source[3] - source[1]) / target.height), "nothing is stretched"


def test_a_canvas_that_shows_a_part_gets_that_part_of_the_image():
    whole = shown(Guide(image=encoded(RAMP), fit="stretch"), RAMP, Canvas(8, 32), None)
    part = shown(Guide(image=encoded(RAMP), fit="stretch"), RAMP, Canvas(8, 16, view=(0.5, 0.0, 1.0, 1.0)), None)
    assert whole.box == Box(0, 0, 8, 32) and part.box == Box(0, 0, 8, 16) and part.picture.size == (128, 64)
    assert np.abs(np.asarray(whole.picture, int)[:, 128:] - np.asarray(part.picture)).max() <= 1
    assert shown(Guide(image=encoded(RAMP), box=(0, 0, 0.4, 1)), RAMP, Canvas(8, 16, view=(0.5, 0.0, 1.0, 1.0)), None) is None


def test_a_picture_of_16_bit_is_as_bright_as_one_of_8():
    deep = Image.fromarray(np.asarray(RAMP)[..., 0].astype(np.uint16) * 257)
    plain, same = (shown(Guide(image=encoded(RAMP)), image, Canvas(8, 16), None).picture for image in (RAMP, deep))
    assert np.array_equal(np.asarray(plain), np.asarray(same))


def test_what_is_transparent_or_masked_does_not_guide():
    image = RAMP.convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 128, 128))
    mask = Image.new("L", (32, 32))
    mask.paste(255, (0, 0, 32, 16))
    seen = shown(Guide(image=encoded(RAMP), fit="stretch", box=(0, 0, 1, 1)), image, Canvas(8, 16), mask)
    expected = torch.zeros(8, 16)
    expected[:4, 8:] = 1
    assert torch.equal(seen.mask.float(), expected)


def test_without_a_box_a_guide_is_where_its_mask_is():
    mask = Image.new("L", (32, 32))
    mask.paste(255, (0, 0, 32, 16))
    assert shown(Guide(image=encoded(RAMP)), RAMP, Canvas(8, 16), mask).box == Box(0, 0, 4, 16)
    with pytest.raises(PlanError, match=r"^mask: nothing is in"):
        shown(Guide(image=encoded(RAMP), mask=encoded(Image.new("L", (4, 4)))), RAMP, Canvas(8, 16), Image.new("L", (4, 4)))


@pytest.mark.parametrize("size", [(784, 784), (49, 98), (300, 199)])
def test_a_covering_image_is_cut_inside_its_border(size):
    for cells in range(1, 129, 3):
        left, top, right, bottom = fitted(size, "cover", Box(0, 0, 64, cells))[1]
        assert left >= 0 and top >= 0 and right <= size[0] and bottom <= size[1]


def test_pulls_lie_on_each_other_and_leave_the_input():
    x = torch.randn(2, 4, 6, 6)
    kept, half = x.clone(), torch.zeros(1, 1, 6, 6)
    half[..., :3] = 0.5
    low, high = Pull(torch.full((1, 4, 6, 6), -3.0), torch.ones(1, 1, 6, 6), 0), Pull(torch.full((1, 4, 6, 6), 5.0), half, 0)
    got = pulled(x, [low, high])
    assert torch.equal(x, kept) and (got[..., :3] == 1).all() and (got[..., 3:] == -3).all()
    noised = pulled(x, [low], scale=0.6, noise=0.8 * torch.ones_like(x))
    assert torch.allclose(noised, torch.tensor(0.6 * -3 + 0.8))
    assert pulled(x.half(), [low]).dtype == torch.float16


def test_strength_is_a_share_of_the_timesteps():
    assert [holds_above(s) < 1000 for s in (0, 0.001, 1)] == [False, True, True]
    assert holds_above(1) == 0 and holds_above(0.25) == 750


# --- moments ---

ABAR = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, 0).numpy()


def test_a_sigma_and_its_timestep_are_one_moment():
    for t in (0, 1, 499, 998, 999):
        sigma = ((1 - ABAR[t]) / ABAR[t]) ** 0.5
        by_sigma, by_timestep = Moment.of_sigma(sigma, ABAR, 0.5), Moment.of_timestep(t, ABAR, 0.5)
        assert by_sigma.timestep == pytest.approx(t + 1) and by_timestep.sigma == pytest.approx(sigma) and by_timestep.timestep == t + 1
    assert Moment.of_sigma(1e9, ABAR, 0).timestep == 1000 and Moment.of_sigma(0, ABAR, 0).timestep == 1


def test_ranges_that_meet_share_no_moment_and_leave_none_out():
    for unit, cut in (("timestep", 400), ("sigma", 1.5), ("steps", 1 / 3)):
        first, second = Range(unit=unit, to=cut), Range(unit=unit, from_=cut)
        for t in range(0, 1000, 7):
            for steps in (0.0, 1 / 3, 2 / 3, 0.999):
                now = Moment.of_timestep(t, ABAR, steps)
                assert now.within(first) != now.within(second) and now.within(None)
    third = Range(unit="steps", from_=1 / 3, to=2 / 3)
    assert [Moment(1, 1, step / 3).within(third) for step in range(3)] == [False, True, False]
    assert Moment(401, 1, 0).within(Range(from_=1000, to=400)) and not Moment(400, 1, 0).within(Range(from_=1000, to=400))
