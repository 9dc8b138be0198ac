"""Every kind of job that a WebUI can run, with regions in it. A job that the embedded host has not is refused by it with a sentence.

The laws: one region over all is the plain job, in every number of latents and rows; regions do what they do in each half of a job
that changes in mid-run; a batch is its single pictures. `docs/webui.md` has the table of these jobs.
"""
from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from tests.host.jobs import LAWFUL, LEFT_RIGHT, OTHER, PROMPT, encoded, hires, img2img, inpaint, mask, picture


def own_words(fields: dict) -> dict:
    """A region over all with the job's own words."""
    return {"prompt": fields.get("prompt", PROMPT), "negative_prompt": fields.get("negative_prompt", "")}


@pytest.fixture(scope="module")
def plain():
    """Latents of the jobs as they are, by name."""
    return {}


@pytest.mark.parametrize("job", LAWFUL)
def test_one_region_over_all_is_the_plain_job(host, go, plain, job):
    fields = LAWFUL[job][1]
    expected, calls = go(job), host.trace()["calls"]
    plain[job] = expected
    assert np.isfinite(expected).all()
    for region in ({}, own_words(fields)):
        got, trace = go(job, {"regions": [region]}), host.trace()
        assert np.abs(got - expected).max() < 1e-2 * max(1.0, np.abs(expected).max() / 10), region
        assert sum(c["x"][0] for c in trace["calls"]) == sum(c["x"][0] for c in calls), "as many rows went through the network"


@pytest.mark.parametrize("job", LAWFUL)
def test_regions_change_the_job(go, plain, job):
    assert np.abs(go(job, LEFT_RIGHT) - (plain[job] if job in plain else go(job))).max() > 1e-2


@pytest.mark.parametrize("job", ["sampler Euler", "sampler DDIM", "sampler Euler a", "sampler DPM++ 2M", "sampler DPM++ 2M SDE", "img2img",
                                 "inpainting, original", "inpainting, only masked", "hires, latent"])
def test_a_batch_of_four_is_four_pictures(go, job):
    singles = np.concatenate([go(job, LEFT_RIGHT, seed=seed) for seed in range(11, 15)])
    assert np.abs(go(job, LEFT_RIGHT, batch_size=4, seed=11) - singles).max() < 1e-2
    assert np.abs(go(job, LEFT_RIGHT, batch_size=2, n_iter=2, seed=11) - singles).max() < 1e-2


@pytest.mark.parametrize("job", ["sampler Euler", "sampler Euler a", "sampler DDIM", "hires, latent", "txt2img, AND with weights, batch 2"])
def test_the_laws_hold_of_a_network_that_predicts_eps(host, go, job):
    if not any(model["model_name"] == "shapes-eps" for model in host.get("/sdapi/v1/sd-models")):
        pytest.skip("needs the checkpoint shapes-eps")
    eps = {"override_settings": {"sd_model_checkpoint": "shapes-eps"}}
    expected, calls = go(job, **eps), host.trace()["calls"]
    assert np.abs(go(job) - expected).max() > 0.1, "another network"
    for region in ({}, own_words(LAWFUL[job][1])):
        got = go(job, {"regions": [region]}, **eps)
        assert np.abs(got - expected).max() < 1e-2 * max(1.0, np.abs(expected).max() / 10), region
    assert sum(c["x"][0] for c in host.trace()["calls"]) == sum(c["x"][0] for c in calls)
    assert np.abs(go(job, LEFT_RIGHT, **eps) - expected).max() > 1e-2


# --- jobs that change in mid-run: each half is a half of a job that does not ---

def halves(go, first: dict, second: dict, plans: tuple[object, object], at: int) -> np.ndarray:
    """Steps up to `at` of one job, the rest of another."""
    base = ("txt2img", {"steps": 8})
    go(base, plans[0], probe={"states": True}, **first)
    return go(base, plans[1], probe={"start": at}, **second)


def with_prompt(plan: dict, prompt: str) -> dict:
    changed = json.loads(json.dumps(plan))
    changed["regions"][0]["prompt"] = prompt
    return changed


@pytest.mark.parametrize("prompt, first, second", [("a [red cross:blue circle:0.5]", "a red cross", "a blue circle"),
                                                   ("a [blue circle:4]", "a ", "a blue circle")])
def test_a_regions_prompt_is_edited_in_mid_run(go, prompt, first, second):
    expected = halves(go, {}, {}, (with_prompt(LEFT_RIGHT, first), with_prompt(LEFT_RIGHT, second)), at=5)     # "at step 4" is step 5, from 0
    got = go(("txt2img", {"steps": 8}), with_prompt(LEFT_RIGHT, prompt))
    assert np.abs(got - expected).max() < 1e-4 * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("which", [0, 1], ids=["in place", "another config"])
