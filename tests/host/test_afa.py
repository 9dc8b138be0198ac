"""Ensembles over HTTP, on either host: a model with itself is the model, averaging is averaging, and afterwards there is no trace."""
from __future__ import annotations

import base64
import hashlib
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from lib_mixdiff.aggregator import Aggregators, Form, width_for
from tests.host.client import JOB, lasting
from tests.host.jobs import LEFT_RIGHT, LONG, hires, img2img
from tests.host.pair import MERGED, NAME, UNET_ONLY, going
from tests.host.test_paint import BOTH

UNET = "model.diffusion_model."
JOBS = {"Euler": ("txt2img", {}), "DDIM, batch 2": ("txt2img", {"sampler_name": "DDIM", "batch_size": 2}),
        "AND": ("txt2img", {"prompt": "a red circle AND a blue square :0.6"}), "img2img": img2img(), "long negative prompt": ("txt2img", {"negative_prompt": LONG}), "hires": hires(), "regions over tiles": ("txt2img", {"width": 128, "height": 128}), "paint": ("txt2img", {"prompt": "a red circle and a blue square"})}
PLANS = {"regions over tiles": {**LEFT_RIGHT, "tiles": {"width": 64, "height": 72}}, "paint": BOTH}


def form_of_file(path: Path, models: list[Path], mode: str) -> Form:
    """As the trainer's, from the file alone, whatever the architecture."""
    shapes = {key[len(UNET):]: tuple(tensor.shape) for key, tensor in load_file(path).items() if key.startswith(UNET)}

    def channels(block: str) -> int:
        ends = [f"{block}.{end}.weight" for end in ("2.out_layers.3", "0.out_layers.3", "0.op", "0")]
        return next(shapes[end][0] for end in ends if end in shapes)

    inward, outward = ([f"{side}_blocks.{i}" for i in sorted({int(key.split(".")[1]) for key in shapes if key.startswith(f"{side}_blocks.")})]
                       for side in ("input", "output"))
    blocks = {name: channels(name) for name in [*inward, "middle_block", *outward[:-1]]}
    context = next(shape[1] for key, shape in shapes.items() if key.endswith("attn2.to_k.weight"))
    digests = tuple((each.stem, hashlib.sha256(each.read_bytes()).hexdigest()) for each in models)
    return Form(digests, {**(blocks if mode == "full" else {}), "out": shapes["out.2.weight"][0]}, width_for(shapes["input_blocks.0.0.weight"][0]),
                shapes["time_embed.2.weight"][0], context)


def write(path: Path, form: Form, loud: float) -> None:
    torch.manual_seed(1)
    made = Aggregators(form)
    for each in made.each:
        torch.nn.init.normal_(each.maps.weight, 0, loud)
    path.parent.mkdir(exist_ok=True)
    save_file({name: each.contiguous() for name, each in made.state_dict().items()}, path,
              metadata={"mixdiff": json.dumps({"aggregator": form.to_dict()})})


@pytest.fixture(scope="module")
def afa(pair):
    """A plan's model by mode and models' names, with aggregators for those in the host's folder: `untrained` ones, and loud ones."""
    paths = {Path(m["filename"]).stem: Path(m["filename"]) for m in pair.get("/sdapi/v1/sd-models")}
    loaded = Path(next(m["filename"] for m in pair.get("/sdapi/v1/sd-models") if m["title"] == pair.get("/sdapi/v1/options")["sd_model_checkpoint"]))
    folder = (loaded.parent.parent if loaded.parent.name == "Stable-diffusion" else loaded.parent) / "AFA"
    written = []

    def plan(mode: str, *names: str, untrained: bool = False) -> dict:
        names = tuple(name or loaded.stem for name in names)
        asked = {"models": list(names), "mode": mode}
        if mode in ("full", "last"):
            file = folder / f"mixdiff-test-{mode}-{'-'.join(names)}-{untrained}.safetensors"
            if not file.exists():
                write(file, form_of_file(loaded, [paths[name] for name in names], mode), 0.0 if untrained else 0.3)
                written.append(file)
            asked["aggregator"] = file.stem
        return {"afa": asked}

    plan.folder, plan.loaded = folder, loaded
    yield plan
    for file in written:
        file.unlink()


@pytest.fixture
def go(pair):
    return going(pair)


def near(got: np.ndarray, expected: np.ndarray, share: float = 2e-4) -> bool:
    return np.abs(got - expected).max() < share * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("job, modes", [(job, ("full", "noise", "saliency") if job in ("Euler", "AND") else ("full",)) for job in JOBS])
