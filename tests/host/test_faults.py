"""The fault harness: after whatever goes wrong, the host is as it would be had mixdiff not been there.

Seam x method x fault. The baseline of each is the same exception without mixdiff, since the host leaves traces of its own.
"""
from __future__ import annotations

import json
from functools import cache

import pytest

from tests.host.client import lasting
from tests.host.jobs import LEFT_RIGHT, hires, img2img, inpaint, mask, picture

DRAWN = {"regions": [{"seed": 5, "mask": mask(), "prompt": "a blue cross"}, {"seed": 6, "range": {"unit": "steps", "to": 0.5}}],
         "guides": [{"image": picture(), "box": [0, 0, 0.5, 0.5]}]}
PAINTED = {"paint": {"phrases": [{"phrase": "red circle", "mask": mask()}]}}
MIXED = {"guides": DRAWN["guides"], "amdm": {"steps": 3, "models": [{"prompt": "a blue cross", "seed": 3, "plan": LEFT_RIGHT}]}}
METHODS = {"regions over a base": {"base": {"share": 0.5}, **LEFT_RIGHT}, "guides, seeds, masks and ranges": DRAWN, "paint": PAINTED, "AMDM": MIXED}
RAISES = {"error": "ZeroDivisionError", "memory": "OutOfMemoryError"}
# (where, what, at which call, what the user gets with mixdiff): None is a picture, a name is that exception with status 500
HOSTS = [
    *[("network", kind, call, name) for kind, name in RAISES.items() for call in (0, 1)],
    ("network", "nan", 0, "NansException"), ("network", "nan", 1, "NansException"), ("network", "interrupt", 1, None),
    ("loop", "error", 1, "ZeroDivisionError"), ("loop", "memory", 0, "OutOfMemoryError"), ("loop", "interrupt", 1, None),
    ("hook", "error", 0, None), ("on_cfg_denoiser", "error", 1, None), ("on_cfg_denoised", "error", 1, None),
    ("on_cfg_after_cfg", "error", 1, None), ("on_cfg_denoiser", "interrupt", 1, None),
]
# what can break inside mixdiff, which the baseline has not: the user gets the error, never a picture without the regions
OURS = [
    *[("text encoder", kind, 0, name) for kind, name in RAISES.items()],
    *[(f"mixdiff.mosaic.Mosaic.{method}", kind, call, name) for method in ("start", "predict", "rows") for kind, name in RAISES.items()
      for call in (0, 1)],
    *[(f"mixdiff.host.{method}", kind, 0, name) for method in ("guiding.Guiding.loop", "guiding.Guiding.denoise", "guiding.Guiding.at",
                                                                "noise.Noise.enter") for kind, name in RAISES.items()],
    *[(f"mixdiff.paint.{method}", kind, call, RAISES[kind]) for method in ("Brush.over", "Brush._mixed", "Words.seen")
      for kind, call in (("error", 5), ("memory", 0))],
    *[(f"mixdiff.host.{method}", kind, call, RAISES[kind]) for method, call in (
        ("mixing.Other.prepare", 0), ("mixing.Mixing.mixed", 0), ("mixing.Mixing.asking", 3), ("guiding.Guiding.kept", 1)) for kind in RAISES],
    ("mixdiff.mosaic.Mosaic.predict", "recursion", 1, "RuntimeError"),
    ("network", "recursion", 1, "RuntimeError"),
    ("network's place", "replaced", 1, "RuntimeError"), ("network's place", "replaced", 3, "RuntimeError"),
]


def go(host, at, kind, call, plan):
    return host.txt2img(plan, probe={"fault": {"at": at, "kind": kind, "call": call}}, steps=4, negative_prompt="a blue cross, " * 30)


def picture_of(host) -> list[str]:
    """Of a plain job."""
    return host.txt2img(steps=1).body["images"]


@pytest.fixture(scope="module")
def plain(host):
    """The plain job's picture and the host's state before all of these; each test ends as it was."""
    return picture_of(host), lasting(host.state())


