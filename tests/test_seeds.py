"""Laws of seeded noise."""
from __future__ import annotations

import pytest
import torch

from bench.noise import CHANNELS, LIMIT, REGIONS, fields, rows, seed_weights, whiteness
from lib_mixdiff.plan import Plan
from lib_mixdiff.regions import Canvas, located, placed
from lib_mixdiff.seeds import blended, has_seeds, seeded, weights_by_seed

SIZE = 48


def weights(regions: list[dict], base: dict | None = None, size: int = SIZE) -> dict:
    plan, canvas = Plan.from_dict({"regions": regions, "base": base or {}}), Canvas(size, size)
    return weights_by_seed(placed(located(plan, canvas, lambda image: None), plan, canvas, 7.0), [r.seed for r in plan.regions], size, size)


OVERLAPS = {
    "two": [{"box": [0, 0, 0.7, 1], "seed": 1}, {"box": [0.3, 0, 1, 1], "seed": 2}],
    "three": [{"box": [0, 0, 0.8, 0.8], "seed": 1}, {"box": [0.2, 0, 1, 0.8], "seed": 2, "window": "constant"},
              {"box": [0.1, 0.2, 0.9, 1], "seed": 3, "weight": 4}],
    "two of three": [{"box": [0, 0, 0.8, 1], "seed": 1}, {"box": [0.2, 0, 1, 1]}, {"box": [0, 0.2, 1, 0.9], "seed": 1}],
    "beside the base": [{"box": [0.2, 0.2, 0.8, 0.8], "seed": 5}],
}


@pytest.mark.parametrize("name", OVERLAPS)
def test_noise_on_overlaps_has_mean_0_and_variance_1(name):
    """Over 400 draws of every cell: both within what so many draws leave open, and no cell apart."""
    found, draws, gen = weights(OVERLAPS[name], {"share": 0.2}), 400, torch.Generator().manual_seed(0)
    noise = blended({seed: torch.randn(draws, 1, SIZE, SIZE, generator=gen) for seed in found}, found)
    assert abs(noise.mean()) < 4 / (draws * SIZE**2) ** 0.5 and abs(noise.var() - 1) < 4 * (2 / (draws * SIZE**2)) ** 0.5
    assert (noise.var(0) - 1).abs().max() < 6 * (2 / draws) ** 0.5 and noise.mean(0).abs().max() < 6 / draws**0.5
    assert abs((noise[..., 1:] * noise[..., :-1]).mean()) < 4 / (draws * SIZE**2) ** 0.5, "neighbours know nothing of each other"


@pytest.mark.parametrize("size", [16, 40])
def test_noise_is_white_where_none_two_and_three_regions_overlap(size):
    """Normal, of mean 0 and variance 1, and neighbours know nothing of each other."""
    for name, _, found in rows(size, 200_000):
        assert not {key: value for key, value in found.items() if abs(value) > LIMIT[key]}, name


def test_each_way_of_not_being_white_is_found():
    weights = seed_weights(REGIONS, 24, 24)
    where = torch.stack([w > 0 for w in weights.values()]).sum(0) >= 2
    white = fields(weights, 60, 24, 24)

    def faults(noise: torch.Tensor) -> set[str]:
        return {key for key, value in whiteness(noise, where).items() if abs(value) > LIMIT[key]}
    assert faults(white) == set()
    assert "mean" in faults(white + 0.05)
    assert "variance" in faults(white * sum(w**2 for w in weights.values()).sqrt()), "an average of fields is too faint"
    evenly = (torch.rand(60, CHANNELS, 24, 24, generator=torch.Generator().manual_seed(0)) - 0.5) * 12**0.5
    assert faults(evenly) == {"Kolmogorov"}
    assert "right" in faults((white + 0.1 * white.roll(1, -1)) / 1.01**0.5) and "below" in faults((white + 0.1 * white.roll(1, -2)) / 1.01**0.5)


def test_weights_sum_to_one_and_equal_seeds_are_one_field():
    found = weights(OVERLAPS["two of three"])
    assert set(found) == {1, None}
    assert torch.allclose(found[1] + found[None], torch.ones(SIZE, SIZE), atol=1e-6)
    noises = {1: torch.randn(2, 4, SIZE, SIZE), None: torch.randn(2, 4, SIZE, SIZE)}
    same = blended({1: noises[1], None: noises[1]}, {1: torch.full((SIZE, SIZE), 0.3), None: torch.full((SIZE, SIZE), 0.4)})
    assert torch.allclose(same, noises[1] * 0.7 / 0.5)


def test_one_field_is_itself_in_every_bit():
    noise = torch.randn(2, 4, SIZE, SIZE)
    assert torch.equal(blended({7: noise, None: torch.randn(2, 4, SIZE, SIZE)}, weights([{"seed": 7}])), noise)
    assert torch.equal(blended({None: noise}, weights([{}])), noise)


def test_every_seed_of_a_plan_changes_and_nothing_else():
    plan = Plan.from_dict({"regions": [{"seed": -1}, {"seed": 5, "name": "a"}, {}], "ui": {"seed": -1}, "hires": {"regions": [{"seed": 0}]},
                           "amdm": {"models": [{"seed": 3}, {"seed": None}]}})
    changed = seeded(plan, lambda seed: seed + 10)
    assert [r.seed for r in changed.regions] == [9, 15, None] and changed.hires["regions"][0]["seed"] == 10
    assert [m.seed for m in changed.amdm.models] == [13, None] and changed.ui == {"seed": -1}
    assert seeded(changed, lambda seed: seed - 10) == plan and seeded(plan, lambda seed: seed) == plan
    assert has_seeds(plan) and not has_seeds(Plan.from_dict({"regions": [{}], "ui": {"seed": 1}}))
    assert has_seeds(Plan.from_dict({"hires": {"regions": [{"seed": 4}]}}))
