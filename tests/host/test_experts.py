"""Expert stacks over HTTP, on either host: each step is the named checkpoint's, and the job after it is as if there had been none."""
from __future__ import annotations

import os
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.host.client import JOB, lasting
from tests.host.jobs import LEFT_RIGHT, hires, img2img
from tests.host.pair import NAME, UNET_ONLY, going

JOBS = {"Euler": ("txt2img", {}), "Heun": ("txt2img", {"sampler_name": "Heun"}), "DDIM, batch 2": ("txt2img", {"sampler_name": "DDIM", "batch_size": 2}),
        "AND": ("txt2img", {"prompt": "a red circle AND a blue square :0.6"}), "img2img": img2img(),
        "long negative prompt": ("txt2img", {"negative_prompt": "a blue cross, " * 30}), "hires": hires(),
        "regions over tiles": ("txt2img", {"width": 128, "height": 128}), **{name: ("txt2img", {"sampler_name": name, "steps": 6}) for name in (
            "Euler a", "DPM++ 2M SDE", "DPM++ SDE", "DPM2", "DPM adaptive", "DPM fast", "Restart", "LCM", "PLMS", "UniPC", "DDIM CFG++")}}
PLANS = {"regions over tiles": {**LEFT_RIGHT, "tiles": {"width": 64, "height": 72}}}


def stack(*ends: float, **fields: str) -> dict:
    """The other checkpoint between these shares of the steps."""
    when = {"unit": "steps", "from": ends[0], "to": ends[1]} if ends else None
    return {"model": {"experts": [{"model": NAME, "range": when, **fields}]}}


@pytest.fixture
def go(pair):
    return going(pair)


@pytest.mark.parametrize("job", JOBS)
def test_a_checkpoint_for_all_is_its_own_job(go, job):
    plan = PLANS.get(job, {})
    plain = go(JOBS[job], plan)
    expected = go(JOBS[job], plan, override_settings={"sd_model_checkpoint": NAME})
    got = go(JOBS[job], {**plan, "model": NAME})
    assert np.abs(got - expected).max() < 1e-4 * max(1.0, np.abs(expected).max())
    assert np.abs(got - plain).max() > 1e-2
    assert np.array_equal(go(JOBS[job], {**plan, **stack()}), got)
    assert np.array_equal(go(JOBS[job], plan), plain)


def test_with_the_loaded_text_encoder_only_the_unet_is_the_others(go):
    expected = go(JOBS["Euler"], override_settings={"sd_model_checkpoint": UNET_ONLY})
    got = go(JOBS["Euler"], stack(text_encoder="loaded"))
    assert np.abs(got - expected).max() < 1e-4 * max(1.0, np.abs(expected).max())
    assert np.abs(got - go(JOBS["Euler"], stack())).max() > 1e-2
    assert np.array_equal(got, go(JOBS["Euler"], {"model": {"experts": [{"model": stack()["model"], "text_encoder": "loaded"}]}}))


@pytest.mark.parametrize("fields", [{}, {"prompt": "a red circle AND a blue square :0.6", "batch_size": 2}], ids=["one prompt", "AND, batch 2"])
def test_a_checkpoint_for_each_region(go, fields):
    """Regions side by side know nothing of each other: each is as if its model were everyone's."""
    def halves(left: object, right: object, **plan: object) -> np.ndarray:
        own = {} if fields else {"prompt": "a blue circle", "negative_prompt": "a red cross"}
        return go(("txt2img", fields), {"regions": [{"box": [0, 0, 0.5, 1], "model": left, **own}, {"box": [0.5, 0, 1, 1], "model": right}], **plan})
    mine, theirs, ours = halves(None, None), halves(NAME, NAME), halves(NAME, None)
    assert np.abs(ours[..., :4] - theirs[..., :4]).max() < 1e-3 and np.abs(ours[..., 4:] - mine[..., 4:]).max() < 1e-3
    assert np.abs(ours - mine).max() > 1e-2 and np.abs(ours - theirs).max() > 1e-2
    late = halves(stack(0.5, 1)["model"], None)
    assert np.abs(late[..., 4:] - mine[..., 4:]).max() < 1e-3 and np.abs(late - mine).max() > 1e-2 and np.abs(late - ours).max() > 1e-2
    assert np.abs(halves({"experts": [{"model": None}]}, None, model=NAME)[..., :4] - mine[..., :4]).max() < 1e-3
    assert np.array_equal(halves(None, {"experts": [{"model": None}]}, model=NAME), ours)