@pytest.fixture(scope="module")
def works(host):
    """Whether a plan is drawn where nothing fails, asked once."""
    return cache(lambda plan: go(host, "", "", 0, json.loads(plan)).status == 200)


@pytest.fixture(scope="module")
def without():
    """What each fault does without mixdiff: answer and the host's state."""
    return {}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("at, kind, call, name", HOSTS)
def test_after_a_fault_of_the_host_all_is_as_without_mixdiff(host, plain, without, method, at, kind, call, name):
    if (at, kind, call) not in without:
        without[at, kind, call] = go(host, at, kind, call, None), host.state()
    baseline, state = without[at, kind, call]
    answer = go(host, at, kind, call, METHODS[method])
    assert host.state() == state
    assert (answer.status, answer.body.get("error")) == (baseline.status, baseline.body.get("error"))
    assert answer.body.get("error") == name
    assert picture_of(host) == plain[0]
    assert lasting(host.state()) == plain[1]


def test_another_extension_may_wrap_us(host):
    def latents(kind):
        go(host, "network's place", kind, 1, LEFT_RIGHT)
        return host.latents()
    assert (latents("") == latents("wrapped")).all()


@pytest.mark.parametrize("at, kind, call, name", OURS)
def test_after_a_fault_of_mixdiff_all_is_as_before_and_there_is_no_picture(host, plain, works, at, kind, call, name):
    plan = MIXED if "mixing" in at or "kept" in at else DRAWN if ".host." in at else PAINTED if ".paint." in at else LEFT_RIGHT
    answer = go(host, at, kind, call, plan)
    assert answer.status == 500 and answer.body["error"] == name and "images" not in answer.body
    assert picture_of(host) == plain[0]
    assert lasting(host.state()) == plain[1]
    assert works(json.dumps(plan))


# --- faults in jobs of other kinds: a second pass, a picture to begin with, and checkpoints that change in mid-run or between jobs ---

KINDS = {"hires": hires(), "img2img": img2img(), "inpainting": inpaint(), "refiner, in place": 0, "refiner, another config": 1,
         "checkpoint, in place": 0, "checkpoint, another config": 1}
# (where, what, at which call, the error that the user gets; None: none): with two steps at first, calls 3 and more are in the second
# pass, or those of the refiner's checkpoint
FAULTS = [("network", "error", 1, "ZeroDivisionError"), ("network", "memory", 3, "OutOfMemoryError"), ("network", "interrupt", 3, None),
          ("text encoder", "error", 0, "ZeroDivisionError"), ("mixdiff.mosaic.Mosaic.predict", "error", 3, "ZeroDivisionError"),
          ("on_cfg_denoiser", "error", 3, None)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at, what, call, name", FAULTS)
def test_after_a_fault_in_another_kind_of_job_all_is_as_before(host, request, plain, kind, at, what, call, name):
    if isinstance(KINDS[kind], int):
        other = request.getfixturevalue("other_checkpoint")[1][KINDS[kind]]
        job = ("txt2img", {"refiner_checkpoint": other, "refiner_switch_at": 0.4} if "refiner" in kind
               else {"override_settings": {"sd_model_checkpoint": other}})
    else:
        job = KINDS[kind]
    fields = {"steps": 6 if job[0] == "img2img" else 5, "prompt": "a red circle", "sampler_name": "Euler", **job[1]}
    if "hires" in kind:
        fields["steps"] = 2
    answer = host.run(job[0], LEFT_RIGHT, probe={"fault": {"at": at, "kind": what, "call": call}}, **fields)
    if answer.status == 501:
        pytest.skip(answer.error)
    assert answer.body.get("error") == name and answer.status == (500 if name else 200), answer.body.get("errors")
    assert host.trace()["fired"]
    assert picture_of(host) == plain[0]
    assert lasting(host.state()) == plain[1]
