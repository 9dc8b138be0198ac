"""LoRAs of regions over HTTP, on a WebUI: each acts as in a job of its own, and the job after it is as if there had been none."""
from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
import requests
import torch
from safetensors.torch import load_file, save_file

from bench.refiner import disturbed, keep_beside
from tests.host.client import JOB, Host, lasting
from tests.host.jobs import hires

A, B, OTHER = "mixdiff-lora-a", "mixdiff-lora-b", "mixdiff-lora-other"
RANK = 4
UNET, TEXT = ("model.diffusion_model.", "lora_unet_"), {
    "cond_stage_model.transformer.text_model.": "lora_te_text_model_", "conditioner.embedders.0.transformer.text_model.": "lora_te1_text_model_",
    "conditioner.embedders.1.model.transformer.resblocks.": "lora_te2_text_model_encoder_layers_"}
PROMPT = JOB["prompt"]
JOBS = {"Euler": {}, "DPM++ 2M": {"sampler_name": "DPM++ 2M", "steps": 5}, "batch 2": {"batch_size": 2}, "DDIM": {"sampler_name": "DDIM"},
        "AND": {"prompt": "a red circle AND a blue square :0.6"}, "negative prompt": {"negative_prompt": "a blue cross"}, "hires": hires()[1]}
KINDS = ("hada", "lokr", "full", "norm", "dora", "ia3", "cp", "glora")


def layers(path: Path) -> dict[str, torch.Tensor]:
    """Weights by the names that their layers have in a LoRA, those of attentions whose weights are one by part."""
    weights: dict[str, torch.Tensor] = {}
    for name, tensor in load_file(path).items():
        own, _, last = name.rpartition(".")
        prefix, new = next(((p, n) for p, n in [UNET, *TEXT.items()] if own.startswith(p)), ("", ""))
        own = own[len(prefix):].replace(".", "_")
        if not prefix or "embedding" in name or not tensor.is_floating_point() or tensor.ndim not in (1, 2, 4):
            continue
        if new.startswith("lora_te2"):
            own = own.replace("mlp_c_fc", "mlp_fc1").replace("mlp_c_proj", "mlp_fc2").replace("attn", "self_attn")
            if last == "in_proj_weight":
                weights.update({f"{new}{own}_{part}_proj": weight for part, weight in zip("qkv", tensor.float().chunk(3))})
        if last == "weight":
            weights[new + own] = tensor.float()
    return weights


