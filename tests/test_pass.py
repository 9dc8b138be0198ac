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
