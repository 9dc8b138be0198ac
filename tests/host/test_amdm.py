"""AMDM over HTTP, on either host: Algorithm 1 on the bare networks is the oracle, plain jobs are the neutral laws."""
from __future__ import annotations

import json
import math
import os
import re
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import requests
import torch
from torch import nn

from lib_mixdiff.train.checkpoint import Checkpoint
from lib_mixdiff.train.faults import TrainError
from tests.host.client import JOB, lasting
from tests.host.jobs import LEFT_RIGHT, OTHER, PROMPT, hires, img2img, inpaint, mask, picture
from tests.host.pair import CONVERTED, NAME, going

STEPS = 6
THERE = "MIXDIFF_WEBUI_URL" in os.environ       # where there is time for more of a kind
ITSELF = {"amdm": {"models": [{}]}}
UNMIXED = ("UniPC", "DPM fast", "DPM adaptive", "DDIM CFG++")
EULERS = {"Euler": ("txt2img", {}), "DDIM, AND, batch 2": ("txt2img", {"sampler_name": "DDIM", "batch_size": 2, "prompt": f"{PROMPT} AND {OTHER} :0.6"}),
          "img2img": img2img(steps=4), "inpainting": inpaint(steps=4), "inpainting, DDIM": inpaint(sampler_name="DDIM"),
          "hires": hires(hr_second_pass_steps=2), "prompt editing": ("txt2img", {"prompt": "a [red:blue:0.5] circle", "steps": 4}),
          **({"long": ("txt2img", {"negative_prompt": "a blue cross, " * 30}), "img2img, DDIM": img2img(sampler_name="DDIM")} if THERE else {})}


@pytest.fixture
def go(pair):
    return going(pair)


def with_another(steps: int | None = None, weight: float = 1, eta: float = 0.3, mix: str = "slerp", plan: dict | None = None, **model) -> dict:
    amdm = {"steps": steps, "weight": weight, "eta": eta, "mix": mix, "models": [{"eta": eta, "plan": plan or {}, **model}]}
    return {"amdm": amdm}


def only(plan: dict | None = None, steps: int = STEPS, **model) -> dict:
    """The other alone has a say, in all steps."""
    return with_another(steps, 0, 0, plan=plan, **model)


def near(got: np.ndarray, expected: np.ndarray, most: float = 1e-4) -> bool:
    return bool(np.abs(got - expected).max() < most * max(1.0, np.abs(expected).max()))


# --- Algorithm 1 on the bare networks, no host ---

@cache
def networks(path: Path) -> tuple[Checkpoint, nn.Module, nn.Module]:
    file = Checkpoint(path)
    return file, file.unet(), file.text(75)


class Bare:
    """A checkpoint's own networks, with guidance."""

    def __init__(self, path: Path, prompt: str, negative: str, scale: float) -> None:
        file, self.unet, text = networks(path)
        self.scale, self.v, self.abar = scale, file.parameterization == "v", torch.tensor(file.abar, dtype=torch.float64)
        self.texts = text([prompt, negative])

    def denoised(self, x: torch.Tensor, abar: float, timestep: float) -> torch.Tensor:
        """x of unit variance, (1, 4, h, w)."""
        out = self.unet(x.repeat(2, 1, 1, 1).float(), torch.full((2,), timestep), context=self.texts).double()
        cond, uncond = math.sqrt(abar) * x - math.sqrt(1 - abar) * out if self.v else (x - math.sqrt(1 - abar) * out) / math.sqrt(abar)
        return uncond + self.scale * (cond - uncond)


def k_schedule(abar: torch.Tensor, steps: int) -> list[tuple[float, float]]:
    """(abar, timestep) of each step and of the end, as k-diffusion's `get_sigmas`: log sigma between timesteps."""
    log_sigmas = ((1 - abar) / abar).log() / 2
    times = torch.linspace(len(abar) - 1, 0, steps, dtype=torch.float64)
    low = times.floor().long()
    logs = torch.lerp(log_sigmas[low], log_sigmas[times.ceil().long()], times - low)
    return [(float(torch.sigmoid(-2 * log)), float(time)) for log, time in zip(logs, times)] + [(1.0, 0.0)]