@pytest.mark.parametrize("sampler", ["Euler", "DPM++ 2M"])
def test_two_experts_are_two_runs_cut_together(go, sampler):
    base = ("txt2img", {"steps": 8, "sampler_name": sampler})
    first = go(base, probe={"states": True})
    got = go(base, stack(0.5, 1))
    go(base, probe={"states": True})
    expected = go(base, probe={"start": 4}, override_settings={"sd_model_checkpoint": NAME})
    if sampler == "Euler":      # the other remembers a step
        assert np.abs(got - expected).max() < 1e-4 * max(1.0, np.abs(expected).max())
    assert np.abs(got - first).max() > 1e-2 and np.abs(got - go(base, stack())).max() > 1e-2


def test_the_loaded_one_between_others_is_a_gap(go):
    job = ("txt2img", {"steps": 8})
    expected = go(job, {"model": {"experts": [stack(0, 0.25)["model"]["experts"][0], stack(0.75, 1)["model"]["experts"][0]]}})
    named = {"model": None, "range": {"unit": "steps", "from": 0.25, "to": 0.75}}
    got = go(job, {"model": {"experts": [stack(0, 0.25)["model"]["experts"][0], named, stack(0.75, 1)["model"]["experts"][0]]}})
    assert np.array_equal(got, expected) and np.abs(got - go(job)).max() > 1e-2


def test_the_hires_pass_has_its_own_stack(go):
    alone = go(hires(), {**stack(), "hires": {"model": None}})
    assert np.abs(alone - go(hires(), stack())).max() > 1e-2 and np.abs(alone - go(hires())).max() > 1e-2
    assert np.array_equal(go(hires(), {**stack(), "hires": False}), alone)


@pytest.mark.parametrize("kind, status", [("error", 500), ("memory", 500), ("nan", 500), ("interrupt", 200)])
def test_after_a_fault_all_is_as_before(pair, kind, status):
    plain, before = pair.txt2img().body["images"], lasting(pair.state())
    answer = pair.txt2img(stack(0.25, 1), probe={"fault": {"at": "network", "kind": kind, "call": 2}}, steps=4)
    assert answer.status == status
    assert pair.txt2img().body["images"] == plain and lasting(pair.state()) == before


@pytest.mark.parametrize("model, words", [
    ("shapes-eps", ["another noise schedule", "the loaded checkpoint's schedule"]), ("nothing", ["there is no checkpoint", "there are"]),
    ({"afa": {"models": [NAME]}}, ["afa.aggregator", "mode full needs a trained one"])])
@pytest.mark.parametrize("where", ["model", "model.experts[0].model", "regions[1].model"])
def test_what_cannot_be_had_is_refused_by_name(pair, model, words, where):
    if model == "shapes-eps" and "shapes." not in pair.get("/sdapi/v1/options")["sd_model_checkpoint"]:
        pytest.skip("needs the shapes checkpoint loaded")
    plan = {"model": model} if where == "model" else {"regions": [{}, {"model": model}]} if "regions" in where else {"model": {"experts": [{"model": model}]}}
    answer = pair.txt2img(plan)
    assert answer.status == 422 and f"{where}" in answer.error and all(word in answer.error for word in words), answer.error


def test_with_the_refiner_it_is_refused(pair):
    answer = pair.txt2img(stack(), refiner_checkpoint=NAME, refiner_switch_at=0.5)
    assert answer.status == 422 and "the refiner" in answer.error, answer.error


