"""Masks, seeds, ranges and guide images over HTTP, in every kind of job; jobs and samplers that the embedded host has not are skipped
with its sentence."""
from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from bench.detector import detect
from bench.scores import has_only, one_background
from minihost.shapes import world
from tests.host.jobs import LAWFUL, LEFT_RIGHT, OTHER, PROMPT, encoded, img2img, inpaint, picture
from tests.test_masks import painted

SAMPLERS = [name for name in LAWFUL if name.startswith("sampler ")]
RIGHT_HALF = {"box": [0.5, 0, 1, 1]}
FIRST, LAST = 1000, 0       # timesteps


def during(unit: str, start: float, end: float) -> dict:
    return {"range": {"unit": unit, "from": start, "to": end}}


def close(got: np.ndarray, expected: np.ndarray, bound: float = 1e-2) -> bool:
    return bool(np.abs(got - expected).max() < bound * max(1.0, np.abs(expected).max() / 10))


# --- masks ---

@pytest.mark.parametrize("job", ["sampler Euler", "sampler DDIM", "img2img", "hires, latent"])
def test_a_mask_that_is_a_rectangle_is_the_box(go, job):
    boxed = [{**LEFT_RIGHT["regions"][0], "box": [0, 0, 0.5, 1]}, {"box": [0.5, 0.25, 1, 1], "prompt": OTHER}]
    masked = [{**LEFT_RIGHT["regions"][0], "box": None, "mask": painted(0, 0, 0.5, 1, (288, 416))},
              {"mask": painted(0.5, 0.25, 1, 1, (288, 416)), "prompt": OTHER}]
    assert close(go(job, {"regions": masked}), go(job, {"regions": boxed}))


def test_a_region_acts_where_its_mask_is_and_in_part_where_it_is_grey(go):
    plain = go("sampler Euler", steps=1)
    whole = go("sampler Euler", {"regions": [{"prompt": OTHER}]}, steps=1)
    wedge = Image.linear_gradient("L").rotate(90).resize((64, 64))       # black at the left, white at the right
    plan = {"regions": [{"prompt": OTHER, "mask": encoded(wedge), "window": "constant"}], "base": {"feather": 0}}
    got = go("sampler Euler", plan, steps=1)
    share = np.asarray(wedge.convert("L"), float).reshape(8, 8, 8, 8).mean((1, 3)) / 255
    assert np.abs(got - (share * whole + (1 - share) * plain)).max() < 1e-2 * np.abs(whole - plain).max()


# --- ranges ---

@pytest.mark.parametrize("job", ["sampler Euler", "sampler DDIM", "sampler DPM++ 2M", "sampler Euler a", "img2img", "hires, latent"])
def test_a_range_of_steps_is_prompt_editing(go, job):
    """A region over all that acts up to the step where "[a:b:0.5]" changes: with 6 steps that is step 4, the fourth call."""
    steps = {"steps": 6, "hr_second_pass_steps": 6} if job.startswith("hires") else {"steps": 6, "denoising_strength": 0.999}
    plan = {"regions": [{"prompt": PROMPT, **during("steps", 0, 4 / 6)}], "hires": False}        # where the editing is over
    assert close(go(job, plan, prompt=OTHER, **steps), go(job, prompt=f"[{PROMPT}:{OTHER}:0.5]", **steps))


@pytest.mark.parametrize("job", ["sampler DDIM", "sampler DPM++ 2M"])
def test_ranges_that_meet_take_turns(go, job):
    """In sigma and in timesteps, cut where the steps are; the other half says the same as one region without a range."""
    go(job)
    for unit, first, cut, last in (("timestep", FIRST, 500, LAST), ("sigma", 1_000_000, 1.2, 0), ("steps", 0, 0.5, 1)):
        halves = [{"prompt": OTHER, **during(unit, first, cut)}, {"prompt": OTHER, **during(unit, cut, last)}]
        assert close(go(job, {"regions": halves}), go(job, {"regions": [{"prompt": OTHER}]})), unit
        apart = go(job, {"regions": [halves[0], {**halves[1], "prompt": PROMPT}]})
        assert not close(apart, go(job, {"regions": [{"prompt": OTHER}]})) and not close(apart, go(job, {"regions": [{"prompt": PROMPT}]})), unit


