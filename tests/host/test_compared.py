"""Where a peer fails (docs/compared.md) and no other test says that mixdiff does not."""
from __future__ import annotations

import numpy as np
import pytest

from tests.host.client import lasting
from tests.host.jobs import LEFT_RIGHT, hires, img2img

pytestmark = pytest.mark.usefixtures("large")
TILES = {"width": 64, "height": 64, "overlap": 16, "grid": "fixed"}
OVER = {**LEFT_RIGHT, "base": {"share": 0.5}, "tiles": TILES}
QUADRANTS = {"regions": [{"box": [x, y, x + 0.5, y + 0.5]} for y in (0, 0.5) for x in (0, 0.5)]}


def sizes(host) -> set[tuple[int, int]]:
    """Height and width of what the network has seen in the last job, in cells."""
    return {(call[2], call[3]) for call in host.calls()}


@pytest.mark.parametrize("kind, call", [("memory", 0), ("error", 7)])
def test_after_a_fault_in_a_tile_all_is_as_before(host, kind, call):
    plain, before = host.txt2img().body["images"], lasting(host.state())
    assert host.txt2img(OVER, probe={"fault": {"at": "network", "kind": kind, "call": call}}).status == 500
    assert host.trace()["fired"] and lasting(host.state()) == before
    assert host.txt2img().body["images"] == plain


@pytest.mark.parametrize("plan", [{"tiles": TILES}, OVER], ids=["tiles", "regions over tiles"])
def test_both_passes_are_tiled_each_with_its_sampler(host, go, plan):
    go(hires(hr_sampler_name="DPM++ 2M"), plan)
    assert sizes(host) == {(8, 8)} and host.trace()["hooks"].count("process_before_every_sampling") == 2


@pytest.mark.parametrize("job", [("txt2img", {"sampler_name": name}) for name in ("UniPC", "PLMS", "DDIM", "LCM")] + [img2img(sampler_name="DDIM")],
                         ids=["UniPC", "PLMS", "DDIM", "LCM", "img2img, DDIM"])
def test_tiles_with_samplers_of_other_kinds(host, go, job):
    tiled = go(job, {"tiles": TILES})
    assert sizes(host) == {(8, 8)} and np.abs(tiled - go(job)).max() > 1e-2 and sizes(host) == {(16, 16)}


@pytest.mark.parametrize("which", [0, 1], ids=["in place", "another config"])
def test_the_refiner_is_tiled_too(host, go, other_checkpoint, which):
    job = "txt2img", {"steps": 6, "refiner_checkpoint": other_checkpoint[1][which], "refiner_switch_at": 0.5}
    got = go(job, {"tiles": TILES})
    assert sizes(host) == {(8, 8)}
    assert np.abs(got - go(("txt2img", {"steps": 6}), {"tiles": TILES})).max() > 0.1, "the refiner did something"


def test_regions_without_words_say_each_batchs_own_prompt(host):
    """The prompt matrix gives every picture of a job a prompt of its own; each has the seed of the first."""
    if "prompt matrix" not in host.get("/sdapi/v1/scripts")["txt2img"]:
        pytest.skip("the embedded host has no such script")
    matrix = {"script_name": "prompt matrix", "script_args": [False, False, "positive", "comma", 0], "prompt": "a circle|red|on a gray background"}
    assert (answer := host.txt2img(QUADRANTS, probe={}, **matrix)).status == 200, answer.error
    got = host.latents()
    for index, prompt in enumerate(("a circle", "a circle, red", "a circle, on a gray background", "a circle, red, on a gray background")):
        host.txt2img(QUADRANTS, probe={}, prompt=prompt)
        assert np.abs(got[index] - host.latents()[0]).max() < 1e-3 * max(1.0, np.abs(got).max()), prompt
