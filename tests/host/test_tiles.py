"""Tiles over HTTP, on either host: a tiled canvas is that of regions without words where its tiles are, and one tile is the plain job."""
from __future__ import annotations

import numpy as np
import pytest

from lib_mixdiff.boxes import Box
from lib_mixdiff.plan import Tiles
from lib_mixdiff.tiles import Grid
from tests.host.jobs import LEFT_RIGHT, img2img

pytestmark = pytest.mark.usefixtures("large")
TILES = {"width": 64, "height": 72, "overlap": [16, 8], "grid": "fixed"}
JOBS = {"Euler": ("txt2img", {}), "DDIM, batch 2": ("txt2img", {"sampler_name": "DDIM", "batch_size": 2}),
        "Euler a": ("txt2img", {"sampler_name": "Euler a"}), "AND": ("txt2img", {"prompt": "a red circle AND a blue square :0.6"}),
        "img2img": img2img(), "hires": ("txt2img", {"enable_hr": True, "hr_scale": 1.5, "hr_upscaler": "Latent", "denoising_strength": 0.7})}


def by_hand(width: int, height: int) -> dict:
    """Regions on the tiles of a canvas of so many px; 8 of 8 cells and 9 cells overlap by 2 and 1."""
    places = {(128, 128): ([0, 4, 8], [0, 7]), (192, 192): ([0, 5, 11, 16], [0, 8, 15])}[width, height]
    return {"regions": [{"coords": "canvas", "box": [8 * x / width, 8 * y / height, (8 * x + 64) / width, (8 * y + 72) / height]}
                        for y in places[1] for x in places[0]]}


@pytest.mark.parametrize("job", JOBS)
def test_tiles_are_regions_without_words(go, job):
    patched = {**by_hand(128, 128), "hires": by_hand(192, 192)}
    expected, plain, got = go(JOBS[job], patched), go(JOBS[job]), go(JOBS[job], {"tiles": TILES})
    assert np.abs(got - expected).max() < 1e-3 * max(1.0, np.abs(expected).max())
    assert np.abs(got - plain).max() > 1e-2


@pytest.mark.parametrize("sampler", ["Euler", "Euler a", "DDIM", "Heun"])
def test_a_shifted_grid_is_in_each_step_regions_without_words(go, sampler):
    steps, tiles = 4, {"width": 64, "height": 64, "overlap": 32, "grid": "shifted"}
    grid = Grid.of(Tiles.from_dict(tiles), 64)
    regions = [{"coords": "canvas", "box": [each / 16 for each in (box.left, box.top, box.right, box.bottom)],
                "range": {"unit": "steps", "from": step / steps, "to": (step + 1) / steps}}
               for step in range(steps) for box in grid.at(step).boxes(Box(0, 0, 16, 16))]
    job = "txt2img", {"sampler_name": sampler, "steps": steps}
    expected, got = go(job, {"regions": regions}), go(job, {"tiles": tiles})
    assert np.abs(got - expected).max() < 1e-3 * max(1.0, np.abs(expected).max())
    assert np.abs(got - go(job, {"tiles": {**tiles, "grid": "fixed"}})).max() > 1e-2


@pytest.mark.parametrize("sampler", ["Euler", "DDIM"])
def test_one_tile_over_all_is_the_plain_job(host, sampler):
    plain = host.txt2img(sampler_name=sampler)
    assert host.txt2img({"tiles": {"width": 128, "height": 512}}, sampler_name=sampler).pictures[0].tolist() == plain.pictures[0].tolist()


@pytest.mark.parametrize("batch, rows", [(1, [2] * 6), (2, [4] * 3), (3, [6, 6]), (6, [6, 6])])
def test_so_many_tiles_go_through_the_network_at_once(host, batch, rows):
    """With cond and uncond each, and never more cells than the plain job's call has: 2 x 16 x 16 are 7 tiles of 9 x 8."""
    answer = host.txt2img({"tiles": {**TILES, "batch": batch}}, probe={}, steps=1)
    assert answer.status == 200, answer.error
    assert host.calls() == [[n, 4, 9, 8] for n in rows]


@pytest.mark.parametrize("sampler, calls", [("Euler", 1), ("DDIM", 1), ("Heun", 2)])
def test_the_progress_bar_counts_tiles(host, sampler, calls):
    answer = host.txt2img({"tiles": {**TILES, "batch": 1}}, probe={}, sampler_name=sampler, steps=4)
    if answer.status != 200:
        pytest.skip(answer.error)
    told = [call["step"] for call in host.trace()["calls"]]
    # To the host a step has ended after the sampler's first call in it, and the first one only when the second has.
    expected = [step + (tile / 6 if call == 0 else 1) for step in range(-1, 3) for call in range(calls) for tile in range(6)]
    assert len(told) >= len(expected) - 6, "DDIM makes a step less, the last one of Heun a call less"
    np.testing.assert_allclose(told, [0 if step < 0 else step for step in expected][:len(told)])


def test_an_interrupt_ends_the_job_within_a_batch_of_tiles(host, go):
    """In the third tile of the third step; the picture is that of the second one's end."""
    job, plan = ("txt2img", {"steps": 6}), {"tiles": {**TILES, "batch": 1}}
    got = go(job, plan, probe={"fault": {"at": "network", "kind": "interrupt", "call": 14}})
    assert len(host.calls()) == 15
    expected = go(job, plan, probe={"fault": {"at": "on_cfg_denoiser", "kind": "interrupt", "call": 2}})
    assert len(host.calls()) == 12 and np.array_equal(got, expected)


@pytest.mark.parametrize("job", ["Euler", "img2img", "hires"])
def test_a_canvas_is_the_jobs_size(host, go, job):
    """Beyond the page's sliders it is the only way to say it."""
    route, fields = JOBS[job]
    expected = go((route, {**fields, "width": 192, "height": 136}))
    got = go((route, fields), {"canvas": [192, 136]})
    assert got.shape == expected.shape and np.abs(got - expected).max() < 1e-5 * max(1.0, np.abs(expected).max())
    tiled = go((route, {**fields, "width": 192, "height": 136}), {"tiles": TILES})
    assert np.abs(go((route, fields), {"canvas": [192, 136], "tiles": TILES}) - tiled).max() < 1e-5 * max(1.0, np.abs(tiled).max())


def test_check_counts_a_canvas(host):
    job = {"width": 64, "height": 64, "steps": 3, "sampler_name": "Euler", "prompt": "a red circle"}
    plan = {"tiles": TILES}
    got, expected = (host.post("/mixdiff/v1/check", {"plan": each, "job": fields})["cost"] for each, fields in (
        ({**plan, "canvas": [192, 136]}, job), (plan, {**job, "width": 192, "height": 136})))
    assert got == expected and got["passes"][0]["width"] == 192


def test_regions_lie_over_tiles(host):
    assert host.txt2img({**LEFT_RIGHT, "tiles": TILES}, probe={}).status == 200
    over = host.latents()
    assert all(call[2:] in ([9, 8], [16, 8]) for call in host.calls())
    host.txt2img({"tiles": TILES}, probe={})
    assert np.abs(over - host.latents()).max() > 1e-2


def test_check_counts_tiles(host):
    job = {"width": 128, "height": 128, "steps": 3, "sampler_name": "Euler", "prompt": "a red circle"}
    counted = host.post("/mixdiff/v1/check", {"plan": {"tiles": {**TILES, "batch": 2}}, "job": job})
    host.txt2img({"tiles": {**TILES, "batch": 2}}, probe={}, **job)
    assert counted["cost"]["calls"] == len(host.calls())