def test_a_model_with_itself_is_the_model(go, afa, job, modes):
    """With aggregators whose maps differ: what they weigh is the same."""
    plan = PLANS.get(job, {})
    plain = go(JOBS[job], plan)
    for mode in modes:
        assert near(go(JOBS[job], {**plan, "model": afa(mode, "", "")}), plain, 1e-3), mode
    other = go(JOBS[job], plan, override_settings={"sd_model_checkpoint": NAME})
    assert near(go(JOBS[job], {**plan, "model": afa("blocks", NAME, NAME)}), other, 1e-3) and np.abs(other - plain).max() > 1e-2
    both = go(JOBS[job], {**plan, "model": afa("full", "", NAME)})
    assert np.abs(both - plain).max() > 1e-2 and np.abs(both - other).max() > 1e-2
    assert np.array_equal(go(JOBS[job], plan), plain)


def test_what_the_modes_are(go, afa):
    """Of one step, in which the result is the guided prediction."""
    job, words = ("txt2img", {"steps": 1}), ("", NAME)
    mine, theirs = go(job), go(job, override_settings={"sd_model_checkpoint": NAME})
    assert near(go(job, {"model": afa("noise", *words)}), (mine + theirs) / 2)
    chosen = go(job, {"model": afa("saliency", *words)})
    alone = {"experts": [{"model": afa("saliency", *words)}]}
    assert near(go(JOBS["Euler"], {"model": alone}), go(JOBS["Euler"], {"model": afa("saliency", *words)})), "whatever else is asked of the noise"
    distance = np.minimum(np.abs(chosen - mine).max(1), np.abs(chosen - theirs).max(1))     # a pixel has one's prediction, in all channels
    assert distance.max() < 1e-3 * np.abs(mine).max()
    assert np.abs(chosen - mine).max() > 1e-2 and np.abs(chosen - theirs).max() > 1e-2
    for trained, averaging in (("full", "blocks"), ("last", "noise")):
        expected = go(job, {"model": afa(averaging, *words)})
        assert near(go(job, {"model": afa(trained, *words, untrained=True)}), expected)
        assert np.abs(go(job, {"model": afa(trained, *words)}) - expected).max() > 1e-2
    full = go(job, {"model": afa("full", *words)})
    swapped = {"afa": {**afa("full", *words)["afa"], "models": afa("full", *words[::-1])["afa"]["models"]}}
    assert near(go(job, {"model": swapped}), full), "the aggregator knows its models by their files"
    assert np.array_equal(go(job, {"model": afa("full", NAME)}), theirs), "an ensemble of one is that one"
    three = [go(job, {"model": afa(mode, "", NAME, UNET_ONLY)}) for mode in ("full", "blocks", "noise", "saliency")]
    assert all(np.abs(a - b).max() > 1e-2 for i, a in enumerate(three) for b in [*three[:i], mine])


def test_merge_is_a_checkpoint_of_mean_weights(go, afa):
    expected = go(JOBS["Euler"], {"model": MERGED})
    assert near(go(JOBS["Euler"], {"model": afa("merge", "", NAME)}), expected, 1e-2)       # the file is in float16
    assert np.abs(expected - go(JOBS["Euler"])).max() > 5e-2


@pytest.mark.parametrize("mode", ["full", "saliency"])
def test_an_ensemble_in_a_region_leaves_the_others_alone(go, afa, mode):
    def halves(left: object, right: object) -> np.ndarray:
        own = {"prompt": "a blue circle", "negative_prompt": "a red cross"}
        return go(("txt2img", {}), {"regions": [{"box": [0, 0, 0.5, 1], "model": left, **own}, {"box": [0.5, 0, 1, 1], "model": right}]})
    mine, both = halves(None, None), halves(afa(mode, "", NAME), None)
    assert near(both[..., 4:], mine[..., 4:], 1e-3) and np.abs(both - mine).max() > 1e-2
    assert near(halves(afa(mode, "", NAME), afa(mode, "", NAME))[..., :4], both[..., :4], 1e-3)