def ddim_schedule(abar: torch.Tensor, steps: int) -> list[tuple[float, float]]:
    """As the WebUI makes DDIM's timesteps: one more than steps are taken."""
    times = [min(t + 1, 999) for t in range(0, 1000, 1000 // steps)]
    return [(float(abar[t]), float(t)) for t in reversed(times)]


def algorithm_1(models: list[Bare], x: torch.Tensor, schedule: list[tuple[float, float]], mixed: int, weights: list[float],
                etas: list[float]) -> torch.Tensor:
    """In variance-preserving coordinates, for one image; returns the last latent of the main model, models[0]."""
    xs = [x.double()] * len(models)
    for i, ((a, t), (a_next, _)) in enumerate(pairwise(schedule)):
        means = []
        for model, latent in zip(models, xs):
            x0 = model.denoised(latent, a, t)
            means.append(math.sqrt(a_next) * x0 + math.sqrt(1 - a_next) * (latent - math.sqrt(a) * x0) / math.sqrt(1 - a))
        if i >= mixed:
            xs, models = means[:1], models[:1]
            continue
        mix, total = means[0], weights[0]
        for mean, weight in zip(means[1:], weights[1:]):
            total += weight
            w, theta = weight / total, math.acos(float((mix * mean).sum() / (mix.norm() * mean.norm())))
            along = math.sin((1 - w) * theta) * mix / mix.norm() + math.sin(w * theta) * mean / mean.norm()
            mix = along / math.sin(theta) * ((1 - w) * mix.norm() + w * mean.norm())
        xs = [mix - min(eta * math.sqrt(x.numel() / 16384), float((mix - mean).norm())) * (mix - mean) / (mix - mean).norm()
              for mean, eta in zip(means, etas)]
    return xs[0]


@pytest.mark.parametrize("sampler, mixed, weights, etas", [("Euler", STEPS, [0.5, 2.0, 1.0], [0.3, 9.0, 0.3]),
                                                           ("DDIM", 3, [1.0, 1.0, 0.5], [0.3, 0.3, 0.0])])
def test_it_is_algorithm_1(pair, go, sampler, mixed, weights, etas):
    """Three models: the loaded one, the other with a prompt of its own, the loaded one with another scale and negative prompt."""
    paths = {Path(model["filename"]).stem: Path(model["filename"]) for model in pair.get("/sdapi/v1/sd-models")}
    loaded = paths[pair.get("/sdapi/v1/options")["sd_model_checkpoint"].split(".")[0].split(" ")[0]]
    try:
        networks(loaded)
    except TrainError as error:
        pytest.skip(str(error))
    told = [{"plan": {"model": NAME}, "prompt": OTHER}, {"cfg_scale": 2, "negative_prompt": "a blue cross"}]
    plan = {"amdm": {"steps": mixed, "weight": weights[0], "eta": etas[0],
                     "models": [{**each, "weight": weight, "eta": eta} for each, weight, eta in zip(told, weights[1:], etas[1:])]}}
    job = ("txt2img", {"steps": STEPS, "sampler_name": sampler, "cfg_scale": 3})
    got = go(job, plan)
    with torch.no_grad():
        models = [Bare(loaded, PROMPT, "", 3), Bare(paths[NAME], OTHER, "", 3), Bare(loaded, PROMPT, "a blue cross", 2)]
        torch.manual_seed(JOB["seed"])
        x, abar = torch.randn(1, *got.shape[1:]), models[0].abar
        schedule = k_schedule(abar, STEPS) if sampler == "Euler" else ddim_schedule(abar, STEPS)
        if sampler == "Euler":              # the host's latent has that deviation, and not 1 beside it
            x = x * math.sqrt(1 - schedule[0][0])
        expected = algorithm_1(models, x, schedule, mixed, weights, etas).numpy()
    assert np.abs(got - expected).max() < 1e-4 * (np.abs(expected).max() if THERE else 1)       # there with another torch
    assert np.abs(got - go(job)).max() > 1e-2


# --- neutral laws ---

@pytest.mark.parametrize("job", EULERS)
def test_a_model_mixed_with_itself_is_the_plain_job(go, job):
    plain = go(EULERS[job])
    more = [ITSELF, with_another(1, 1, 0, "lerp")] if THERE else []
    for plan in (with_another(2, 0.2, 5, plan={"regions": [{}]}), with_another(1, 0, 0.1, "average"), *more):
        assert near(go(EULERS[job], plan), plain, 1e-3)


@pytest.mark.parametrize("sampler", ["Euler", "Euler a", "DPM++ 2M", "DDIM", "Heun", "DPM++ SDE", "Restart", "LCM", "PLMS", *UNMIXED])
def test_without_weight_or_steps_it_is_the_plain_job(go, sampler):
    job = ("txt2img", {"sampler_name": sampler, "steps": STEPS})
    plain = go(job)
    for plan in (with_another(plan={"model": NAME}, weight=1, steps=0), {"amdm": {"models": [{"weight": 0, "plan": {"model": NAME}}]}}):
        assert np.array_equal(go(job, plan), plain)


@pytest.mark.parametrize("sampler", ["Euler a", "DPM++ 2M", "DPM++ SDE", "DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 2S a", "DPM++ 3M SDE", "LMS",
                                     "Heun", "DPM2", "DPM2 a", "Restart", "LCM", "PLMS"])
def test_other_samplers_take_the_rest(go, sampler):
    """With a model mixed with itself in the first two steps, the rest is that sampler's own from where Euler's or DDIM's steps ended."""
    fields = {"steps": STEPS, "sampler_name": sampler, "cfg_scale": 2}      # guidance makes much of rounding
    got = go(("txt2img", fields), with_another(2))
    assert np.isfinite(got).all() and near(go(("txt2img", fields), with_another(2, 0.3)), got, 1e-3)
    assert np.abs(go(("txt2img", fields), with_another(2, prompt=OTHER, seed=5)) - got).max() > 1e-3


@pytest.mark.parametrize("sampler, alike", [("Euler a", "Euler"), ("DPM++ SDE", "Euler"), ("Heun", "Euler"), ("PLMS", "DDIM")])
def test_mixed_to_the_end_any_sampler_is_eulers_or_ddims(go, sampler, alike):
    """Also where something of the plan begins at a step."""
    plan = {"regions": [{"box": [0, 0, 0.5, 1], "prompt": OTHER, "range": {"unit": "steps", "from": 0.5, "to": 1}}]}
    fields = {"steps": STEPS, "cfg_scale": 2, "scheduler": "karras" if "DPM" in sampler else "Automatic"}
    expected = go(("txt2img", {**fields, "sampler_name": alike}), plan)
    assert near(go(("txt2img", {**fields, "sampler_name": sampler}), {**plan, **with_another(STEPS, plan=plan)}), expected, 1e-3)


@pytest.mark.parametrize("sampler", ["Euler", "DDIM"])
def test_the_other_alone_is_its_own_job(go, sampler):
    """Its prompts, scale, seed, checkpoint, regions: each as that job's own."""
    fields = {"steps": STEPS, "sampler_name": sampler}
    own = {"prompt": OTHER, "negative_prompt": "a red circle", "cfg_scale": 3, "seed": 77, "override_settings": {"sd_model_checkpoint": NAME}}
    expected = go(("txt2img", {**fields, **own, "batch_size": 2}), LEFT_RIGHT)
    told = {key: value for key, value in own.items() if key != "override_settings"}
    assert near(go(("txt2img", {**fields, "batch_size": 2}), only({"model": NAME, **LEFT_RIGHT}, **told)), expected, 1e-3)


@pytest.mark.parametrize("job", ["img2img", "inpainting, DDIM", "hires", "prompt editing"])
def test_the_other_alone_in_other_jobs(go, job):
    """Seeds of its regions among what is its own, where noise is laid on a picture, too; and mixed with itself."""
    route, fields = EULERS[job]
    plan = {"regions": [{"box": [0, 0, 0.5, 1], "prompt": OTHER, "seed": 5}], "tiles": {"width": 64, "height": 64}}
    fields = {**fields, "width": 128, "height": 128, "steps": 4, "cfg_scale": 2, **({"hr_sampler_name": "DDIM", "hr_second_pass_steps": 4} if job == "hires" else {})}
    alone = go((route, fields), plan)
    assert near(go((route, fields), only(plan, steps=3 if "in" in job[:5] or "img" in job else 4)), alone, 1e-3)
    assert near(go((route, fields), {**plan, **with_another(1, plan=plan)}), alone, 1e-3)


@pytest.mark.parametrize("sampler", ["Euler", "DDIM"])
@pytest.mark.parametrize("kind", ["img2img", "hires"])
def test_a_seed_replaces_the_noise_on_a_picture(go, kind, sampler):
    """All noise of the other's is its seed's: as of a region over all, which is tested beside regions."""
    job = img2img(steps=STEPS, cfg_scale=2, sampler_name=sampler) if kind == "img2img" else hires(cfg_scale=2, hr_sampler_name=sampler)
    seeded, alone = {"hires": {"regions": [{"seed": 77}]}}, {"hires": only(steps=4, seed=77)}
    plans = (seeded, alone) if kind == "hires" else ({"regions": [{"seed": 77}]}, only(steps=4, seed=77))
    expected = go(job, plans[0])
    assert near(go(job, plans[1]), expected, 1e-3) and not near(go(job), expected, 1e-2)


@pytest.mark.parametrize("fields", [{"steps": 6, "denoising_strength": 0.3}, {"steps": 6, "denoising_strength": 0.5}])
def test_a_short_pass_is_mixed_as_far_as_it_goes_or_refused(pair, fields):
    answer = pair.run("img2img", ITSELF, {}, **{**img2img()[1], "sampler_name": "DDIM", **fields})
    assert (answer.status, "amdm.steps" in answer.error) == ((422, True) if fields["denoising_strength"] < 0.4 else (200, False)), answer.error


def test_an_interrupted_job_leaves_the_main_models_picture(pair):
    """Interrupted while another is asked, as interrupted before it was."""
    def left(call: int) -> np.ndarray:
        fault = {"fault": {"at": "network", "kind": "interrupt", "call": call}}
        return pair.run("txt2img", with_another(3, prompt=OTHER), fault, steps=STEPS).pictures[0]
    assert np.array_equal(left(2), left(1)) and not np.array_equal(left(3), left(1))


def test_a_network_that_predicts_otherwise_is_converted(pair, go):
    titles = [model["model_name"] for model in pair.get("/sdapi/v1/sd-models")]
    if CONVERTED not in titles:
        pytest.skip("the loaded checkpoint has no yaml that could say so")
    expected = go(("txt2img", {"override_settings": {"sd_model_checkpoint": CONVERTED}}))
    assert near(go(("txt2img", {}), {"model": CONVERTED}), expected, 1e-3) and not near(go(("txt2img", {}), {"model": NAME}), expected, 1e-3)
    both = go(("txt2img", {}), {"model": CONVERTED, **with_another(3, plan={"model": NAME})})
    there = go(("txt2img", {"override_settings": {"sd_model_checkpoint": CONVERTED}}), with_another(3, plan={"model": NAME}))
    assert near(both, there, 1e-3)


# --- what a user sees ---

def test_a_batch_is_three_single_jobs(go):
    plan = with_another(3, plan={"model": NAME, **LEFT_RIGHT}, seed=40, prompt=OTHER)
    batch = go(("txt2img", {"steps": STEPS, "batch_size": 3}), plan)
    for k in range(3):
        plan["amdm"]["models"][0]["seed"] = 40 + k
        assert near(batch[k:k + 1], go(("txt2img", {"steps": STEPS, "seed": JOB["seed"] + k}), plan))


@pytest.mark.parametrize("sampler", ["Euler", "DDIM", "Heun"])
def test_it_costs_a_call_for_each_model_in_a_mixed_step_and_one_afterwards(pair, go, sampler):
    plan = {"amdm": {"steps": 2, "models": [{"prompt": OTHER}, {"plan": {"model": NAME}}]}}
    go(("txt2img", {"steps": STEPS, "sampler_name": sampler}), plan)
    trace = pair.trace()
    plain = len(trace["calls"]) - 2 * 3
    assert plain == {"Euler": STEPS - 2, "DDIM": STEPS - 2, "Heun": 2 * (STEPS - 2) - 1}[sampler]
    progress = [int(call["step"]) for call in trace["calls"]]
    assert progress == sorted(progress)
    answer = pair.run("txt2img", plan, steps=STEPS, sampler_name=sampler)
    assert f"mixdiff U-Net calls: {len(trace['calls'])}" in json.loads(answer.body["info"])["infotexts"][0]
    if sampler == "Euler":
        cost = pair.post("/mixdiff/v1/check", {"plan": plan, "job": {**JOB, "steps": STEPS}})["cost"]
        assert cost["calls"] == len(trace["calls"]) and cost["passes"][0]["amdm"] == {"models": 3, "steps": 2}


def test_the_infotext_counts_each_pass(pair):
    def counted(plan: dict, **fields) -> list[str]:
        answer = pair.run("txt2img", plan, steps=4, **{**hires(hr_second_pass_steps=4)[1], **fields})
        return [re.findall(r"mixdiff U-Net calls: ([^,]*)", text)[0] for text in answer.info["infotexts"]]
    assert counted({"amdm": {"models": [{}], "steps": 2}, "hires": {"amdm": None}}) == ["6 + 4 in the hires pass"]
    assert counted({"hires": {"amdm": {"models": [{}], "steps": 3}}}, n_iter=2) == ["7 in the hires pass"] * 2


def test_steps_are_two_fifths_if_nothing_is_said(pair, go):
    go(("txt2img", {"steps": STEPS}), ITSELF)
    assert len(pair.trace()["calls"]) == STEPS + 2


def test_a_guide_holds_through_the_mixture(go):
    """It acts on what the mixture comes to: where it holds to the end, the picture is the guide's, whatever the models say."""
    guide = {"guides": [{"image": picture(), "box": [0, 0, 0.5, 1], "strength": 1}]}
    job = ("txt2img", {"steps": STEPS})
    assert near(go(job, {**guide, **with_another(3, prompt=OTHER)})[..., :4], go(job, guide)[..., :4], 1e-3)
    assert near(go(job, only(guide)), go(job, guide), 1e-2)
    everywhere = {"guides": [{"image": picture(), "strength": 0.7}]}        # while steps are mixed, not to the end
    assert near(go(job, {**everywhere, **with_another(2, prompt=OTHER, seed=5)}), go(job, everywhere), 1e-3)


def test_paint_and_a_model_of_the_plan_go_in_it(go):
    painted = {"paint": {"strength": 2, "phrases": [{"phrase": "red circle", "mask": mask()}]}}
    job = ("txt2img", {"steps": STEPS})
    assert near(go(job, only(painted)), go(job, painted), 1e-3)
    got = go(job, {**painted, "model": NAME, **with_another(2, plan=LEFT_RIGHT)})
    for plan in (painted, {"model": NAME}, {**painted, "model": NAME}, with_another(2, plan=LEFT_RIGHT)):
        assert np.abs(got - go(job, plan)).max() > 1e-3


@pytest.mark.parametrize("plan, fields, words", [
    *(({"amdm": {"models": [{}]}}, {"sampler_name": name}, ["amdm", name]) for name in UNMIXED),
    ({"amdm": {"steps": 9, "models": [{}]}}, {"steps": 8}, ["amdm.steps", "9", "8"]),
    ({"amdm": {"models": [{}]}, "hires": {"amdm": {"steps": 5}}}, {"enable_hr": True, "hr_second_pass_steps": 4}, ["hires.amdm.steps"]),
    ({"amdm": {"models": [{"plan": {"model": "nothing"}}]}}, {}, ["amdm.models[0].plan.model"]),
    ({"amdm": {"models": [{"plan": {"regions": [{}, {"model": "shapes-eps"}]}}]}}, {}, ["amdm.models[0].plan.regions[1].model"]),
    ({"amdm": {"models": [{"prompt": "a red circle: 0"}]}}, {}, ["amdm.models[0].prompt"]),
    ({"amdm": {"models": [{"negative_prompt": "<lora:a:1>"}]}}, {}, ["amdm.models[0].negative_prompt"]),
    ({"amdm": {"models": [{"plan": {"paint": {"phrases": [{"phrase": "green cross", "mask": mask()}]}}}]}}, {}, ["amdm.models[0].plan.paint.phrases[0]"]),
    ({"amdm": {"models": [{"control_units": []}]}}, {}, ["amdm.models[0].control_units"]),
    ({"amdm": {"models": [{}]}}, {"refiner_checkpoint": NAME, "refiner_switch_at": 0.5}, ["amdm", "refiner"]),
])
def test_what_cannot_be_had_is_said_before_the_first_step(pair, plan, fields, words):
    pair.txt2img()
    answer = pair.run("txt2img", plan, {}, **fields)
    if answer.status == 501:
        pytest.skip(answer.error)
    assert answer.status == 422 and all(word in answer.error for word in words), answer.error
    if "nothing" in str(plan) or "shapes-eps" in str(plan):     # no file is read before a job
        return
    checked = requests.post(f"{pair.url}/mixdiff/v1/check", json={"plan": plan, "job": {**JOB, **fields}}, timeout=60)
    assert checked.status_code == 422, checked.text


def test_nothing_stays_behind(pair, go):
    plain, before = pair.txt2img().body["images"], lasting(pair.state())
    go(("txt2img", {"batch_size": 2, "n_iter": 2}), with_another(2, plan={"model": NAME, **LEFT_RIGHT}, prompt=OTHER))
    assert pair.txt2img().body["images"] == plain and lasting(pair.state()) == before
