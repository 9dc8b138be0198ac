"""What a pass of the host is read as, and what it leaves there."""
from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image


@pytest.fixture
def host():
    """The embedded host's modules, with no model."""
    if (folder := str(Path(__file__).parent.parent / "minihost")) not in sys.path:
        sys.path.append(folder)


def test_a_part_of_a_picture_is_drawn_larger_and_so_is_a_feather(host):
    """64 x 64 of 256 x 128 px at 128 x 128: boxes are fractions of the picture, and a feather is px of it."""
    from lib_mixdiff.host.sampling import canvas_of

    job = SimpleNamespace(paste_to=(128, 32, 64, 64), overlay_images=[Image.new("RGB", (256, 128))])
    canvas = canvas_of(job, torch.zeros(1, 4, 16, 16))
    assert canvas.view == (0.5, 0.25, 0.75, 0.75) and canvas.scale == 2
    assert canvas_of(SimpleNamespace(), torch.zeros(1, 4, 16, 16)).scale == 1


def test_embeddings_of_regions_join_the_jobs_in_the_infotext(host, monkeypatch):
    from modules import shared

    from lib_mixdiff.host import encode

    met = encode.sd_hijack.model_hijack.extra_generation_params = {"TI hashes": "cat: 1"}

    def parse(model, prompts, *schedule):
        encode.sd_hijack.model_hijack.extra_generation_params["TI hashes"] = ", ".join(prompts)
        encode.sd_hijack.model_hijack.extra_generation_params["Emphasis"] = "No norm"
        return list(prompts)

    monkeypatch.setattr(encode.prompt_parser, "get_learned_conditioning", parse)
    monkeypatch.setattr(shared, "sd_model", None)
    job = SimpleNamespace(sampler_name="Euler", steps=3, width=64, height=64, extra_generation_params={"TI hashes": "cat: 1, cat: 1"})
    for _ in range(2):
        assert encode.Texts(job, [None] * 4, ["dog: 2", None, "cat: 1", "dog: 2"]).negatives == ["dog: 2", None, "cat: 1", "dog: 2"]
        assert job.extra_generation_params == {"TI hashes": "cat: 1, cat: 1, dog: 2", "Emphasis": "No norm"}
    assert encode.sd_hijack.model_hijack.extra_generation_params is met and met == {"TI hashes": "cat: 1"}


@pytest.mark.parametrize("name, kwargs, first, steps", [
    ("Euler", {"sigmas": torch.tensor([9.0, 3.0, 0.0])}, 9, 2), ("DPM fast", {"sigma_max": 7.0, "n": 6}, 7, 6),
    ("DDIM", {"timesteps": torch.tensor([1, 501, 999])}, 999, 2), ("DDIM", {"timesteps": torch.tensor([1, 501]), "is_img2img": True}, 501, 1),
    ("UniPC", {"timesteps": torch.tensor([1, 501, 801])}, 999, 3), ("UniPC", {"timesteps": torch.tensor([1, 501]), "is_img2img": True}, 501, 2)])
def test_where_a_loop_begins_and_how_long_it_is(host, name, kwargs, first, steps):
    from lib_mixdiff.host.clock import Clock

    clock = Clock(SimpleNamespace(model_wrap_cfg=None, config=SimpleNamespace(name=name)))
    assert float(clock.first_level(kwargs)) == first and clock.length(kwargs) == steps


def test_a_guide_among_predictions_of_noise_is_one_among_images(host, monkeypatch):
    """DDIM's eps and Euler's x0 of one moment, with a mask that is in part; where it is 0 not a bit changes."""
    from modules import shared

    from lib_mixdiff.guides import Pull
    from lib_mixdiff.host.clock import Clock
    from lib_mixdiff.host.guiding import Guiding

    abar, g = torch.linspace(0.999, 0.005, 1000), torch.Generator().manual_seed(0)
    monkeypatch.setattr(shared, "sd_model", SimpleNamespace(alphas_cumprod=abar))
    x0, eps, image = torch.randn(3, 1, 4, 8, 8, generator=g)
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 2:6], mask[..., 3:4] = 1, 0.25
    told, t = [], 600
    sigma = float(((1 - abar[t]) / abar[t]).sqrt())
    for network, x, level, out in ((SimpleNamespace(sigmas=abar), x0 + sigma * eps, sigma, x0),
                                   (SimpleNamespace(), (x0 + sigma * eps) * float(abar[t]) ** 0.5, float(t), eps)):
        denoiser = SimpleNamespace(inner_model=network, step=0)
        config = SimpleNamespace(name="any", total_steps=lambda steps: steps)
        sampler = SimpleNamespace(model_wrap_cfg=denoiser, config=config, last_latent=x0)
        guiding = Guiding(SimpleNamespace(sampler=sampler), [Pull(image, mask, 0)], eps, Clock(sampler))
        told.append(guiding.denoise(lambda x, level, out=out: out, x, torch.tensor([level])))
        assert torch.equal(told[-1][..., :2], out[..., :2])
    assert torch.allclose(told[0], torch.lerp(x0, image, mask), atol=1e-5)
    assert torch.allclose(x0 + sigma * eps - sigma * told[1], told[0], atol=1e-4)
