"""Noise and velocity: the same prediction said in two ways."""
from __future__ import annotations

import pytest
import torch

from lib_mixdiff.parameterizations import FROM, abar_at, converted, log_sigmas_of
from tests import tiny

SCHEDULE = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2, 0)
LOG_SIGMAS = log_sigmas_of(SCHEDULE).float()
pytestmark = pytest.mark.usefixtures("no_gradients")


def hooks(network: torch.nn.Module) -> dict[str, list]:
    return {name: list(value) for name, value in vars(network).items() if "hook" in name and value is not None and not isinstance(value, bool)}


@pytest.mark.parametrize("timestep", [0.0, 3.5, 500.0, 998.25, 999.0])
@pytest.mark.parametrize("predicts", FROM)
def test_both_say_the_same_picture(timestep, predicts):
    torch.manual_seed(0)
    picture, noise = torch.randn(2, 2, 4, 8, 8, dtype=torch.float64)
    abar = abar_at(torch.full((2,), timestep), LOG_SIGMAS).double()
    x = abar.sqrt() * picture + (1 - abar).sqrt() * noise
    said = {"eps": noise, "v": abar.sqrt() * noise - (1 - abar).sqrt() * picture}
    other = {"eps": "v", "v": "eps"}[predicts]
    assert (FROM[predicts](said[predicts], x, abar) - said[other]).abs().max() < 1e-9


def test_between_two_timesteps_log_sigma_is_linear():
    sigmas = ((1 - SCHEDULE) / SCHEDULE).sqrt()
    abar = abar_at(torch.tensor([10.0, 10.5]), LOG_SIGMAS).flatten()
    got = ((1 - abar) / abar).sqrt()
    assert (got - torch.stack([sigmas[10], (sigmas[10] * sigmas[11]).sqrt()])).abs().max() < 1e-5


@pytest.mark.parametrize("predicts", FROM)
def test_a_network_gives_the_other_inside_the_block_only(predicts):
    network = tiny.unet()
    x, timesteps, context = torch.randn(2, 4, 16, 16), torch.tensor([700.5, 700.5]), torch.randn(2, 77, tiny.CONTEXT)
    plain, before = network(x, timesteps, context=context), hooks(network)
    with converted(network, predicts, LOG_SIGMAS):
        inside = network(x, timesteps=timesteps, context=context)
    assert (inside - FROM[predicts](plain, x, abar_at(timesteps, LOG_SIGMAS))).abs().max() < 1e-5
    with pytest.raises(ZeroDivisionError), converted(network, predicts, LOG_SIGMAS):
        raise ZeroDivisionError
    assert torch.equal(network(x, timesteps, context=context), plain)
    assert hooks(network) == before