def test_regions_with_the_refiner_are_the_two_halves(host, go, other_checkpoint, which):
    _, others = other_checkpoint
    expected = halves(go, {}, {"override_settings": {"sd_model_checkpoint": others[which]}}, (LEFT_RIGHT, LEFT_RIGHT), at=4)
    got = go(("txt2img", {"steps": 8}), LEFT_RIGHT, refiner_checkpoint=others[which], refiner_switch_at=0.5,
             override_settings={"refiner_switch_by_sample_steps": True})
    assert np.abs(got - expected).max() < 1e-2 * max(1.0, np.abs(expected).max() / 10)
    alone = go(("txt2img", {"steps": 8}), LEFT_RIGHT)
    assert np.abs(got - alone).max() > 0.1, "the refiner did something"


@pytest.mark.parametrize("job", [("txt2img", {"steps": 6}), ("txt2img", {"steps": 6, "sampler_name": "DDIM", "batch_size": 2}), img2img(),
                                 hires(override_settings={"hires_fix_refiner_pass": "all passes"})])
@pytest.mark.parametrize("which", [0, 1], ids=["in place", "another config"])
def test_the_neutral_law_holds_with_the_refiner(go, other_checkpoint, job, which):
    refined = {"refiner_checkpoint": other_checkpoint[1][which], "refiner_switch_at": 0.5}
    expected = go(job, **refined)
    for region in ({}, {"prompt": PROMPT, "negative_prompt": ""}):
        assert np.abs(go(job, {"regions": [region]}, **refined) - expected).max() < 1e-2 * max(1.0, np.abs(expected).max() / 10)


@pytest.mark.parametrize("which", [0, 1], ids=["in place", "another config"])
def test_the_neutral_law_holds_with_a_hires_checkpoint(go, other_checkpoint, which):
    job = hires(hr_checkpoint_name=other_checkpoint[1][which])
    expected = go(job)
    for region in ({}, {"prompt": PROMPT, "negative_prompt": ""}):
        assert np.abs(go(job, {"regions": [region]}) - expected).max() < 1e-2 * max(1.0, np.abs(expected).max() / 10)


# --- hires pass: its own plan ---

def test_the_hires_pass_has_its_own_prompt(go):
    """Its plan is a patch; the first pass's stays."""
    own = {"regions": [{"prompt": PROMPT, "negative_prompt": ""}], "hires": {"regions": [{"prompt": OTHER, "negative_prompt": ""}]}}
    expected = go("hires, latent", hr_prompt=OTHER)
    assert np.abs(go("hires, latent", own, hr_prompt=OTHER) - expected).max() < 1e-2
    assert np.abs(go("hires, latent", {"regions": [{}]}, hr_prompt=OTHER) - expected).max() < 1e-2
    assert np.abs(go("hires, latent", own) - expected).max() < 1e-2, "whatever the job's own hires prompt says"


def test_a_plain_hires_pass(host, go):
    go("hires, latent", {**LEFT_RIGHT, "hires": False}, negative_prompt="a cross")
    first, second = np.split(np.array([c["x"] for c in host.trace()["calls"]]), [3])
    assert (first == [4, 4, 8, 4]).all() and (second == [2, 4, 12, 12]).all()


def test_regions_grow_with_the_hires_pass(host, go):
    go("hires, latent", LEFT_RIGHT)
    first, second = np.split(np.array([c["x"] for c in host.trace()["calls"]]), [3])
    assert (first == [4, 4, 8, 4]).all() and (second[:, 2:] == [12, 6]).all()


# --- inpainting: boxes refer to the whole picture ---

def test_boxes_refer_to_the_whole_picture_when_only_the_masked_part_is_drawn(go):
    """A 128x128 picture of which 64x64 are drawn, one to one; and that part as a picture of its own."""
    whole = Image.open(io.BytesIO(base64.b64decode(picture(128, 128))))
    area = (32, 48, 96, 112)            # what the mask with its padding of 16 px makes of it
    masked = (48, 64, 80, 96)
    expected = go(inpaint(init_images=[encoded(whole.crop(area))], mask=mask(box=(16, 16, 48, 48))),
                  {"regions": [{"box": [0, 0, 0.5, 1], "prompt": OTHER}, {"box": [0.5, 0, 1, 1], "prompt": "a red square", "cfg_scale": 8}]})
    got = go(inpaint(init_images=[encoded(whole)], mask=mask(128, 128, masked), inpaint_full_res=True, inpaint_full_res_padding=16),
             {"regions": [{"box": [0.25, 0.375, 0.5, 0.875], "prompt": OTHER},
                          {"box": [0.5, 0.375, 0.75, 0.875], "prompt": "a red square", "cfg_scale": 8},
                          {"box": [0.75, 0, 1, 1], "prompt": "not in the part that is drawn"}]})
    assert np.abs(got - expected).max() < 1e-3