def write(file: Path, path: Path, kind: str, seed: int, strength: float = 0.15) -> None:
    """Random changes of a checkpoint's layers, of about this part of their size."""
    g, tensors = torch.Generator().manual_seed(seed), {}

    def random(*shape: int, size: float = 1.0) -> torch.Tensor:
        return size * torch.randn(shape, generator=g)
    for layer, weight in layers(path).items():
        wide, into, *kernel = (*weight.shape, 1)[:max(2, weight.ndim)]
        size, ones = strength * float(weight.square().mean().sqrt()), [1] * len(kernel)
        new: dict[str, torch.Tensor] = {}
        if weight.ndim == 1:
            if kind == "norm" and layer.startswith(UNET[1]):
                new = {"w_norm": random(wide, size=size), "b_norm": random(wide, size=size)}
        elif kind in ("lora", "dora") or (kind == "cp" and kernel):
            new = {"lora_down.weight": random(RANK, into, *(ones if kind == "cp" else kernel)),
                   "lora_up.weight": random(wide, RANK, *ones, size=2 * size / RANK**0.5), "alpha": torch.tensor(RANK / 2)}
            if kind == "cp":
                new["lora_mid.weight"] = random(RANK, RANK, *kernel, size=RANK**-0.5)
            if kind == "dora":
                new["dora_scale"] = weight.transpose(0, 1).flatten(1).norm(dim=1).reshape(1, into, *ones) * (1 + random(1, into, *ones, size=strength))
        elif kind == "hada" and not kernel:
            new = {"hada_w1_a": random(wide, RANK, size=size), "hada_w1_b": random(RANK, into), "hada_w2_a": random(wide, RANK, size=0.25),
                   "hada_w2_b": random(RANK, into), "alpha": torch.tensor(float(RANK))}
        elif kind == "lokr" and not kernel and wide % 2 == into % 2 == 0:
            new = {"lokr_w1": random(2, 2, size=size), "lokr_w2": random(wide // 2, into // 2)}
        elif kind == "full":
            new = {"diff": random(wide, into, *kernel, size=size), **({"diff_b": random(wide, size=size)} if kernel else {})}
        elif kind == "ia3" and layer.endswith(("to_k", "to_v")):
            new = {"weight": random(wide, size=2 * strength), "on_input": torch.tensor(False)}
        elif kind == "glora" and not kernel and layer.startswith(UNET[1]):
            new = {"a1.weight": random(RANK, into, size=into**-0.5), "a2.weight": random(into, RANK, size=strength), "alpha": torch.tensor(1.0),
                   "b1.weight": random(RANK, into, size=size), "b2.weight": random(wide, RANK)}
        tensors.update({f"{layer}.{part}": value.contiguous() for part, value in new.items()})
    assert tensors, kind
    save_file(tensors, file)


@pytest.fixture(scope="module")
def place():
    """A WebUI, its LoRAs' folder, with two in it, and the file of the loaded checkpoint, with another beside it."""
    if not (url := os.environ.get("MIXDIFF_WEBUI_URL")):
        pytest.skip("needs a WebUI at MIXDIFF_WEBUI_URL: the embedded host knows no LoRAs")
    host = Host(url)
    loaded = host.get("/sdapi/v1/options")["sd_model_checkpoint"]
    path = next(Path(model["filename"]) for model in host.get("/sdapi/v1/sd-models") if model["title"] == loaded)
    folder = Path(host.get("/sdapi/v1/cmd-flags")["lora_dir"])
    for seed, name in enumerate((A, B)):
        write(folder / f"{name}.safetensors", path, "lora", seed)
    keep_beside(path, OTHER, disturbed(load_file(path), UNET[0], *TEXT))
    host.post("/sdapi/v1/refresh-checkpoints", {})
    host.post("/sdapi/v1/refresh-loras", {})
    yield host, folder, path
    host.txt2img(override_settings={"sd_model_checkpoint": loaded}, steps=1)
    for file in [*folder.glob("mixdiff-lora-*"), *path.parent.glob(f"{OTHER}.*")]:
        file.unlink()
    host.post("/sdapi/v1/refresh-checkpoints", {})
    host.post("/sdapi/v1/refresh-loras", {})


@pytest.fixture
def lora_host(place):
    return place[0]


@pytest.fixture
def go(lora_host):
    def run(plan: object = None, probe: dict | None = None, **fields) -> np.ndarray:
        answer = lora_host.txt2img(plan, probe={"steady": True, **(probe or {})}, **fields)
        assert answer.status == 200, answer.error
        return lora_host.latents()
    return run


@pytest.fixture
def kind_of(place):
    """Writes a file of another kind; its name."""
    host, folder, path = place

    def make(kind: str) -> str:
        write(folder / f"mixdiff-lora-{kind}.safetensors", path, kind, 7)
        host.post("/sdapi/v1/refresh-loras", {})
        return f"mixdiff-lora-{kind}"
    return make


def all_over(prompt: str, **fields) -> dict:
    """A region that is the whole picture."""
    return {"regions": [{"prompt": prompt, **fields}]}


def near(got: np.ndarray, expected: np.ndarray, share: float = 1e-3) -> bool:
    print("difference", np.abs(got - expected).max(), "of", np.abs(expected).max())
    return np.abs(got - expected).max() < share * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("job", JOBS)
def test_a_region_that_is_everything_is_the_plain_job(go, job):
    fields = JOBS[job]
    prompt = f"{fields.get('prompt', PROMPT)} <lora:{A}:0.8>"
    expected, plain = go(**{**fields, "prompt": prompt}), go(**fields)
    got = go(all_over(prompt), **fields)
    assert near(got, expected) and np.abs(got - plain).max() > 1e-2
    assert np.array_equal(go(**fields), plain)


@pytest.mark.parametrize("call", ["<lora:{}>", "<lyco:{}:-0.5>", "<lora:{}:0.3:1.1>", "<lora:{}:te=0:unet=1>", "<lora:{}:1:0>", "<lora:{}:te=0.5>",
                                  "<lora:{}:1:1:2>", "<lora:{}:dyn=1>", "a <lora:{0}:0.5> [b <lora:mixdiff-lora-b:0.5>:1]"])
def test_all_ways_to_call_one(go, call):
    prompt = PROMPT + " " + call.format(A)
    expected = go(prompt=prompt)
    assert near(go(all_over(prompt)), expected) and np.abs(expected - go()).max() > 1e-2


@pytest.mark.parametrize("kind", KINDS)
def test_other_kinds_of_file(go, kind_of, kind):
    prompt = f"{PROMPT} <lora:{kind_of(kind)}:0.7>"
    expected = go(prompt=prompt)
    assert near(go(all_over(prompt)), expected) and np.abs(expected - go()).max() > 1e-2


@pytest.mark.parametrize("fields", [{}, {"batch_size": 2, "negative_prompt": "a cross"}, hires()[1]], ids=["one", "batch 2", "hires"])
def test_each_region_has_its_own(go, fields):
    """Regions side by side know nothing of each other: each is as if its LoRA were everyone's."""
    def halves(left: str, right: str) -> np.ndarray:
        return go({"regions": [{"box": [0, 0, 0.5, 1], "prompt": f"{PROMPT} {left}"}, {"box": [0.5, 0, 1, 1], "prompt": f"{PROMPT} {right}"}]}, **fields)
    a, b = f"<lora:{A}:0.9>", f"<lora:{B}:0.7>"
    lefts, rights, got, plain = halves(a, a), halves(b, b), halves(a, b), halves("", "")
    middle = got.shape[-1] // 2
    if "enable_hr" not in fields:       # its latent upscaler mixes neighbours
        assert near(got[..., :middle], lefts[..., :middle]) and near(got[..., middle:], rights[..., middle:])
        assert near(halves(a, "")[..., middle:], plain[..., middle:])
    assert min(np.abs(got - each).max() for each in (lefts, rights, plain)) > 1e-2


def test_named_by_the_job_too_weights_add_up(go):
    """The job's own LoRAs act everywhere."""
    expected = go(prompt=f"{PROMPT} <lora:{A}:0.5> <lora:{B}:0.7>")
    assert near(go(all_over(f"{PROMPT} <lora:{A}:0.5>"), prompt=f"{PROMPT} <lora:{B}:0.7>"), expected)
    twice = go(prompt=f"{PROMPT} <lora:{A}:0.9>")
    assert near(go(all_over(f"{PROMPT} <lora:{A}:0.4>"), prompt=f"{PROMPT} <lora:{A}:0.5>"), twice)
    assert near(go(all_over(f"{PROMPT} <lora:{A}:0.4><lora:{A}:0.5>")), twice)
    assert near(go(all_over(f"{PROMPT} <lora:{A}:-0.5>"), prompt=f"{PROMPT} <lora:{A}:0.5>"), go())


@pytest.mark.parametrize("kind", ["dora", "glora"])
def test_kinds_that_depend_on_the_weights_see_the_jobs(go, kind_of, kind):
    """On the first job with these LoRAs, too, before the WebUI has merged the job's."""
    name = kind_of(kind)
    got = go(all_over(f"{PROMPT} <lora:{name}:0.6>"), prompt=f"{PROMPT} <lora:{B}:0.7>")
    assert near(got, go(prompt=f"{PROMPT} <lora:{B}:0.7> <lora:{name}:0.6>"))
    assert near(go(all_over(f"{PROMPT} <lora:{name}:0.6>", model=OTHER)),
                go(prompt=f"{PROMPT} <lora:{name}:0.6>", override_settings={"sd_model_checkpoint": OTHER}))


def test_with_the_setting_for_old_loras(go):
    """`lora_functional`, where the WebUI adds to activations, too."""
    fields = {"override_settings": {"lora_functional": True}}
    expected, plain = go(prompt=f"{PROMPT} <lora:{A}> <lora:{B}:0.7>", **fields), go(**fields)
    assert near(go(all_over(f"{PROMPT} <lora:{A}>"), prompt=f"{PROMPT} <lora:{B}:0.7>", **fields), expected)
    assert np.abs(expected - plain).max() > 1e-2
    assert near(go(all_over(f"{PROMPT} <lora:{A}>"), **fields), go(prompt=f"{PROMPT} <lora:{A}>", **fields))
    assert np.array_equal(go(**fields), plain)


def test_together_with_another_checkpoint_in_the_region(go):
    other = {"override_settings": {"sd_model_checkpoint": OTHER}}
    expected = go(prompt=f"{PROMPT} <lora:{A}> <lora:{B}:0.7>", **other)
    got = go(all_over(f"{PROMPT} <lora:{A}>", model=OTHER), prompt=f"{PROMPT} <lora:{B}:0.7>")
    assert near(got, expected) and np.abs(got - go(all_over(PROMPT, model=OTHER))).max() > 1e-2
    mine, theirs = go(all_over(f"{PROMPT} <lora:{A}>")), go(all_over(f"{PROMPT} <lora:{A}>", model=OTHER))
    late = {"experts": [{"model": OTHER, "range": {"unit": "steps", "from": 0.5, "to": 1}}]}
    got = go(all_over(f"{PROMPT} <lora:{A}>", model=late))
    assert min(np.abs(got - each).max() for each in (mine, theirs)) > 1e-2
    early = {"experts": [{"model": OTHER, "range": {"unit": "steps", "from": 0, "to": 1}}]}
    assert np.array_equal(go(all_over(f"{PROMPT} <lora:{A}>", model=early)), theirs)


@pytest.mark.parametrize("mode", ["blocks", "noise", "saliency", "merge"])
def test_in_an_ensemble_it_acts_on_every_model(go, place, mode):
    """As the job's own LoRA does, on both checkpoints; on one checkpoint twice, as on the checkpoint."""
    def of(*models: str) -> dict:
        return {"afa": {"models": list(models), "mode": mode}}
    called, itself, both = f"{PROMPT} <lora:{A}>", of(place[2].stem, place[2].stem), of(place[2].stem, OTHER)
    plain, alone = go(), go(prompt=called)
    assert near(go(all_over(called, model=itself)), alone) and near(go({"model": itself}, prompt=called), alone)
    expected = go({"model": both}, prompt=called)
    assert near(go(all_over(called, model=both)), expected) and np.abs(expected - go({"model": both})).max() > 1e-2
    added = go(all_over(f"{PROMPT} <lora:{A}:0.4>", model=both), prompt=f"{PROMPT} <lora:{A}:0.6>")
    assert near(added, expected)
    assert np.array_equal(go(), plain)


@pytest.mark.parametrize("plan", [{}, {"regions": [{"box": [0, 0, 0.5, 1]}, {"box": [0.5, 0, 1, 1], "prompt": f"a blue cross <lora:{B}>"}]},
                                  {"model": OTHER}], ids=["alone", "regions", "another checkpoint"])
def test_in_a_models_prompt_it_is_all_of_that_models(go, plan):
    """As if it were in the prompt of a job that is that model's (AMDM); the main model has none of it."""
    called = f"{PROMPT} <lora:{A}:0.8>"
    model = {"eta": 0, "prompt": called, "plan": plan}
    assert near(go({"amdm": {"steps": 3, "weight": 0, "eta": 0, "models": [model]}}), go(plan, prompt=called))
    plain = go()
    mixed = go({"amdm": {"steps": 1, "weight": 1, "models": [{**model, "weight": 0.001}]}})
    assert 0 < np.abs(mixed - plain).max() < 0.1 * np.abs(go(prompt=called) - plain).max()
    assert np.array_equal(go(), plain)


def test_the_jobs_negative_prompt_is_read_under_it(go):
    """As in a job of its own, where a LoRA of the text encoder acts on both."""
    fields = {"negative_prompt": "a blue cross on a teal background"}
    expected = go(prompt=f"{PROMPT} <lora:{A}:1:0>", **fields)
    assert near(go(all_over(f"{PROMPT} <lora:{A}:1:0>"), **fields), expected)
    assert near(go(all_over(f"{PROMPT} <lora:{A}:1:0>", **fields)), expected)
    assert np.abs(expected - go(**fields)).max() > 1e-2


def test_comments_call_nothing(go):
    assert np.array_equal(go(all_over(f"{PROMPT}\n# <lora:{A}>")), go(all_over(f"{PROMPT}\n")))


@pytest.mark.parametrize("prompt, words", [
    ("<lora:nothing-of-the-kind>", ["no LoRA", "nothing-of-the-kind", "put its file into"]), (f"<lora:{A}x:1>", ["no LoRA", f"use {A}"]),
    ("<hypernet:some:1>", ["<hypernet:some:1>", "one region only", "job's own prompt"]), (f"<lora:{A}:much>", ["not understood", "<lora:NAME:0.8>"]),
    (f"<lora:{A}:nan>", ["use numbers"]), ("<lora:te=1>", ["not understood"])])
@pytest.mark.parametrize("where", ["regions[1]", "hires.regions[1]"])
def test_what_cannot_be_called_is_refused_by_name(lora_host, prompt, words, where):
    regions = {"regions": [{}, {"prompt": f"a circle {prompt}"}]}
    plan = regions if where == "regions[1]" else {"hires": regions}
    answer = lora_host.txt2img(plan)
    assert answer.status == 422 and f"{where}.prompt: " in answer.error and all(word in answer.error for word in words), answer.error
    checked = requests.post(f"{lora_host.url}/mixdiff/v1/check", json={"plan": plan}, timeout=60)
    assert checked.status_code == 422 and checked.json()["errors"] == answer.error


def test_in_a_negative_prompt_it_is_refused(lora_host):
    answer = lora_host.txt2img({"regions": [{}, {"negative_prompt": f"a cross <lora:{A}>"}]})
    assert answer.status == 422 and "regions[1].negative_prompt: " in answer.error and "prompt beside it" in answer.error, answer.error


def test_files_that_do_not_fit_are_named(place):
    host, folder, path = place
    name = "mixdiff-lora-bad"
    file, layer = folder / f"{name}.safetensors", next(name for name in layers(path) if "attn2_to_k" in name)
    wide, into = layers(path)[layer].shape
    half = {f"{layer}.lora_down.weight": torch.ones(RANK, into + 1), f"{layer}.lora_up.weight": torch.ones(wide, RANK)}
    whole = {f"{layer}.lora_down.weight": torch.ones(RANK, into), f"{layer}.lora_up.weight": torch.ones(wide, RANK)}
    plain, before = host.txt2img().body["images"], lasting(host.state())
    for tensors, words in (({"lora_unet_of_another.lora_up.weight": torch.ones(2, 2)}, ["no layer of the loaded checkpoint"]),
                           (half, [f"({wide}, {into + 1})", f"({wide}, {into})", "not for the loaded checkpoint"]),
                           ({**whole, "bundle_emb.style.string_to_param.*": torch.ones(1, 8)}, ["embeddings", "style", "job's own prompt"]),
                           ({f"{layer}.of_no_kind": torch.ones(2)}, ["cannot be read"]), (None, ["cannot be read"])):
        if tensors is None:
            file.write_bytes(file.read_bytes()[:40])
        else:
            save_file(tensors, file)
        host.post("/sdapi/v1/refresh-loras", {})
        answer = host.txt2img({"regions": [{}, {"prompt": f"a circle <lora:{name}>"}]})
        assert answer.status == 422 and "regions[1].prompt: " in answer.error and all(w in answer.error for w in [name, *words]), answer.error
    file.unlink()
    host.post("/sdapi/v1/refresh-loras", {})
    assert host.txt2img().body["images"] == plain and lasting(host.state()) == before


def test_with_the_refiner_it_is_refused(lora_host):
    answer = lora_host.txt2img(all_over(f"{PROMPT} <lora:{A}>"), refiner_checkpoint=OTHER, refiner_switch_at=0.5)
    assert answer.status == 422 and "regions[0].prompt: " in answer.error and "the refiner" in answer.error, answer.error


def test_check_counts_each_lora_as_a_network_of_its_own(lora_host):
    def cost(*calls: str) -> dict:
        plan = {"regions": [{"box": [i / 4, 0, (i + 1) / 4, 1], "prompt": f"a circle {call}"} for i, call in enumerate(calls)]}
        job = {key: JOB[key] for key in ("width", "height", "steps", "prompt", "sampler_name")}
        found = lora_host.post("/mixdiff/v1/check", {"plan": plan, "job": job})
        assert found["tokens"][0]["prompt"][0] == found["tokens"][-1]["prompt"][0]
        assert lora_host.txt2img(plan, probe={}).status == 200 and len(lora_host.calls()) == found["cost"]["calls"]
        return found["cost"]
    a, b = f"<lora:{A}:0.5>", f"<lora:{B}>"
    one, same, two = cost("", "", "", ""), cost(a, a, a, a), cost(a, b, "", f"<lora:{A}:0.6>")
    assert one["calls"] == same["calls"] == JOB["steps"] and two["calls"] == 4 * JOB["steps"] and one["work"] == two["work"] == 1


@pytest.mark.parametrize("fields", [{}, {"batch_size": 2, "n_iter": 2}, hires()[1]], ids=["one", "n_iter 2", "hires"])
def test_the_infotext_has_their_hashes(lora_host, fields):
    def hashes(plan: object, prompt: str) -> set[str]:
        answer = lora_host.txt2img(plan, prompt=prompt, **fields)
        found = [set(re.findall(r'Lora hashes: "([^"]*)"', text)[0].split(", ")) for text in answer.info["infotexts"]]
        assert all(each == found[0] for each in found)
        return found[0]
    whole = hashes(None, f"{PROMPT} <lora:{A}> <lora:{B}>")
    assert len(whole) == 2 and hashes(all_over(f"{PROMPT} <lora:{A}>"), f"{PROMPT} <lora:{B}>") == whole
    assert hashes(all_over(f"{PROMPT} <lora:{A}> <lora:{B}>"), PROMPT) == whole
    assert hashes({"amdm": {"models": [{"prompt": f"{PROMPT} <lora:{name}>"} for name in (A, B)]}}, PROMPT) == whole
    assert "Lora hashes" not in lora_host.txt2img(all_over(PROMPT), **fields).body["info"]


REGIONS = {"regions": [{"box": [0, 0, 0.5, 1], "prompt": f"a circle <lora:{A}>"}, {"box": [0.5, 0, 1, 1], "prompt": f"a cross <lora:{B}:0.7>"}]}
STACK = {"model": {"experts": [{"model": OTHER, "range": {"unit": "steps", "from": 0.5, "to": 1}}]}}
CHECKPOINTS = {"regions": [{"box": [0, 0, 0.5, 1], "prompt": "a circle", "model": OTHER}, {"box": [0.5, 0, 1, 1]}]}


@pytest.mark.parametrize("prompt", [PROMPT, f"{PROMPT} <lora:{B}:0.6>"], ids=["no LoRA of the job's", "the job's"])
@pytest.mark.parametrize("plans", [(REGIONS,), (STACK, CHECKPOINTS, {"regions": [{**REGIONS["regions"][0], **STACK}, CHECKPOINTS["regions"][1]]})],
                         ids=["LoRAs", "checkpoints"])
def test_ten_jobs_leave_nothing_behind(lora_host, plans, prompt):
    """Plain and not in turns, an error in one and an interrupt in another; `state` has a digest of all weights and attributes."""
    def plain() -> list[str]:
        answer = lora_host.txt2img(prompt=prompt, steps=4)
        assert answer.status == 200, answer.error
        return answer.body["images"]
    first, before = plain(), lasting(lora_host.state())
    for turn, (fault, status) in enumerate(((None, 200), ("error", 500), ("interrupt", 200), ("memory", 500), (None, 200))):
        probe = {"fault": {"at": "network", "kind": fault, "call": 2}} if fault else None
        answer = lora_host.txt2img(plans[turn % len(plans)], probe=probe, prompt=prompt, steps=4)
        assert answer.status == status, answer.error
        assert fault is None or lora_host.trace()["fired"]
        assert plain() == first and lasting(lora_host.state()) == before


@pytest.mark.parametrize("kind, at, status", [("error", "text encoder", 500), ("nan", "network", 500), ("error", "mixdiff.host.encode.Texts.at", 500),
                                              ("recursion", "network", 500), ("skip", "network", 200)])
def test_after_a_fault_elsewhere_all_is_as_before(lora_host, kind, at, status):
    plain, before = lora_host.txt2img().body["images"], lasting(lora_host.state())
    answer = lora_host.txt2img(REGIONS, probe={"fault": {"at": at, "kind": kind, "call": 1}})
    assert answer.status == status, answer.error
    assert lora_host.txt2img().body["images"] == plain and lasting(lora_host.state()) == before


@pytest.mark.parametrize("sampler", ["Euler", "DPM++ 2M"])
def test_a_stack_under_the_jobs_lora_is_two_runs_cut_together(go, sampler):
    base = {"steps": 8, "sampler_name": sampler, "prompt": f"{PROMPT} <lora:{A}:0.8>"}
    got, alone = go(STACK, **base), go({"model": OTHER}, **base)
    first = go(probe={"states": True}, **base)
    expected = go(probe={"start": 4}, **base, override_settings={"sd_model_checkpoint": OTHER})
    if sampler == "Euler":      # the other remembers a step
        assert near(got, expected)
    assert np.abs(got - first).max() > 1e-2 and np.abs(got - alone).max() > 1e-2
    assert np.abs(got - go(STACK, **{**base, "prompt": PROMPT})).max() > 1e-2