def test_it_nests_in_stacks_and_amdm(go, afa):
    part = {"experts": [{"model": afa("full", "", NAME), "range": {"unit": "steps", "from": 0, "to": 0.5}}]}
    assert np.abs(go(JOBS["Euler"], {"model": part}) - go(JOBS["Euler"])).max() > 1e-2
    itself = {"experts": [{"model": afa("full", "", ""), "range": {"unit": "steps", "from": 0, "to": 0.5}}]}
    assert near(go(JOBS["Euler"], {"model": itself}), go(JOBS["Euler"]), 1e-3)
    told = [go(JOBS["Euler"], {"model": {"experts": [{"model": afa("full", "", model), "text_encoder": "loaded"}]}}) for model in (NAME, "")]
    assert near(told[1], go(JOBS["Euler"]), 1e-3) and np.abs(told[0] - go(JOBS["Euler"], {"model": afa("full", "", NAME)})).max() > 1e-2
    mixed = [go(JOBS["Euler"], {"amdm": {"steps": 2, "models": [{"plan": {"model": model}}]}}) for model in (None, afa("full", "", ""), afa("full", "", NAME))]
    assert near(mixed[1], mixed[0], 1e-3) and np.abs(mixed[2] - mixed[0]).max() > 1e-2


@pytest.mark.parametrize("mode, at, call, kind, status", [
    *[(mode, "network", 2, *fault) for mode in ("full", "saliency") for fault in (("error", 500), ("memory", 500), ("nan", 500), ("interrupt", 200))],
    ("full", "text encoder", 0, "error", 500), ("saliency", "mixdiff.saliency.Saliency.shares", 1, "error", 500),
    *[("full", f"mixdiff.{method}", call, kind, 500) for method in ("ensemble.Ensemble._aggregated", "parts.Parts.part", "aggregator.Aggregator.forward")
      for call, kind in ((0, "error"), (9, "memory"))]])
def test_after_a_fault_all_is_as_before(pair, afa, mode, at, call, kind, status):
    plan, plain, before = {"model": afa(mode, "", NAME)}, pair.txt2img().body["images"], lasting(pair.state())
    answer = pair.txt2img(plan, probe={"fault": {"at": at, "kind": kind, "call": call}}, steps=4)
    assert answer.status == status, answer.error
    assert pair.txt2img().body["images"] == plain and lasting(pair.state()) == before


def test_after_jobs_in_turns_with_switches_in_place_the_plain_one_is_as_it_was(pair, afa):
    def state() -> dict:        # of another switch the embedded host makes another module
        return {key: value for key, value in lasting(pair.state()).items() if key != "modules"}

    plain, before = pair.txt2img().body["images"], state()
    other = pair.txt2img(override_settings={"sd_model_checkpoint": NAME}).body["images"]
    for mode in ("full", "merge", "saliency"):
        both = [pair.txt2img({"model": afa(mode, "", NAME)}, override_settings=settings).body["images"]
                for settings in ({}, {"sd_model_checkpoint": NAME})]
        pictures = [np.asarray(Image.open(io.BytesIO(base64.b64decode(each[0]))).convert("RGB")).astype(int) for each in both]
        assert np.abs(pictures[0] - pictures[1]).max() <= 2, f"{mode}: which of them is loaded does not matter"
        assert pair.txt2img(override_settings={"sd_model_checkpoint": NAME}).body["images"] == other
        assert pair.txt2img().body["images"] == plain and state() == before


def test_with_little_room_it_is_the_same_and_nothing_is_held(pair, afa):
    plan, images, held = {"model": afa("full", "", NAME, UNET_ONLY)}, [], []
    pair.txt2img()
    layers = pair.get("/mixdiff-probe/held/Linear")
    for settings in ({}, {"mixdiff_weights_gpu": 0.001, "mixdiff_weights_ram": 0.001}):
        images.append(pair.txt2img(plan, probe={"measure": "WeightSet"}, override_settings=settings).body["images"])
        held.append(max(call["held"] for call in pair.trace()["calls"]))
        assert pair.get("/mixdiff-probe/held/WeightSet") == 0
        assert pair.get("/mixdiff-probe/held/Linear") <= layers, "the aggregators are gone, too"
    assert images[0] == images[1]
    assert images[0] != pair.txt2img().body["images"] and held[1] < 0.5 * held[0], held


