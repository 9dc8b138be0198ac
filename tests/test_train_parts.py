"""Laws of what the trainer is made of: the noise tree, the order of the pictures, the cache, the folder, the configuration, the loss."""
from __future__ import annotations

import json
import math
import os
import re
import shutil
import sys
from collections import Counter
from dataclasses import MISSING
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

from lib_mixdiff.plan import Plan
from lib_mixdiff.ranges import Range
from lib_mixdiff.train import atomic, checkpoint, folder, noise
from lib_mixdiff.train.cache import Cache
from lib_mixdiff.train.checkpoint import Checkpoint
from lib_mixdiff.train.config import Config, Loader, read
from lib_mixdiff.train.data import Batch, Data, Order
from lib_mixdiff.train.faults import TrainError
from lib_mixdiff.train.unet import UnetTarget
from tests import tiny

ABAR = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
SIGMA = np.sqrt((1 - ABAR) / ABAR)
AREAS = {"uniform": noise.uniform_area(1000), "lognormal": noise.lognormal_area(ABAR, -1.2, 1.2)}


@pytest.mark.parametrize("area", AREAS.values(), ids=AREAS)
@pytest.mark.parametrize("level", [0, 1, 2, 3, 4])
def test_the_nodes_of_a_level_share_no_timestep_and_leave_none(area, level):
    spans = [noise.span(area, (level, i)) for i in range(2**level)]
    assert [t for first, end in spans for t in range(first, end)] == list(range(1000))


@pytest.mark.parametrize("area", AREAS.values(), ids=AREAS)
def test_a_node_and_its_complement_are_all_and_a_timestep_is_drawn_as_often_as_its_share(area):
    for nodes in [((1, 0),), ((2, 1),), ((4, 15), (3, 0))]:
        rest = noise.part(area, complement=nodes)
        inside = [t for node in nodes for first, end in noise.part(area, node=node).spans for t in range(first, end)]
        assert sorted(inside + [t for t in range(1000) if rest.holds(t)]) == list(range(1000))
        drawn = np.array([rest.timestep((k + 0.5) / 20_000) for k in range(20_000)])
        assert all(rest.holds(t) for t in drawn)
        share = np.diff(area) * [rest.holds(t) for t in range(1000)]
        assert np.abs(np.bincount(drawn, minlength=1000) / 20_000 - share / share.sum()).max() < 1e-4


def test_uniform_halves_are_halves_and_a_range_is_the_plans():
    upper = noise.part(AREAS["uniform"], node=(1, 1))
    assert upper.ranges() == [{"unit": "timestep", "from": 1000, "to": 500}]
    assert Range.from_dict(upper.ranges()[0]).to_dict() == upper.ranges()[0]
    assert [upper.timestep(u) for u in (0.0, 0.5, 0.999)] == [500, 750, 999]
    middle = noise.part(AREAS["uniform"], complement=((2, 0), (2, 3)))
    assert middle.ranges() == [{"unit": "timestep", "from": 750, "to": 250}] and not middle.whole
    around = noise.part(AREAS["uniform"], complement=((2, 1),))
    assert around.ranges() == [{"unit": "timestep", "from": 1000, "to": 500}, {"unit": "timestep", "from": 250, "to": 0}]
    assert noise.part(AREAS["uniform"]).whole and upper.intervals(2) == [(500, 750), (750, 999)]


def test_ediffs_nodes_are_the_papers_sigmas():
    """Appendix B: with ln sigma ~ N(-1.2, 1.2), E^9_511 begins at sigma 9.61 and E^3_0 ends at 0.0757."""
    first, _ = noise.span(AREAS["lognormal"], (9, 511))
    _, end = noise.span(AREAS["lognormal"], (3, 0))
    assert SIGMA[first - 1] < 9.61 * 1.01 and SIGMA[first] > 9.61 * 0.99
    assert SIGMA[end - 1] < 0.0757 * 1.02 and SIGMA[end] > 0.0757 * 0.98


def test_a_node_beyond_the_schedule_is_refused():
    with pytest.raises(TrainError, match=r"node: \[9, 0\] holds no timestep"):
        noise.part(AREAS["lognormal"], node=(9, 0))