@pytest.mark.parametrize("job", ["sampler Euler", "sampler DDIM", "sampler PLMS", "sampler UniPC", "sampler DDIM CFG++", "img2img", "img2img, DDIM",
                                 "sampler Heun", "sampler DPM fast", "sampler DPM adaptive"])
def test_the_last_step_is_in_reach(go, job):
    """Some loops are shorter than the job's steps."""
    late = {"regions": [{"prompt": OTHER, **during("steps", 0.65 if job.startswith("img2img") else 0.8, 1)}]}
    assert not close(go(job, late), go(job), 1e-4)


def test_timesteps_and_sigmas_name_the_same_moment(go):
    """timestep 500 has a sigma; both cut a job of 6 steps between the same two."""
    plans = [{"regions": [{"prompt": OTHER, **during(unit, first, cut)}]}
             for unit, first, cut in (("timestep", FIRST, 500), ("steps", 0, 0.5))]
    assert close(*(go("sampler Euler", plan) for plan in plans)), "evenly in timesteps: 1000, 800, 600, 400, 200, 1"


# --- seeds ---

@pytest.mark.parametrize("job", [*SAMPLERS, "ENSD", "txt2img, 72x104", "txt2img, n_iter 2", "img2img, batch 2, n_iter 2", "img2img, Euler a",
                                 "img2img, noise multiplier", "inpainting, original", "hires, latent", "hires, DDIM first"])
def test_a_seed_over_all_is_the_jobs_seed(go, job):
    assert close(go(job, {"regions": [{"seed": 77}]}, seed=11), go(job, seed=77))
    assert not close(go(job, {"regions": [{"seed": 78}]}, seed=11), go(job, seed=77))


@pytest.mark.parametrize("job", SAMPLERS)
def test_equal_seeds_are_one(go, job):
    halves = [{"box": [0, 0, 0.5, 1], "seed": 77}, {"box": [0.5, 0, 1, 1], "seed": 77}]
    without = [{key: value for key, value in region.items() if key != "seed"} for region in halves]
    assert close(go(job, {"regions": halves}, seed=11), go(job, {"regions": without}, seed=77))


def test_a_random_seed_is_written_down_and_brings_every_picture_back(host):
    plan = {"regions": [{**RIGHT_HALF, "seed": -1, "prompt": OTHER}], "hires": {"regions": [{"seed": -1}]}}
    first = host.txt2img(plan, batch_size=2, n_iter=2, sampler_name="Euler a")
    again = host.txt2img(plan, batch_size=2, n_iter=2, sampler_name="Euler a")
    assert first.status == 200, first.error
    assert not any(np.array_equal(a, b) for a, b in zip(first.pictures, again.pictures)), "random"
    lines = [json.loads(json.loads(line.split("mixdiff: ")[1].split(", Version")[0])) for line in first.info["infotexts"]]
    for k, (written, made) in enumerate(zip(lines, first.pictures)):
        assert 0 <= written["regions"][0]["seed"] < 2**32 and 0 <= written["hires"]["regions"][0]["seed"] < 2**32
        alone = host.txt2img(written, seed=11 + k, sampler_name="Euler a").pictures[0]
        assert np.abs(alone.astype(int) - made).max() <= 2, k


def test_behind_the_last_seed_comes_the_first(host):
    plan = {"regions": [{"seed": 2**32 - 1, "prompt": OTHER}]}
    both = host.txt2img(plan, batch_size=2, sampler_name="Euler a")
    assert '\\"seed\\": 0}' in both.info["infotexts"][1]
    alone = host.txt2img({"regions": [{"seed": 0, "prompt": OTHER}]}, seed=12, sampler_name="Euler a").pictures[0]
    assert np.abs(alone.astype(int) - both.pictures[1]).max() <= 2