def test_boxes_refer_to_the_picture_when_its_masked_part_has_another_shape(go):
    """256x64 pixels fitted into 128x128: the picture lies in latent rows 6 to 9, its upper half in 6 and 7."""
    job = inpaint(init_images=[picture(256, 64)], mask=mask(256, 64, (0, 0, 256, 64)), inpaint_full_res=True, steps=1, denoising_strength=1,
                  width=128, height=128)
    upper = {"base": {"feather": 0}, "regions": [{"box": [0, 0, 1, 0.5], "prompt": OTHER, "window": "constant"}]}
    change = np.abs(go(job, upper) - go(job)).max((0, 1, 3))
    assert (change[[6, 7]] > 1e-3).all() and np.delete(change, [6, 7]).max() < 1e-4


def test_boxes_refer_to_the_picture_that_the_hires_pass_cuts_out(host, go):
    """64x128 pixels, twice as large and then cut to a square: of 16 rows of the first pass the picture keeps rows 4 to 11."""
    go(hires(width=64, height=128, hr_resize_x=128, hr_resize_y=128, steps=1, hr_second_pass_steps=1),
       {"base": {"feather": 0}, "regions": [{"box": [0, 0, 1, 1], "prompt": OTHER}]})
    assert sorted(c["x"] for c in host.trace()["calls"]) == sorted([[2, 4, 8, 8], [2, 4, 16, 8], [2, 4, 16, 16]])


def test_of_a_region_that_is_cut_off_the_rest_weighs_as_in_the_whole(go):
    """A gaussian about the middle of the region, not of what is left of it: the weighted mean in the overlap tells."""
    job = inpaint(init_images=[picture(128, 128)], mask=mask(128, 128, (48, 64, 80, 96)), inpaint_full_res=True, inpaint_full_res_padding=16)
    both = {"regions": [{"prompt": OTHER}, {"box": [0.25, 0.375, 0.75, 0.875], "prompt": "a red square"}]}
    equal = {"regions": [{**region, "window": "constant"} for region in both["regions"]]}
    assert np.abs(go(job, both) - go(job, equal)).max() > 1e-2


# --- interrupt, and what a script of the host may do around a job ---

@pytest.mark.parametrize("kind", ["interrupt", "skip"])
def test_an_interrupted_job_gives_the_last_finished_step(go, kind):
    """The host would finish the step at hand."""
    def stopped_at(call, plan=None):
        return go(("txt2img", {"steps": 6, "n_iter": 2 if kind == "skip" else 1}), plan, probe={"fault": {"at": "on_cfg_denoiser", "kind": kind, "call": call}})
    assert np.abs(stopped_at(3, {"regions": [{}]}) - stopped_at(2)).max() < 1e-2


def test_a_job_without_sampling_is_not_taken_for_one(host):
    """img2img alternative test replaces the job's sampling and calls no hook."""
    scripts = host.get("/sdapi/v1/scripts")["img2img"]
    if "img2img alternative test" not in scripts:
        pytest.skip("the embedded host has no such script")
    args = [None, True, True, "", "", True, 3, 1, 0, False]
    answer = host.run("img2img", LEFT_RIGHT, init_images=[picture()], script_name="img2img alternative test", script_args=args)
    assert answer.status == 422 and "does not let mixdiff in" in answer.error


def test_prompts_that_differ_in_a_batch(host):
    """The prompt matrix gives every picture of a job a prompt of its own."""
    if "prompt matrix" not in host.get("/sdapi/v1/scripts")["txt2img"]:
        pytest.skip("the embedded host has no such script")
    script = {"script_name": "prompt matrix", "script_args": [False, False, "positive", "comma", 0], "prompt": "a circle|red|on a gray background",
              "batch_size": 4}
    def run(plan):
        assert (answer := host.txt2img(plan, probe={}, **script)).status == 200, answer.error
        return host.latents()
    plain = run(None)
    assert np.abs(plain[0] - plain[1]).max() > 1e-2
    assert np.abs(run({"regions": [{}]}) - plain).max() < 1e-2
    assert np.abs(run({"regions": [{"prompt": "a circle"}]})[1] - plain[1]).max() > 1e-2