BUCKETS = [list(range(10)), list(range(10, 13)), list(range(13, 40))]


@pytest.mark.parametrize("size", [1, 4, 7, 64])
def test_every_picture_comes_as_often_and_a_batch_has_one_size(size):
    order = Order(BUCKETS, size, seed=3)
    steps = order.before(size)          # after so many epochs all buckets end together
    count = Counter()
    for step in range(steps):
        batch = order.batch(step)
        assert len(batch) == size and any(set(batch) <= set(bucket) for bucket in BUCKETS)
        count.update(batch)
    assert set(count.values()) == {size} and len(count) == 40


def test_the_order_is_the_seeds():
    def first(seed):
        return [Order(BUCKETS, 4, seed).batch(step) for step in range(20)]
    assert first(1) == first(1) != first(2)


def test_a_cache_keeps_what_it_was_given_and_a_killed_process_loses_one_file_at_most(tmp_path, monkeypatch):
    given = {f"key {i}": torch.randn(2, 3, generator=torch.Generator().manual_seed(i)).half() for i in range(3)}
    cache = Cache(tmp_path)
    cache.add(given)
    for opened in (cache, Cache(tmp_path)):
        assert all(torch.equal(opened[key], value) and key in opened for key, value in given.items()) and "other" not in opened
    def killed(handle):
        raise KeyboardInterrupt
    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, "fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            cache.add({"later": torch.zeros(1)})
    again = Cache(tmp_path)
    assert set(again.entries) == set(given) and torch.equal(again["key 1"], given["key 1"]) and not list(tmp_path.glob("*.part"))


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "file"
    atomic.write_text(path, "old")
    def stopped():
        with atomic.replacing(path) as part:
            part.write_text("ne")
            raise ValueError
    with pytest.raises(ValueError):
        stopped()
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    (tmp_path / "mine.x.part").touch(), (tmp_path / "other.part").touch()
    atomic.sweep(tmp_path, "mine.")
    assert {p.name for p in tmp_path.iterdir()} == {"file", "other.part"}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    into = tmp_path_factory.mktemp("models")
    tiny.make(into, "tiny", "v"), tiny.make(into, "tiny-eps", "eps", seed=1)
    return into


@pytest.fixture
def data(tmp_path):
    """Three good pictures, of two sizes, and four bad ones."""
    home = tmp_path / "data"
    (home / "sub").mkdir(parents=True)
    y, x = np.mgrid[0:140, 0:200]
    image = Image.fromarray(np.stack([x, y, x + y], -1).astype(np.uint8))
    for name, size in (("a.png", (64, 64)), ("sub/b.JPG", (64, 64)), ("c.webp", (140, 70))):
        image.crop((0, 0, *size)).save(home / name)
        (home / name).with_suffix(".txt").write_text("a red  circle\n", encoding="utf-8-sig")
    return home