# --- guides ---

def guide(strength: float = 1.0, box: list | None = None, **keys) -> dict:
    return {"guides": [{"image": picture(), "strength": strength, "box": box or [0.25, 0.25, 0.75, 0.75], **keys}]}


def test_every_sampler_of_the_host_is_here(host):
    there = {sampler["name"] for sampler in host.get("/sdapi/v1/samplers")}
    assert there <= {name.removeprefix("sampler ") for name in SAMPLERS} and len(SAMPLERS) == 20


@pytest.fixture(scope="module")
def encoded_image(host) -> tuple[np.ndarray, float]:
    """The latents (4, 8, 8) that the host's own VAE makes of the picture, and their standard error: what inpainting keeps, which is
    a draw of the posterior, as a mean of draws."""
    corner = np.zeros((64, 64), np.uint8)
    corner[-8:, -8:] = 255
    route, fields = inpaint(mask=encoded(Image.fromarray(corner)), steps=2)
    draws = []
    for seed in range(24):
        assert host.run(route, None, probe={}, **{**fields, "prompt": PROMPT, "seed": seed}).status == 200
        draws.append(host.latents()[0])
    return np.mean(draws, 0), float(np.std(draws, 0)[..., :-1, :-1].mean() / len(draws)**0.5)


@pytest.mark.parametrize("job", [*SAMPLERS, "img2img", "img2img, DDIM"])
def test_a_guide_of_strength_1_is_the_image(go, encoded_image, job):
    """Within 1 % of the encoded one, whatever prompt and seed."""
    image, error = encoded_image
    whole = go(job, guide(box=[0, 0, 1, 1]))[0]
    kept = (..., slice(None, -3), slice(None, -3))          # the corner was drawn
    assert np.abs(whole - image)[kept].mean() < 0.01 * np.abs(image).max() + error
    inside, outside = (..., slice(2, 6), slice(2, 6)), np.ones((8, 8), bool)
    outside[inside[1:]] = False
    first, other = go(job, guide()), go(job, guide(), prompt=OTHER, seed=99)
    assert np.abs((other - first)[inside]).max() < 0.01 * max(1.0, np.abs(first[inside]).max())
    assert np.abs((other - first)[..., outside]).max() > 0.05, "around it they are not"


def test_a_guide_of_strength_1_holds_in_the_hires_pass(go):
    """That a decoder sees all of, so the guide covers all."""
    over = guide(box=[0, 0, 1, 1])
    assert close(go("hires, latent", over), go("hires, latent", over, prompt=OTHER, seed=99))
    assert not close(go("hires, latent", {**over, "hires": {"guides": []}}), go("hires, latent", over))


def test_a_guide_shows_its_image(host):
    if "shapes" not in host.get("/sdapi/v1/options")["sd_model_checkpoint"]:
        pytest.skip("a random decoder shows nothing")
    scene = world.render(world.Scene(128, 128, "teal", (world.Thing("red", "circle", 40, 70, 12), world.Thing("white", "cross", 90, 40, 11))))
    answer = host.txt2img({"guides": [{"image": encoded(Image.fromarray(scene)), "strength": 1}]}, steps=4, width=128, height=128)
    assert answer.status == 200, answer.error
    found = detect(answer.pictures[0])
    assert has_only(found, ["red circle", "white cross"]) and one_background(found, "teal")


@pytest.mark.parametrize("job", ["sampler Euler", "sampler DDIM", "img2img"])
def test_a_guide_of_strength_0_changes_nothing(go, job):
    assert np.array_equal(go(job, guide(0.0)), go(job))


