"""Laws of the seam score and of sharpness."""
from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from bench.edges import columns, seam, sharpness, steepest
from bench.scores import bootstrap, mean, ratio_of_means
from bench.seams import BORDERS, HEIGHT, INSIDE, OVERLAPS, WAYS, WIDTH, plan
from lib_mixdiff.plan import Plan
from minihost.shapes import world

X = np.arange(WIDTH)
SIDES = [BORDERS["none"], BORDERS["gaussian"]]


def across(levels: np.ndarray) -> np.ndarray:
    """A picture whose columns have these grey levels."""
    return np.broadcast_to(np.rint(levels)[None, :, None], (HEIGHT, WIDTH, 3)).astype(np.uint8)


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)


def score(picture: np.ndarray, borders: list[int]) -> float:
    at, elsewhere = seam(picture, borders)
    return at / elsewhere


@cache
def scene(seed: int) -> np.ndarray:
    return world.render(world.scene_at_random(np.random.default_rng(seed), WIDTH, HEIGHT, 6))


def test_a_flat_picture_has_no_step_anywhere():
    flat = across(np.full(WIDTH, 90))
    assert seam(flat, BORDERS["none"]) == (0, 0) and steepest(flat, OVERLAPS) == 0 and sharpness(flat, INSIDE) == 0


@pytest.mark.parametrize("borders", SIDES)
def test_a_step_at_a_border_is_all_there_is(borders):
    for border in borders:
        step = across(np.where(border > X, 20, 120))
        assert columns(step).argmax() == border - 1
        at, elsewhere = seam(step, borders)
        assert at == pytest.approx(100 / len(borders)) and elsewhere == 0


@pytest.mark.parametrize("off", [-3, 3])
def test_a_step_that_the_decoder_moved_within_the_cell_counts_in_full(off):
    for border in BORDERS["none"]:
        assert seam(across(np.where(border + off > X, 0, 80)), BORDERS["none"])[0] == pytest.approx(40)


def test_a_step_elsewhere_is_no_seam():
    step = across(np.where(X < 140, 0, 200))
    at, elsewhere = seam(step, BORDERS["none"])
    assert at == 0 and elsewhere > 0 and steepest(step, OVERLAPS) == 0 and steepest(step, [(130, 150)]) == 200


@pytest.mark.parametrize("borders", SIDES)
def test_a_ramp_and_noise_have_a_score_of_1(borders):
    assert score(across(X * 240 / 280 // 6 * 6), borders) == pytest.approx(1, abs=0.05)
    assert np.mean([score(noise(seed), borders) for seed in range(8)]) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("borders", SIDES)
def test_objects_that_stand_anywhere_have_a_score_of_1_in_the_mean(borders):
    found = np.mean([seam(scene(seed), borders) for seed in range(100)], 0)
    assert found[0] / found[1] == pytest.approx(1, abs=0.12)


def test_a_step_cut_in_two_halves_scores_half():
    def steps(places: dict[int, int]) -> np.ndarray:
        return across(sum(height * (place <= X) for place, height in places.items()))
    one, two = steps({80: 100}), steps({80: 50, 128: 50})
    assert seam(one, [80])[0] == 2 * seam(two, [80, 128])[0] == 100


def test_a_score_does_not_know_contrast_or_which_side_is_which():
    picture = scene(3).copy()
    picture[:, 96:] //= 2
    dim, turned = (picture // 2 * 2) // 2, picture[:, ::-1]
    assert score(dim, BORDERS["none"]) == pytest.approx(score(picture, BORDERS["none"]), rel=0.05)
    assert score(turned, BORDERS["none"]) == pytest.approx(score(picture, BORDERS["none"]), rel=0.02)


def test_sharpness_falls_with_blur_and_is_the_step_of_a_sharp_edge():
    picture = scene(5)
    found = [sharpness(ndimage.gaussian_filter(picture.astype(float), (sigma, sigma, 0)), INSIDE) for sigma in (0, 0.7, 1.5, 3)]
    assert found == sorted(found, reverse=True) and found[-1] < found[0] / 2
    assert sharpness(across(np.where(X < 40, 0, 77)), INSIDE) == pytest.approx(77)
    assert sharpness(across(np.where(X < 100, 0, 77)), INSIDE) == 0, "that edge lies in an overlap"


def test_borders_outside_are_refused():
    with pytest.raises(ValueError, match="4 px inside"):
        seam(noise(), [2])
    with pytest.raises(ValueError, match="leave nothing"):
        seam(noise()[:, :16], [8])


def test_the_three_ways_are_the_papers():
    """Same prompts, regions of the network's own size where they overlap; each cell covered by one region or two."""
    for way in WAYS:
        made = Plan.from_dict(plan(way, ["a", "b", "c"]))
        edges = [np.rint(np.array([r.box[0], r.box[2]]) * WIDTH).astype(int).tolist() for r in made.regions]
        cover = sum(((first <= X) & (last > X)).astype(int) for first, last in edges)
        assert (cover == 1).all() if way == "none" else set(cover) == {1, 2} and all(b - a == 128 for a, b in edges)
        assert BORDERS[way] == sorted({e for pair in edges for e in pair} - {0, WIDTH})
        assert all(e % 8 == 0 for pair in edges for e in pair)
        assert {r.window for r in made.regions} == ({"gaussian"} if way == "gaussian" else {"constant"})
        assert way == "none" or X[cover == 2].tolist() == [x for first, last in OVERLAPS for x in range(first, last)]


def test_the_bootstrap_holds_the_truth_as_often_as_it_says():
    rng, inside = np.random.default_rng(0), 0
    for _ in range(200):
        above, below = rng.exponential(3, 40), rng.exponential(2, 40)
        value, low, high = bootstrap(ratio_of_means, above, below, draws=300)
        assert low < value < high
        inside += low < 1.5 < high
    assert 0.88 < inside / 200 < 0.99
    assert bootstrap(mean, np.full(9, 4.0)) == (4, 4, 4)
    assert bootstrap(ratio_of_means, above, above) == (1, 1, 1), "pairs stay together"
