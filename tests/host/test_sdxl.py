"""SDXL's size conditions over HTTP: for a WebUI with an SDXL checkpoint loaded."""
from __future__ import annotations

import numpy as np
import pytest

LEFT, TALL = {"box": [0, 0, 0.5, 1]}, {"width": 192, "height": 128}
TILES = {"width": 64, "height": 64, "overlap": 0, "batch": 1}


@pytest.fixture
def said(host):
    """Height and width of the picture, top and left, height and width of what is drawn: as the network is told in each call of a step."""
    def run(plan: object, **fields) -> list[tuple[int, ...]]:
        answer = host.txt2img(plan, probe={}, steps=1, **{**TALL, **fields})
        if answer.status == 501:
            pytest.skip(answer.error)
        assert answer.status == 200, answer.error
        calls = host.trace()["calls"]
        if calls[0]["sizes"] is None:
            pytest.skip("needs an SDXL checkpoint")
        heard = [tuple(read(np.array(row))) for call in calls for row in call["sizes"]]
        assert all(heard.count(each) % 2 == 0 for each in heard), "cond and uncond"
        return list(dict.fromkeys(heard))
    return run


def read(row: np.ndarray) -> list[int]:
    """Numbers of which 256 columns hold each as cosines and sines."""
    angles = np.arange(0, 2049, 8)[:, None] * 10000.0 ** (-np.arange(128) / 128)
    known = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
    return [int(8 * np.abs(known - each).sum(1).argmin()) for each in row.reshape(6, 256)]


TOPS = [(y, x) for y in (0, 64) for x in (0, 64, 128)]


def test_a_tile_is_a_part_of_the_canvas_or_a_picture_of_its_own(said):
    assert said({"tiles": TILES}) == [(128, 192, *top, 64, 64) for top in TOPS]
    assert said({"tiles": {**TILES, "coords": "own"}}) == [(64, 64, 0, 0, 64, 64)]


def test_a_region_is_a_picture_of_its_own_or_a_part_of_the_canvas(said):
    right = {**LEFT, "box": [0.5, 0, 1, 1], "prompt": "a blue square"}
    assert said({"regions": [LEFT, right]}) == [(128, 96, 0, 0, 128, 96)]
    assert said({"regions": [{**each, "coords": "canvas"} for each in (LEFT, right)]}) == [(128, 192, 0, x, 128, 96) for x in (0, 96)]


def test_a_tile_of_a_region_is_a_part_of_what_the_region_is(said):
    plan = {"regions": [{"box": [1 / 3, 0, 1, 1]}, {"box": [0, 0, 1 / 3, 1]}], "tiles": TILES}
    assert said(plan) == [(128, 128, y, x, 64, 64) for y in (0, 64) for x in (0, 64)] + [(128, 64, y, 0, 64, 64) for y in (0, 64)]


def test_what_is_the_whole_canvas_is_told_what_the_plain_job_is(host, said):
    plain = said(None)
    assert plain == [(128, 192, 0, 0, 128, 192)]
    assert said({"regions": [{}]}) == said({"regions": [{"coords": "canvas"}]}) == said({"tiles": {"width": 4096}}) == plain
    assert np.array_equal(host.txt2img({"tiles": {"width": 4096}}).pictures[0], host.txt2img().pictures[0])


def test_the_hosts_crop_setting_is_added(said):
    shift = {"override_settings": {"sdxl_crop_top": 16, "sdxl_crop_left": 8}}
    assert said({"tiles": TILES}, **shift) == [(128, 192, y + 16, x + 8, 64, 64) for y, x in TOPS]


def test_the_hires_pass_has_its_own(said):
    heard = said({"tiles": TILES}, enable_hr=True, hr_scale=2, hr_upscaler="Latent", hr_second_pass_steps=1, denoising_strength=0.5)
    assert heard[len(TOPS):] == [(256, 384, y, x, 64, 64) for y in range(0, 256, 64) for x in range(0, 384, 64)]