@pytest.mark.parametrize("route, sampler", [("txt2img", "DDIM"), ("img2img", "Euler")])
def test_the_stronger_the_closer(go, route, sampler):
    """Over few seeds; `python -m bench.guides` prints the curve over many."""
    cells = (..., slice(2, 6), slice(2, 6))
    fields = {"sampler_name": sampler, "steps": 8}
    job = img2img(init_images=[picture(80, 80)], **fields) if route == "img2img" else (route, fields)
    image = go(job, guide(1.0))[cells]
    distances = [np.mean([np.abs(go(job, guide(strength), seed=seed)[cells] - image).mean() for seed in range(20, 23)])
                 for strength in (0.0, 0.45, 0.65, 0.9)]
    assert distances == sorted(distances, reverse=True) and distances[-1] < distances[0] / 4, distances


def test_a_later_guide_lies_on_top_and_masks_hold_them_back(go):
    light, dark = (encoded(Image.new("RGB", (64, 64), color)) for color in ((250, 250, 250), (5, 5, 5)))
    plan = {"guides": [{"image": light, "strength": 1}, {"image": dark, "strength": 1, "box": [0.5, 0, 1, 1]}]}
    both = go("sampler Euler", plan)
    only = go("sampler Euler", {"guides": plan["guides"][:1]})
    dark_only = go("sampler Euler", {"guides": plan["guides"][1:]})
    assert close(both[..., :4], only[..., :4]) and close(both[..., 4:], dark_only[..., 4:]) and not close(both[..., 4:], only[..., 4:])
    masked = go("sampler Euler", {"guides": [{**plan["guides"][0], "mask": painted(0, 0, 0.5, 1), "box": [0, 0, 1, 1]}]})
    assert close(masked[..., :4], only[..., :4]) and not close(masked[..., 4:], only[..., 4:])


def test_inpainting_keeps_what_it_keeps(go):
    job = inpaint()
    kept = np.ones((8, 8), bool)
    kept[2:6, 1:5] = False
    plain, guided = go(job), go(job, guide(box=[0, 0, 1, 1]))
    assert close(guided[..., kept], plain[..., kept], 1e-4) and not close(guided, plain)


def test_guides_and_regions_in_one_job(go):
    plan = {**LEFT_RIGHT, **guide(box=[0, 0, 0.5, 0.5])}
    for job in ("sampler Euler", "sampler DDIM"):
        got, regions = go(job, plan), go(job, LEFT_RIGHT)
        assert np.abs(got[..., :4, :4] - go(job, guide(box=[0, 0, 0.5, 0.5]))[..., :4, :4]).max() < 0.01 * np.abs(got).max()
        assert not close(got, regions) and np.abs(got - regions)[..., 6:, 6:].max() < np.abs(got - regions)[..., :4, :4].max()


def test_images_are_written_by_hash_and_come_back(host):
    plan = {"regions": [{"mask": painted(0, 0, 0.5, 1), "prompt": OTHER}], **guide(box=[0.5, 0.5, 1, 1])}
    first = host.txt2img(plan)
    written = json.loads(json.loads(first.info["infotexts"][0].split("mixdiff: ")[1].split(", Version")[0]))
    assert len(json.dumps(written)) < 500 and written["regions"][0]["mask"].startswith("sha256:")
    assert host.txt2img(written).body["images"] == first.body["images"] != host.txt2img().body["images"]


def test_images_that_cannot_be_used_are_named(host):
    nowhere = "sha256:" + 64 * "0"
    for plan, field in (({"guides": [{"image": nowhere}]}, "guides[0].image"), ({"regions": [{"mask": nowhere}]}, "regions[0].mask"),
                        ({"regions": [{"mask": painted(0, 0, 1, 1, value=0)}]}, "regions[0].mask"),
                        ({"guides": [{"image": picture(), "mask": "iVBORw0KGgo" + 17 * "A"}]}, "guides[0].mask")):
        answer = host.txt2img(plan)
        assert answer.status == 422 and answer.error.startswith(f"{field}: "), answer.error
        assert "images" not in answer.body