def bad_ones(home: Path) -> None:
    image = Image.new("RGB", (64, 64))
    for name in ("no-caption", "latin", "tiny", "broken"):
        image.crop((0, 0, 63, 80) if name == "tiny" else (0, 0, 64, 64)).save(home / f"{name}.png")
        (home / f"{name}.txt").write_bytes("blue Würfel".encode("latin-1") if name == "latin" else b"")
    (home / "no-caption.txt").unlink()
    whole = (home / "broken.png").read_bytes()
    (home / "broken.png").write_bytes(whole[:len(whole) // 2])


def encoded(models: Path, data: Path, out: Path, between=lambda: None, **keys) -> tuple[Data, list[str]]:
    said: list[str] = []
    config = Config(checkpoint=str(models / "tiny.safetensors"), data=str(data), out=str(out), name="x", **keys)
    source = Checkpoint(Path(config.checkpoint))
    return Data(config, [source], noise.part(AREAS["uniform"]), torch.device("cpu"), said.append, between), said


def test_bad_pictures_are_named_all_at_once_and_left_out_only_on_request(models, data, tmp_path):
    bad_ones(data)
    with pytest.raises(TrainError) as error:
        encoded(models, data, tmp_path / "out")
    for part in ("4 of 7", "no-caption.png has no caption; write one to no-caption.txt", "latin.txt of latin.png is not UTF-8",
                 "tiny.png is too small (63x80); 64 pixels", "broken.png cannot be read as a picture", "skip_bad: true"):
        assert part in str(error.value)
    kept, said = encoded(models, data, tmp_path / "out", skip_bad=True)
    assert [p.name for p in kept.pictures] == ["a.png", "c.webp", "sub/b.JPG"] and kept.pictures[0].caption == "a red circle"
    assert sum(line.startswith("left out: ") for line in said) == 4


@pytest.mark.parametrize("call", range(1, 6))
def test_a_folder_that_vanishes_is_named(models, data, tmp_path, call):
    """After so many pieces of work: between the look at each picture, and between the encoding of each size."""
    def between() -> None:
        nonlocal call
        call -= 1
        if call == 0:
            shutil.rmtree(data)

    with pytest.raises(TrainError, match="is no folder any more"):
        encoded(models, data, tmp_path / "out", between, skip_bad=True)
    with pytest.raises(TrainError, match="is no folder"):
        encoded(models, data, tmp_path / "out", between, skip_bad=True)


def test_a_file_that_vanishes_while_it_is_encoded_is_left_out_on_request(models, data, tmp_path):
    calls = iter(range(100))
    kept, said = encoded(models, data, tmp_path / "out", lambda: next(calls) == 3 and (data / "c.webp").unlink(), skip_bad=True)
    assert [p.name for p in kept.pictures] == ["a.png", "sub/b.JPG"] and any(line.startswith("left out: c.webp cannot be read") for line in said)


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes there")
def test_a_name_that_is_not_utf_8_is_named(models, data, tmp_path):
    shutil.copy(data / "a.png", os.path.join(os.fsencode(data), b"caf\xe9.png"))
    (data / os.fsdecode(b"caf\xe9.txt")).write_text("a red circle")
    with pytest.raises(TrainError, match=r"caf\\udce9\.png has a name that is not UTF-8"):
        encoded(models, data, tmp_path / "out")
    kept, said = encoded(models, data, tmp_path / "out", skip_bad=True)
    assert len(kept.pictures) == 3 and any(line.encode().startswith(b"left out: caf") for line in said)


def test_a_folder_without_pictures_is_an_error(tmp_path):
    for place in (tmp_path, tmp_path / "not-there"):
        with pytest.raises(TrainError, match="data: "):
            folder.pictures(place)


def test_only_what_has_changed_is_encoded_again(models, data, tmp_path, monkeypatch):
    first, _ = encoded(models, data, tmp_path / "out")
    written = []
    monkeypatch.setattr(Cache, "add", lambda self, tensors: written.append(sorted(key.split("|")[0] for key in tensors)))
    same, _ = encoded(models, data, tmp_path / "out")
    assert written == [] and same.digest() == first.digest()
    monkeypatch.undo()
    add, written = Cache.add, []
    monkeypatch.setattr(Cache, "add", lambda self, tensors: (written.append(sorted(key.split("|")[0] for key in tensors)), add(self, tensors)))
    Image.new("RGB", (64, 64), "blue").save(data / "a.png")
    os.utime(data / "a.png", ns=(1, 1))
    Image.new("RGB", (64, 64), "red").save(data / "new.png")
    (data / "new.txt").write_text("another one")
    (data / "c.webp").unlink()
    later, _ = encoded(models, data, tmp_path / "out")
    assert written == [["a.png", "new.png"], ["another one"]] and later.digest() != first.digest()
    assert [p.name for p in later.pictures] == ["a.png", "new.png", "sub/b.JPG"] and later.buckets() == [[0, 1, 2]]


def test_latents_and_features_are_the_checkpoints(models, data, tmp_path):
    """A picture is cut to multiples of 64 px in the middle; the features are CLIP's of the caption between start and end."""
    kept, _ = encoded(models, data, tmp_path / "out")
    source = Checkpoint(models / "tiny.safetensors")
    with Image.open(data / "c.webp") as image:
        pixels = torch.from_numpy(np.array(image.convert("RGB"))[3:67, 6:134]).permute(2, 0, 1)[None].float() / 127.5 - 1
    latent = kept.latents[kept.keys["c.webp"]]
    with torch.no_grad():
        assert (source.vae().moments(pixels)[0] - latent.float()).abs().max() < 2e-3 and latent.shape == (2, 4, 8, 16)
        text = source.text(75)
        tokens = text.tokenizer(["a red circle"], padding="max_length", max_length=77, return_tensors="pt").input_ids
        plain = text.transformer(tokens).last_hidden_state[0]
        assert (kept.features[0]["a red circle"].float() - plain).abs().max() < 2e-3
        long = " ".join(["red circle"] * 60)        # 120 tokens: 75 and 45
        assert text.length(long) == 120 and (text([long])[0] - text([" ".join(["red circle"] * 50)])[0]).abs().max() < 1e-5
        both = source.text(150)([long])[0]
        assert both.shape == (154, tiny.CONTEXT) and (both[:77] - text([long])[0]).abs().max() < 1e-5
        assert (both[77:] - text(["circle " + " ".join(["red circle"] * 22)])[0]).abs().max() < 1e-5


def test_a_sample_is_the_same_on_any_process(models, data, tmp_path):
    kept, _ = encoded(models, data, tmp_path / "out", drop_text=0.5)
    together, apart = kept.batch([5, 9], [0, 2]), [kept.batch([5], [0]), kept.batch([9], [2])]
    for name in ("x0", "noise", "t"):
        assert torch.equal(getattr(together, name), torch.cat([getattr(one, name) for one in apart]))
    many = kept.batch(range(400), [0] * 400)
    assert abs(many.noise.mean()) < 0.02 and abs(many.noise.std() - 1) < 0.02 and len(many.t.unique()) > 250
    dropped = (many.contexts[0] == kept.features[0][""].float()).all(-1).all(-1)
    assert 150 < dropped.sum() < 250


def test_held_out_pictures_are_not_learned(models, data, tmp_path):
    kept, _ = encoded(models, data, tmp_path / "out", validation=0.4)
    assert len(kept.checks) == 1 and not {p.name for p in kept.checks} & {p.name for p in kept.pictures} and len(kept.pictures) == 2
    for k in range(4):
        batches = list(kept.check(k, 4, 2))
        assert all(250 * k <= t < 250 * (k + 1) for batch in batches for t in batch.t)
        assert all(torch.equal(a.noise, b.noise) for a, b in zip(batches, kept.check(k, 4, 2)))
    with pytest.raises(TrainError, match=r"validation: 0\.9"):
        encoded(models, data, tmp_path / "out", validation=0.9)


def batch_of(count: int = 3, t: tuple[int, ...] = (0, 500, 999)) -> Batch:
    rng = torch.Generator().manual_seed(0)
    return Batch(torch.randn(count, 4, 8, 8, generator=rng), torch.randn(count, 4, 8, 8, generator=rng), torch.tensor(t),
                 (torch.randn(count, 77, tiny.CONTEXT, generator=rng),))


@pytest.mark.parametrize("name, weighting", [("tiny", "plain"), ("tiny", "v"), ("tiny-eps", "plain"), ("tiny-eps", "v")])
def test_the_loss_is_the_papers(models, name, weighting):
    """Weighted as v, an error is that of v = alpha eps - sigma x0 at x_t = alpha x0 + sigma eps, whatever the network predicts."""
    source = Checkpoint(models / f"{name}.safetensors")
    config = Config(checkpoint=str(source.path), data="data", weighting=weighting)
    batch, target = batch_of(), UnetTarget(config)
    linear_end = 0.03 if name == "tiny" else 0.012
    network, losses = tiny.parts()["model.diffusion_model"].eval(), []
    prefix = "model.diffusion_model."
    network.load_state_dict({key[len(prefix):]: value for key, value in load_file(source.path).items() if key.startswith(prefix)})
    with torch.no_grad():
        for i, t in enumerate(batch.t.tolist()):
            betas = [(0.00085**0.5 + (linear_end**0.5 - 0.00085**0.5) * k / 999) ** 2 for k in range(t + 1)]
            alpha = math.sqrt(math.prod(1 - beta for beta in betas))
            sigma = math.sqrt(1 - alpha**2)
            x_t = alpha * batch.x0[i:i + 1] + sigma * batch.noise[i:i + 1]
            out = network(x_t, batch.t[i:i + 1], context=batch.contexts[0][i:i + 1])
            v = alpha * batch.noise[i] - sigma * batch.x0[i]
            if name == "tiny":
                losses.append(F.mse_loss(out[0], v).item())
            elif weighting == "plain":
                losses.append(F.mse_loss(out[0], batch.noise[i]).item())
            else:
                losses.append(F.mse_loss(alpha * out[0] - sigma * (x_t[0] - sigma * out[0]) / alpha, v).item())
        assert target(batch).tolist() == pytest.approx(losses, rel=1e-4)


def test_gradients_are_the_same_with_checkpointing(models):
    source, found = Checkpoint(models / "tiny.safetensors"), []
    for checkpointing in (False, True):
        target = UnetTarget(Config(checkpoint=str(source.path), data="data", checkpointing=checkpointing))
        target(batch_of()).mean().backward()
        found.append({name: weight.grad for name, weight in target.named_parameters()})
    assert found[0].keys() == found[1].keys()
    assert all(torch.allclose(found[0][name], found[1][name], rtol=1e-4, atol=1e-6) for name in found[0])


def test_what_is_no_stable_diffusion_1_is_refused(models, tmp_path):
    def refused(keys: dict[str, tuple[int, ...]], sentence: str, config: dict | None = None) -> None:
        path = tmp_path / "other.safetensors"
        save_file({key: torch.zeros(shape) for key, shape in keys.items()}, path)
        path.with_suffix(".yaml").unlink(missing_ok=True)
        if config:
            path.with_suffix(".yaml").write_text(yaml.safe_dump(config))
        with pytest.raises(TrainError, match=sentence):
            Checkpoint(path)

    plain = {"first_stage_model.x": (1,), "cond_stage_model.transformer.x": (1,), "model.diffusion_model.input_blocks.0.0.weight": (320, 9, 3, 3)}
    refused({"conditioner.embedders.0.x": (1,)}, "is a Stable Diffusion XL")
    refused({"model.diffusion_model.joint_blocks.0.x": (1,)}, "is a Stable Diffusion 3")
    refused({"cond_stage_model.model.x": (1,)}, "is a Stable Diffusion 2")
    refused({"model.diffusion_model.x": (1,)}, "holds no first_stage_model")
    refused(plain, "has no other.yaml beside it and is no plain")
    good = yaml.safe_load((models / "tiny.yaml").read_text())
    refused(plain, "conditioned by more than text", {"model": {"params": {**good["model"]["params"], "conditioning_key": "hybrid"}}})
    refused(plain, "is not the configuration", {"model": {}})
    with pytest.raises(TrainError, match=r"is no \.safetensors file"):
        Checkpoint(tmp_path / "nothing.safetensors")
    state = load_file(models / "tiny.safetensors")
    state.pop("model.diffusion_model.out.2.bias")
    save_file(state, tmp_path / "less.safetensors")
    (tmp_path / "less.yaml").write_text((models / "tiny.yaml").read_text())
    with pytest.raises(TrainError, match=r"1 tensors are missing or unknown, the first is model\.diffusion_model\.out\.2\.bias"):
        Checkpoint(tmp_path / "less.safetensors").unet()


def test_stable_diffusion_1s_own_sizes(monkeypatch):
    """What is built without a yaml: the numbers of parameters that everybody counts in its files."""
    from transformers import CLIPTextConfig, CLIPTextModel
    with torch.device("meta"):
        unet = checkpoint.quiet_ldm("openaimodel").UNetModel(**checkpoint.SD1["unet_config"]["params"])
        vae = checkpoint.Vae(**checkpoint.SD1["first_stage_config"]["params"])
        text = CLIPTextModel(CLIPTextConfig(**checkpoint.CLIP_SIZES))
    counts = [sum(weight.numel() for weight in network.parameters()) for network in (unet, vae, text)]
    assert counts == [859_520_964, 83_653_863, 123_060_480] and len(list(unet.parameters())) == 686


LEAST = {"checkpoint": "m/x.safetensors", "data": "pictures"}


@pytest.mark.parametrize("keys, sentence", [
    ({"lr": -1}, r"lr: -1 is too small; use a number from 0 to 10"),
    ({"stesp": 5}, r'stesp: there is no such key; use "steps"'),
    ({"steps": "many"}, r'steps: "many" is not an integer; use an integer of at least 1'),
    ({"node": [1, 2]}, r"node: \[1, 2\] does not fit; use \[level, index\] with"),
    ({"node": [1]}, r"node: \[1\] does not fit; use \[level, index\]"),
    ({"node": [1, 0], "complement": [[1, 1]]}, r"complement: \[\[1, 1\]\] stands beside node"),
    ({"noise": "lognormal"}, r'noise: "lognormal" is unknown; use one of uniform'),
    ({"noise": {"lognormal": [-1.2, 0]}}, r"noise.lognormal: \[-1.2, 0.0\] does not fit; use a deviation above 0"),
    ({"precision": "fp16"}, r'precision: "fp16" is unknown; use one of float32, bfloat16, float16'),
    ({"target": "vae"}, r"target: .* unknown; use one of unet"),
    ({"data": None}, r"data: null"),
    ({"name": "there/x"}, r'name: "there/x" does not fit; use the name of a file'),
    ({"name": "x", "out": "m"}, r"would overwrite m/x.safetensors; use another out or name"),
])
def test_a_wrong_configuration_is_refused_with_key_value_and_remedy(tmp_path, monkeypatch, keys, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({**LEAST, **keys}))
    with pytest.raises(TrainError, match=sentence):
        read(tmp_path / "run.yaml")


def test_the_least_configuration_and_numbers_as_people_write_them(tmp_path):
    path = tmp_path / "my-expert.yaml"
    path.write_text("checkpoint: a.safetensors\ndata: b\nlr: 1e-4\nnode: [1, 1]\n")
    config = read(path)
    assert config.lr == 1e-4 and config.name == "my-expert" and config.node == (1, 1) and Config.from_dict(config.to_dict()) == config
    assert json.loads(json.dumps(config.to_dict())) == config.to_dict()
    for text, sentence in (("a: [", "is not YAML"), ("", "holds no keys"), ("data: b", "checkpoint: target unet needs one"), ("target: afa\ndata: b", "models: target afa needs several"),
                           ("target: afa\ndata: b\nmodels: [a, b]\nnode: [1, 1]", "node: .* is of target unet")):
        path.write_text(text)
        with pytest.raises(TrainError, match=sentence):
            read(path)
    with pytest.raises(TrainError, match="there is no such file"):
        read(tmp_path / "other.yaml")


def test_the_documents_examples_are_read_and_every_key_stands_there_with_its_default():
    text, readme = ((Path(__file__).parent.parent / name).read_text(encoding="utf-8") for name in ("docs/training.md", "README.md"))
    for page in (text, readme):
        examples = [Config.from_dict(yaml.load(block, Loader)) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "data:" in block]
        assert examples and all(config.node == (1, 1) if config.target == "unet" else len(config.models) > 1 for config in examples)
    assert Plan.from_dict(json.loads(re.search(r"```json\n(.*?)```", text, re.DOTALL)[1])).model.experts[0].range.to == 500
    told = {}
    for keys, defaults in re.findall(r"^\| (`.*?) \| (.*?) \| ", text[text.index("## All keys"):text.index("## What it writes")], re.MULTILINE):
        values = [value.strip("` ") for value in re.split(r", (?![0-9.]+\])", defaults)]
        names = re.findall(r"`(\w+)`", keys)
        told |= dict(zip(names, values if len(values) == len(names) else values * len(names)))
    known = {name: field.default for name, field in Config.keyed().items()}
    assert told.keys() == known.keys()
    words = {"required": MISSING, "none": None, "all noise": None, "the configuration's": None, "OUT": None, "WORK/cache": None, "the commonest": None}
    for name, value in told.items():
        default = known[name] if known[name] != () else None
        expected = words[value] if value in words else yaml.load(value, Loader)
        assert (list(default) if isinstance(default, tuple) else default) == expected, name