def test_files_that_are_damaged_or_gone_are_named(pair):
    loaded = pair.get("/sdapi/v1/options")["sd_model_checkpoint"]
    path = next(Path(m["filename"]) for m in pair.get("/sdapi/v1/sd-models") if m["title"] == loaded).with_name(f"{NAME}.safetensors")
    whole, plain = path.read_bytes(), pair.txt2img().body["images"]
    tensors, bias = load_file(path), "model.diffusion_model.out.2.bias"
    small = {name: tensor for name, tensor in tensors.items() if name != bias}
    for damage, word in ((lambda: path.write_bytes(whole[:len(whole) // 2]), "damaged"), (path.unlink, "gone"),
                         (lambda: save_file(small, path), "no out.2.bias"), (lambda: path.write_bytes(b""), "damaged"),
                         (lambda: save_file({**tensors, bias: torch.zeros(5)}, path), "out.2.bias is (5,), in the loaded one (4,)"),
                         (lambda: save_file({**tensors, bias + "2": torch.zeros(5)}, path), "it has out.2.bias2, which the loaded one has not")):
        damage()
        answer = pair.txt2img(stack())
        path.write_bytes(whole)
        assert answer.status == 422 and word in answer.error, answer.error
        assert pair.txt2img().body["images"] == plain
    assert pair.txt2img(stack()).status == 200


def test_old_files_are_read_and_code_in_one_is_not_run(pair, go, tmp_path):
    """The embedded host lists no .ckpt."""
    if not os.environ.get("MIXDIFF_WEBUI_URL"):
        pytest.skip("needs a WebUI")
    loaded, ours = pair.get("/sdapi/v1/options")["sd_model_checkpoint"], "mixdiff-test-old"
    path = next(Path(m["filename"]) for m in pair.get("/sdapi/v1/sd-models") if m["title"] == loaded).with_name(f"{ours}.ckpt")
    try:
        old = {"_use_new_zipfile_serialization": False}     # what is newer the WebUI refuses by the names in the file
        torch.save({"state_dict": load_file(path.with_name(f"{NAME}.safetensors"))}, path, **old)
        if (config := path.with_name(f"{NAME}.yaml")).exists():
            shutil.copy(config, path.with_suffix(".yaml"))
        pair.post("/sdapi/v1/refresh-checkpoints", {})
        assert np.array_equal(go(JOBS["Euler"], {"model": ours}), go(JOBS["Euler"], {"model": NAME}))
        plain = pair.txt2img().body["images"]
        torch.save({"state_dict": {"a": Harmful(str(tmp_path / "harmed"))}}, path, **old)
        answer = pair.txt2img({"model": ours})
        assert answer.status == 422 and "holds code" in answer.error, answer.error
        assert not (tmp_path / "harmed").exists() and pair.txt2img().body["images"] == plain
    finally:
        path.unlink(missing_ok=True), path.with_suffix(".yaml").unlink(missing_ok=True)
        pair.post("/sdapi/v1/refresh-checkpoints", {})


class Harmful:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("room", [0.001, 0.02])
def test_with_little_room_it_is_the_same(pair, room):
    """Two other checkpoints in turns, of which both, or one at a time, may be there."""
    plan = {"regions": [{"box": [0, 0, 0.5, 1], "model": NAME}, {"box": [0.5, 0, 1, 1], "model": UNET_ONLY}], "base": {"share": 0.3},
            **stack(0, 0.5, text_encoder="loaded")}
    images, held = [], []
    for settings in ({}, {"mixdiff_weights_gpu": room, "mixdiff_weights_ram": room}):
        images.append(pair.txt2img(plan, probe={"measure": "WeightSet"}, override_settings=settings).body["images"])
        held.append(max(call["held"] for call in pair.trace()["calls"]))
    assert images[0] == images[1] != pair.txt2img().body["images"] and held[1] < 0.7 * held[0]


@pytest.mark.parametrize("fields, fault", [({"n_iter": 2}, None), ({"enable_hr": True, "hr_upscaler": "Latent", "denoising_strength": 0.6}, None),
                                           ({"n_iter": 2}, "error"), ({"n_iter": 2}, "interrupt"), ({"n_iter": 2}, "stop")])
def test_nothing_of_them_is_held_after_the_job(pair, fields, fault):
    probe = {"measure": "WeightSet", **({"fault": {"at": "network", "kind": fault, "call": 2}} if fault else {})}
    answer = pair.txt2img(stack(0, 0.5), probe=probe, steps=4, **fields)
    assert answer.status == (500 if fault == "error" else 200), answer.error
    assert pair.trace()["calls"][0]["held"] > 0 == pair.get("/mixdiff-probe/held/WeightSet")


def test_ten_jobs_in_turns_leave_the_plain_one_as_it_was(pair):
    """Plain, a stack, a checkpoint of a region, with an error in one and an interrupt in another."""
    region = {"regions": [{"box": [0, 0, 0.5, 1], "model": NAME}, {"box": [0.5, 0, 1, 1]}]}
    plain, before = pair.txt2img().body["images"], lasting(pair.state())
    for plan, fault in ((stack(0, 0.5), None), (region, {"kind": "error"}), (stack(0.5, 1), {"kind": "interrupt"}), (region, None), ({"model": NAME}, None)):
        answer = pair.txt2img(plan, probe={"fault": {"at": "network", "call": 2, **fault}} if fault else None, steps=4)
        assert answer.status == (500 if fault and fault["kind"] == "error" else 200), answer.error
        assert pair.txt2img().body["images"] == plain and lasting(pair.state()) == before


def test_check_says_what_a_stack_costs(pair):
    job = {key: JOB[key] for key in ("width", "height", "steps", "prompt", "sampler_name")}
    answer = pair.post("/mixdiff/v1/check", {"plan": stack(), "job": job})
    assert answer["cost"]["work"] == 1 and answer["cost"]["calls"] == JOB["steps"]
    assert "checkpoints" not in pair.post("/mixdiff/v1/check", {"plan": {}, "job": job})["cost"]["passes"][0]
    two = {"regions": [{"box": [0, 0, 0.5, 1], "model": NAME}, {"box": [0.5, 0, 1, 1]}]}
    answer = pair.post("/mixdiff/v1/check", {"plan": two, "job": job})
    assert answer["cost"]["work"] == 1 and answer["cost"]["calls"] == 2 * JOB["steps"]


@pytest.mark.parametrize("sampler, scheduler, kind", [("Euler", "", "txt2img"), ("DPM++ 2M", "", "hires"), ("DDIM", "", "txt2img"), ("DDIM", "", "img2img"),
                                                     ("Euler", "Exponential", "txt2img"), ("Euler", "", "img2img"), ("Heun", "Karras", "hires")])
@pytest.mark.parametrize("unit, cut", [("timestep", 600), ("sigma", 2.0), ("steps", 0.4)])
def test_check_says_which_step_uses_which_checkpoint(pair, sampler, scheduler, kind, unit, cut):
    """As many network calls are under each checkpoint as it says, which the probe sees by their noise."""
    route, fields = img2img() if kind == "img2img" else hires() if kind == "hires" else ("txt2img", {})
    fields = {**fields, "sampler_name": sampler, "scheduler": scheduler or "Automatic", "steps": 8}
    plan = {"model": {"experts": [{"model": NAME, "range": {"unit": unit, "to": cut}}]}}
    answer = pair.run(route, plan, {"steady": True}, **fields)
    if answer.status == 501:
        pytest.skip(answer.error)
    assert answer.status == 200, answer.error
    used = [call["weights"] for call in pair.trace()["calls"]]
    pair.run(route, None, {}, **fields)
    own = pair.trace()["calls"][0]["weights"]
    passes = pair.post("/mixdiff/v1/check", {"plan": plan, "job": {**{key: JOB[key] for key in ("width", "height")}, **fields}})["cost"]["passes"]
    for each in passes:
        found, = each["checkpoints"]
        steps = found["steps"]
        assert found["of"] == "canvas" and steps[0]["from"] == 1 and all(a["to"] + 1 == b["from"] for a, b in pairwise(steps))
        assert all(step["text_encoder"] == step["unet"] and (step["unet"] or NAME).startswith(NAME) for step in steps)
        said = [step["unet"] is not None for step in steps for _ in range(step["from"], step["to"] + 1)]
        count = 2 * len(said) - 1 if sampler == "Heun" else len(said)
        mine, used = [value != own for value in used[:count]], used[count:]
        assert (mine[::2] if sampler == "Heun" else mine) == said and (any(said) or kind == "img2img")
    assert used == []