@pytest.mark.parametrize("change, words", [
    ({"models": ["", ""]}, ["model.afa.aggregator", "was trained for", "another file"]),
    ({"models": ["", NAME, NAME]}, ["model.afa.aggregator", "for 2 models, not for 3"]),
    ({"models": ["", "mixdiff-test-othr"]}, ["model.afa.models[1]", "there is no checkpoint"]),
    ({"aggregator": "nothing"}, ["model.afa.aggregator", "there is no aggregator", "there are"]),
    ({"aggregator": "../nothing"}, ["model.afa.aggregator", "there is no aggregator"]),
    ({"aggregator": None}, ["model.afa.aggregator", "mode full needs a trained one"]),
    ({"mode": "last"}, ["model.afa.mode", "was trained for full", "use full"]),
    ({"mode": "blocks"}, ["model.afa.aggregator", "mode blocks has none"])], ids=str)
def test_what_cannot_be_had_is_refused_by_name(pair, afa, change, words):
    plain, change = pair.txt2img().body["images"], dict(change)
    if "models" in change:
        change["models"] = [name or afa.loaded.stem for name in change["models"]]
    answer = pair.txt2img({"model": {"afa": {**afa("full", "", NAME)["afa"], **change}}})
    assert answer.status == 422 and all(word in answer.error for word in words), answer.error
    assert pair.txt2img().body["images"] == plain


def test_a_checkpoint_that_was_replaced_is_another_one(pair, afa):
    """By its file as it is now, not as it was when the host last looked."""
    if "MIXDIFF_WEBUI_URL" not in os.environ:
        pytest.skip("the embedded host reckons hashes when it lists its checkpoints")
    plan = {"model": afa("full", "", NAME)}
    assert pair.txt2img(plan).status == 200
    file = afa.loaded.with_name(f"{NAME}.safetensors")
    whole = file.read_bytes()
    try:
        file.write_bytes(file.with_name(f"{UNET_ONLY}.safetensors").read_bytes())
        answer = pair.txt2img(plan)
        assert answer.status == 422 and "was another file" in answer.error, answer.error
    finally:
        file.write_bytes(whole)
    assert pair.txt2img(plan).status == 200


def test_files_that_are_damaged_are_named(pair, afa):
    asked = {"model": {"afa": {**afa("full", "", NAME)["afa"], "aggregator": "mixdiff-test-damaged"}}}
    file, whole = afa.folder / "mixdiff-test-damaged.safetensors", (afa.folder / f"{afa('full', '', NAME)['afa']['aggregator']}.safetensors").read_bytes()
    try:
        for content, word in ((b"", "damaged"), (whole[:len(whole) // 2], "damaged"), (afa.loaded.read_bytes(), "is no aggregator")):
            file.write_bytes(content)
            answer = pair.txt2img(asked)
            assert answer.status == 422 and word in answer.error, answer.error
        file.write_bytes(whole)
        assert pair.txt2img(asked).status == 200
    finally:
        file.unlink()


def test_its_cost_is_said_and_is_what_it_takes(pair, afa):
    job = {key: JOB[key] for key in ("width", "height", "steps", "prompt", "sampler_name")}
    for mode, times in (("full", 3), ("noise", 3), ("saliency", 3), ("merge", 1)):
        model = afa(mode, "", NAME, UNET_ONLY)
        cost = pair.post("/mixdiff/v1/check", {"plan": {"model": model}, "job": job})["cost"]
        assert cost["calls"] == times * JOB["steps"] and cost["work"] == times, mode
        assert cost["passes"][0]["checkpoints"][0]["steps"][0]["unet"].count(" + ") == 2
        answer = pair.txt2img({"model": model})
        assert mode == "merge" or f"mixdiff U-Net calls: {times * JOB['steps']}" in answer.body["info"].replace("\\", ""), answer.body["info"]


def test_a_picture_shows_which_model_leads_where(pair, afa):
    size = {"width": 128, "height": 128}
    plain = pair.txt2img({"model": afa("full", "", NAME)}, **size).body["images"]
    pictures = []
    for plan in ({"model": afa("full", "", NAME)}, {"model": afa("full", "", NAME), "tiles": {"width": 64, "height": 64}}):
        answer = pair.txt2img(plan, override_settings={"mixdiff_leads": "some blocks"}, **size)
        assert answer.status == 200 and len(answer.body["images"]) == 2, answer.error
        pictures.append(Image.open(io.BytesIO(base64.b64decode(answer.body["images"][1]))))
    assert answer.body["images"][0] != plain[0] and pair.txt2img({"model": afa("full", "", NAME)}, **size).body["images"] == plain
    assert pictures[0].height == pictures[1].height > 100 * 2 * 4
    assert len(set(np.asarray(pictures[0].convert("L")).flatten())) > 20
