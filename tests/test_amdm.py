"""AMDM's laws, and the paper's Algorithm 1 read literally, in float64, as the oracle."""
from __future__ import annotations

import math

import pytest
import torch

from lib_mixdiff.amdm import advanced, corrected, slerp, spherical

SHAPE = (3, 4, 8, 8)
MIXES = ("slerp", "lerp", "average")


@pytest.fixture
def latents():
    torch.manual_seed(0)
    first = torch.randn(SHAPE)
    return [first, first + 0.4 * torch.randn(SHAPE), 1.3 * torch.randn(SHAPE)]


def literal(means, weights, etas):
    """Of one image: equations 9 and 10 as they stand, iterated with running weights."""
    mixed, total = means[0], weights[0]
    for mean, weight in zip(means[1:], weights[1:]):
        total += weight
        w = weight / total
        theta = math.acos(float((mixed * mean).sum() / (mixed.norm() * mean.norm())))
        of = [math.sin((1 - w) * theta) / math.sin(theta), math.sin(w * theta) / math.sin(theta)]
        mixed = (of[0] * mixed / mixed.norm() + of[1] * mean / mean.norm()) * ((1 - w) * mixed.norm() + w * mean.norm())
    result = []
    for mean, eta in zip(means, etas):
        away = mixed - mean
        result.append(mixed - min(eta * math.sqrt(mean.numel() / 16384), float(away.norm())) * away / away.norm())
    return result


@pytest.mark.parametrize("weights", [(1, 1, 1), (1, 0.5, 2), (0.2, 3, 1)])
@pytest.mark.parametrize("etas", [(0, 0, 0), (0.3, 0.3, 0.3), (5, 0.1, 100)])
def test_it_is_the_papers(latents, weights, etas):
    got = advanced(latents, weights, etas, "slerp")
    for image in range(SHAPE[0]):
        expected = literal([x[image].double() for x in latents], weights, etas)
        for mine, theirs in zip(got, expected):
            assert (mine[image] - theirs).abs().max() < 1e-6


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("eta", [0.0, 0.3, 50.0])
def test_a_model_mixed_with_itself_is_itself(latents, mix, eta):
    for weights in ((1, 1), (0, 1), (0.3, 7)):
        for got in advanced([latents[2], latents[2].clone()], weights, (eta, eta), mix):
            assert (got - latents[2]).abs().max() < 1e-6


@pytest.mark.parametrize("mix", MIXES)
def test_without_weight_the_others_are_not_there(latents, mix):
    assert torch.equal(advanced(latents, (1, 0, 0), (0.3, 0.3, 0.3), mix)[0], latents[0])
    mixed = advanced(latents, (0, 2, 0), (0, 0, 0), mix)
    assert all((x - latents[1]).abs().max() < 1e-6 for x in mixed)


@pytest.mark.parametrize("weights", [(1, 1, 1), (1, 0.01, 30), (5, 1, 0)])
def test_the_norm_lies_between_those_of_the_inputs(latents, weights):
    flat = [x.flatten(1) for x in latents]
    norms = torch.stack([x.norm(dim=1) for x, weight in zip(flat, weights) if weight])
    got = spherical(flat, weights).norm(dim=1)
    assert (got >= 0.999 * norms.amin(0)).all() and (got <= 1.001 * norms.amax(0)).all()


def test_the_shares_are_points_of_the_arc():
    a, b = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 4.0]])
    for share, angle, norm in ((0.0, 0, 2), (0.25, 22.5, 2.5), (0.5, 45, 3), (1.0, 90, 4)):
        expected = torch.tensor([[math.cos(math.radians(angle)), math.sin(math.radians(angle))]]) * norm
        assert (slerp(a, b, share) - expected).abs().max() < 1e-6


def test_nearly_parallel_and_opposite_latents_stay_numbers(latents):
    a = latents[0].flatten(1)
    for b in (a * (1 + 1e-7), a + 1e-6 * torch.randn_like(a), -a, torch.zeros_like(a)):
        assert slerp(a, b, 0.5).isfinite().all()
    assert (slerp(a, 3 * a, 0.5) - 2 * a).abs().max() < 1e-5


def test_the_correction_reaches_the_mean_and_never_passes_it(latents):
    mixed, mean = latents[0].flatten(1), latents[1].flatten(1)
    assert (corrected(mixed, mean, 1e6) - mean).abs().max() < 1e-6
    assert torch.equal(corrected(mixed, mean, 0.0), mixed)
    step = (corrected(mixed, mean, 0.3) - mixed).norm(dim=1)
    assert (step - 0.3 * math.sqrt(256 / 16384)).abs().max() < 1e-5


def test_images_of_a_batch_know_nothing_of_each_other(latents):
    got = advanced(latents, (1, 2, 3), (0.3, 0.2, 0.1), "slerp")
    for image in range(SHAPE[0]):
        single = advanced([x[image:image + 1] for x in latents], (1, 2, 3), (0.3, 0.2, 0.1), "slerp")
        assert all((both[image:image + 1] - one).abs().max() < 1e-6 for both, one in zip(got, single))


def test_half_precision_is_mixed_in_single(latents):
    half = [x.half() for x in latents]
    got = advanced(half, (1, 1, 1), (0.3, 0.3, 0.3), "slerp")
    expected = advanced([x.float() for x in half], (1, 1, 1), (0.3, 0.3, 0.3), "slerp")
    assert all(x.dtype == torch.half and torch.equal(x, y.half()) for x, y in zip(got, expected))
