"""Laws of the trainer's loop: a resumed run is the same run, so is one on more processes, and no file is ever half written."""
from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from accelerate.state import AcceleratorState
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from lib_mixdiff import aggregator
from lib_mixdiff.plan import Plan
from lib_mixdiff.train import atomic
from lib_mixdiff.train.__main__ import TARGETS, main, train
from lib_mixdiff.train.cache import Cache
from lib_mixdiff.train.checkpoint import Checkpoint
from lib_mixdiff.train.config import Config, read
from lib_mixdiff.train.data import Batch, Order
from lib_mixdiff.train.unet import UnetTarget
from lib_mixdiff.turns import Turns
from minihost import models
from minihost.shapes import folder
from tests import tiny

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Checkpoints, pictures of two sizes, and a cache that the tests share."""
    into = tmp_path_factory.mktemp("home")
    tiny.make(into, "tiny", "v"), tiny.make(into, "tiny-eps", "eps", seed=1)
    folder.write(into / "pictures", 5, ["64x64", "128x64"])
    return into


@pytest.fixture(autouse=True)
def _fresh():
    """Accelerate keeps the precision for the process."""
    yield
    AcceleratorState._reset_state(True)


def configured(home: Path, out: Path, name: str = "run", **keys) -> str:
    """A short training's file."""
    out.mkdir(parents=True, exist_ok=True)
    config = {"checkpoint": str(home / "tiny.safetensors"), "data": str(home / "pictures"), "out": str(out), "name": name, "warmup": 0,
              "cache": str(home / "cache"), "batch": 2, "steps": 3, "log_every": 1, "node": [1, 1], **keys}
    (out / f"{name}-config.yaml").write_text(yaml.safe_dump(config))
    return str(out / f"{name}-config.yaml")


def snapshot(out: Path, name: str = "run") -> dict:
    return torch.load(out / f"{name}.snapshot", weights_only=True)


def same(a: object, b: object) -> bool:
    """Bit for bit."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def equal(one: Path, other: Path) -> bool:
    """Whether two folders hold the same training's results."""
    a, b = snapshot(one), snapshot(other)
    return all(same(a[key], b[key]) for key in ("step", "weights", "average", "optimizer")) and \
        (one / "run.safetensors").read_bytes() == (other / "run.safetensors").read_bytes()


def losses(out: Path, name: str = "run") -> list[float]:
    lines = [json.loads(line) for line in (out / f"{name}.log.jsonl").read_text().splitlines()]
    found = [line for line in lines if "loss" in line]
    assert [line["step"] for line in found] == list(range(1, len(found) + 1))
    return [line["loss"] for line in found]


@pytest.fixture(scope="module")
def uninterrupted(home):
    main([configured(home, home / "whole")])
    return home / "whole"


def test_stop_and_resume_is_the_same_run_bit_for_bit(home, uninterrupted, tmp_path, capsys):
    for _ in range(3):
        main([configured(home, tmp_path, minutes=1e-6)])         # each time one step
    said = capsys.readouterr().out
    assert said.count("stopped after step") == 2 and "going on after step 2" in said
    assert equal(tmp_path, uninterrupted) and losses(tmp_path) == losses(uninterrupted)
    assert max(losses(uninterrupted)) > 0 and len(losses(uninterrupted)) == 3
    main([configured(home, tmp_path, batch=1, accumulate=2)])     # it is done, the batch the same: nothing changes
    assert equal(tmp_path, uninterrupted)
    main([configured(home, tmp_path, steps=4)])                   # more steps may be asked for
    assert snapshot(tmp_path)["step"] == 4 and not equal(tmp_path, uninterrupted)


def test_two_turns_of_half_a_batch_are_one_batch(home, uninterrupted, tmp_path):
    main([configured(home, tmp_path, batch=1, accumulate=2, steps=1)])
    assert losses(tmp_path) == pytest.approx(losses(uninterrupted)[:1], abs=1e-5)


def test_two_processes_are_one_with_twice_the_batch(home, tmp_path):
    """Of `shapes`: a random network is chaotic. Its predictions, not its weights: a bias that a GroupNorm takes away has no gradient
    but rounding, which Adam makes as large as any."""
    shapes = dict(checkpoint=str(models.assembled(home / "shapes") / "shapes.safetensors"), node=None)
    main([configured(home, tmp_path, "one", batch=4, **shapes)])
    config = configured(home, tmp_path, "two", batch=2, **shapes)
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
               "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "29513", "-m", "lib_mixdiff.train", config]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "ACCELERATE_USE_CPU": "true"}, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("step 3 of 3") == 1, "one of them speaks"
    assert snapshot(tmp_path, "two")["facts"]["batch of all processes"] == 4
    assert losses(tmp_path, "two") == pytest.approx(losses(tmp_path, "one"), abs=1e-5)
    source = Checkpoint(Path(shapes["checkpoint"]))
    x, t = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([100, 400, 700, 900])
    predicted = []
    for weights in (snapshot(tmp_path, "one")["weights"], snapshot(tmp_path, "two")["weights"], {}):
        network = source.unet()
        network.load_state_dict({key[len("unet."):]: value for key, value in weights.items()}, strict=False)
        with torch.no_grad():
            predicted.append(network(x, t, context=torch.zeros(4, 77, 128)))
    assert (predicted[0] - predicted[1]).abs().max() < 1e-5 and (predicted[0] - predicted[2]).abs().max() > 1e-3


def whole_files(out: Path) -> None:
    """Whatever has its final name can be read, and what it points to is there."""
    for path in out.rglob("*"):
        if path.suffix == ".safetensors":
            assert load_file(path)
        elif path.suffix == ".snapshot":
            assert torch.load(path, weights_only=True)["weights"]
        elif path.name == "manifest.json":
            cache = Cache(path.parent)
            assert all(tuple(cache[key].shape) == cache.shape(key) for key in cache.entries)
        elif path.suffix == ".png":
            Image.open(path).load()
        elif path.suffix == ".yaml":
            assert yaml.safe_load(path.read_text())


class Death(BaseException):
    pass


def test_a_stop_at_any_write_leaves_whole_files_and_the_same_run(home, uninterrupted, tmp_path, monkeypatch):
    """The process dies before a file gets its name, at the first of each kind and at the third snapshot, and goes on."""
    seen, alive = Counter(), os.replace
    def replace(part, path):
        kind = f"{path.parent.name.split('-')[0]} {path.suffix}" if path.is_relative_to(tmp_path / "cache") else path.name
        seen[kind] += 1
        if seen[kind] == 1 or (kind == "run.snapshot" and seen[kind] == 3):
            raise Death
        alive(part, path)
    monkeypatch.setattr(atomic.os, "replace", replace)
    config = configured(home, tmp_path, cache=str(tmp_path / "cache"), save_every=1)
    for _ in range(40):
        try:
            main([config])
            break
        except Death:
            whole_files(tmp_path)
    monkeypatch.undo()
    assert {"latents .safetensors", "latents .json", "text .safetensors", "text .json", "run.snapshot", "run.safetensors", "run.yaml",
                             "run.log.jsonl"} <= seen.keys()
    assert equal(tmp_path, uninterrupted) and not list(tmp_path.rglob("*.part"))


def test_a_death_between_the_last_files_is_no_end(home, uninterrupted, tmp_path, monkeypatch):
    alive, names = os.replace, []
    def replace(part, path):
        names.append(path.name)
        if names.count("run.safetensors") == 3:
            raise Death
        alive(part, path)
    config = configured(home, tmp_path, save_every=1)
    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, "replace", replace)
        with pytest.raises(Death):
            main([config])
    assert snapshot(tmp_path)["step"] == 2
    main([config])
    assert equal(tmp_path, uninterrupted)


KILLED = """
import contextlib, os, sys
with contextlib.redirect_stdout(sys.stderr):
    from lib_mixdiff.train.__main__ import main
    import transformers.models.clip.modeling_clip, ldm.modules.diffusionmodules.openaimodel, ldm.modules.diffusionmodules.model
for _ in sys.stdin:                     # a fresh process for each line, without the seconds of the imports
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        main([sys.argv[1]])
        os._exit(0)
    print(child, flush=True)
    os.waitpid(child, 0)
    print("gone", flush=True)
"""


def killed(config: str, out: Path, seconds: Iterable[float]) -> None:
    """Trains, killed after each of so many seconds and then no more."""
    parent = subprocess.Popen([sys.executable, "-c", KILLED, config], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for wait in (*seconds, None):
        parent.stdin.write("\n")
        parent.stdin.flush()
        child = int(parent.stdout.readline())
        if wait:
            time.sleep(wait)
            os.kill(child, signal.SIGKILL)
        assert parent.stdout.readline() == "gone\n"
        whole_files(out)
    parent.stdin.close()
    assert parent.wait(60) == 0


def test_a_kill_at_any_moment_leaves_whole_files_and_the_same_run(home, uninterrupted, tmp_path):
    config = configured(home, tmp_path, save_every=1, cache=str(tmp_path / "cache"))
    killed(config, tmp_path, np.random.default_rng(1).uniform(0.3, 1.8, 3))
    assert equal(tmp_path, uninterrupted) and losses(tmp_path) == losses(uninterrupted)


def test_a_signal_ends_the_step_and_saves(home, uninterrupted, tmp_path, monkeypatch, capsys):
    forward = TARGETS["unet"].forward
    def signalled(self, batch):
        os.kill(os.getpid(), signal.SIGTERM)
        return forward(self, batch)
    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(TARGETS["unet"], "forward", signalled)
        main([configured(home, tmp_path)])
    assert signal.getsignal(signal.SIGTERM) == before
    assert snapshot(tmp_path)["step"] == 1 and "stopped after step 1; the same command goes on" in capsys.readouterr().out
    main([configured(home, tmp_path)])
    assert equal(tmp_path, uninterrupted)


def test_in_turns_it_is_the_same_run_and_a_stop_leaves_what_is_learned(home, uninterrupted, tmp_path, capsys):
    """Left alone after so many pieces of work; the result has its own folder, and so has what going on needs."""
    config = read(Path(configured(home, tmp_path, work=str(tmp_path / "work"), cache=None)))
    for pieces in (4, 13, 2, 1, 1):
        try:
            train(config, Turns(io.StringIO("go\n" * pieces), print, 0))
        except KeyboardInterrupt:
            assert not (tmp_path / "work" / "run.snapshot").exists(), "before the first step it is over at once"
    said = capsys.readouterr().out
    assert said.count("stopped after step") >= 2 and said.count("turn over") > 20
    assert (tmp_path / "work" / "cache").is_dir() and (tmp_path / "work" / "run.log.jsonl").exists()
    shutil.copy(tmp_path / "work" / "run.snapshot", tmp_path)
    assert equal(tmp_path, uninterrupted)
    for word, there in (("pause", False), ("stop", True)):
        again = replace(config, work=None, out=str(tmp_path / word), cache=str(home / "cache"))
        train(again, Turns(io.StringIO(f"go\n{word}\n"), print, 0))
        assert snapshot(tmp_path / word)["step"] == 1 and (tmp_path / word / "run.safetensors").exists() == there


def test_told_to_end_it_begins_no_further_step(home, tmp_path, monkeypatch):
    """Also in a validation, or between the prompts' pictures and the first step."""
    words, plain = [], Order.batch
    monkeypatch.setattr(Order, "batch", lambda order, step: (words.append(turns.word), plain(order, step))[1])
    config = read(Path(configured(home, tmp_path, validation=0.2, validate_every=1, sample_every=2, prompts=["a red circle"])))
    for pieces in (3, 8, 14, 20, 26, 29, 40):
        turns = Turns(io.StringIO("go\n" * pieces), print, 0)
        with suppress(KeyboardInterrupt):
            train(config, turns)
    assert len(words) > 1 and set(words) == {"go"}, words


def test_a_result_that_cannot_be_written_costs_nothing_that_is_learned(home, uninterrupted, tmp_path, monkeypatch):
    def write(*_: object) -> None:
        raise PermissionError("no")
    config = configured(home, tmp_path, save_every=2)
    for steps in (2, 3):
        with monkeypatch.context() as patch:
            patch.setattr(UnetTarget, "write", write)
            with pytest.raises(SystemExit, match=r"run\.safetensors cannot be written \(no\).*nothing that is learned is lost"):
                main([config])
        assert snapshot(tmp_path)["step"] == steps
    main([config])
    assert equal(tmp_path, uninterrupted)


@pytest.mark.parametrize("keys, sentence", [
    ({"lr": 1e-3}, r"lr: 0.001 is not what .*run.snapshot was made with, 0.0001; put it back, or begin anew"),
    ({"node": [1, 0]}, r"node: \[1, 0\] is not what"),
    ({"batch": 3}, r"batch of all processes: 3 is not what"),
    ({"checkpoint": "tiny-eps"}, "checkpoint: [0-9a-f]{64} is not what"),
])
def test_another_run_does_not_go_on_from_a_snapshot(home, uninterrupted, keys, sentence):
    if "checkpoint" in keys:
        keys = {"checkpoint": str(home / f"{keys['checkpoint']}.safetensors")}
    before = (uninterrupted / "run.snapshot").read_bytes()
    with pytest.raises(SystemExit) as error:
        main([configured(home, uninterrupted, **keys)])
    assert re.search(sentence, str(error.value)) and (uninterrupted / "run.snapshot").read_bytes() == before


def test_learning_nothing_gives_the_checkpoint_back(home, tmp_path):
    """In half precision, too, and with the EMA of another training thrown away; a copy for the file's owner to load."""
    from safetensors.torch import save_file
    source = {key: value.half() for key, value in load_file(home / "tiny.safetensors").items()}
    save_file({**source, "model_ema.x": torch.zeros(1)}, tmp_path / "half.safetensors")
    (tmp_path / "half.yaml").write_text((home / "tiny.yaml").read_text())
    main([configured(home, tmp_path / "out", checkpoint=str(tmp_path / "half.safetensors"), lr=0, steps=2)])
    assert same(load_file(tmp_path / "out" / "run.safetensors"), source)
    assert (tmp_path / "out" / "run.yaml").read_text() == (home / "tiny.yaml").read_text()


def test_the_result_says_what_it_is_and_the_plan_is_a_plan(home, uninterrupted, tmp_path, capsys):
    with safe_open(uninterrupted / "run.safetensors", "pt") as file:
        facts = json.loads(file.metadata()["mixdiff"])
    assert facts["node"] == [1, 1] and facts["range"] == [{"unit": "timestep", "from": 1000, "to": 500}]
    assert facts["steps"] == 3 and facts["seed"] == 0 and facts["source"] == "tiny.safetensors" and len(facts["sha256"]) == 64
    source, trained = load_file(home / "tiny.safetensors"), load_file(uninterrupted / "run.safetensors")
    changed = {key for key in source if not torch.equal(source[key], trained[key])}
    assert changed and all(key.startswith("model.diffusion_model.") for key in changed) and source.keys() == trained.keys()
    main([configured(home, tmp_path, steps=1, node=None, complement=[[2, 1]])])
    plan = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    experts = Plan.from_dict(plan).model.experts
    assert [(e.model, e.range.from_, e.range.to) for e in experts] == [("run", 1000, 500), ("run", 250, 0)]


def test_the_average_is_of_the_weights_so_far(home, uninterrupted, tmp_path):
    """Step by step: keep = min(ema, (1 + n) / (10 + n))."""
    start = {f"unet.{name}": weight for name, weight in Checkpoint(home / "tiny.safetensors").unet().named_parameters()}
    average, key = {name: weight.clone() for name, weight in start.items()}, "unet.out.2.weight"
    for n in range(1, 3):
        main([configured(home, tmp_path, steps=n)])
        keep = (1 + n) / (10 + n)
        average[key] = keep * average[key] + (1 - keep) * snapshot(tmp_path)["weights"][key]
    assert torch.allclose(snapshot(tmp_path)["average"][key], average[key], atol=1e-7)
    assert not torch.equal(snapshot(tmp_path)["weights"][key], start[key])


def test_it_learns_its_part_and_says_how_well_by_noise(home, tmp_path):
    main([configured(home, tmp_path, steps=12, lr=3e-3, batch=4, validation=0.1, validate_every=6, log_every=3, prompts=["a red circle"])])
    lines = [json.loads(line) for line in (tmp_path / "run.log.jsonl").read_text().splitlines()]
    checks = [line for line in lines if "validation" in line]
    assert [line["step"] for line in checks] == [0, 6, 12] and all(len(line["validation"]) == 10 for line in checks)
    assert checks[0]["timesteps"] == [[500 + 50 * k, min(999, 550 + 50 * k)] for k in range(10)]
    assert np.mean(checks[-1]["validation"]) < 0.95 * np.mean(checks[0]["validation"])
    assert [line["step"] for line in lines if "loss" in line] == [3, 6, 9, 12]
    assert sorted(p.name for p in tmp_path.glob("*.png")) == ["run.000000.png", "run.000012.png"]
    before, after = (np.asarray(Image.open(tmp_path / f"run.0000{n}.png")) for n in ("00", "12"))
    assert before.shape in [(64, 64, 3), (64, 128, 3)] and (before != after).any()


def test_a_batch_without_a_finite_gradient_is_left_out(home, tmp_path, monkeypatch, capsys):
    forward, calls = TARGETS["unet"].forward, []
    def broken(self, batch):
        calls.append(1)
        return forward(self, batch) * (float("nan") if len(calls) in bad else 1.0)
    monkeypatch.setattr(TARGETS["unet"], "forward", broken)
    bad = {2}
    main([configured(home, tmp_path, steps=3)])
    assert "step 2: the gradient is not finite" in capsys.readouterr().out
    assert all(weight.isfinite().all() for weight in snapshot(tmp_path)["average"].values())
    bad = range(100)
    with pytest.raises(SystemExit, match="not finite in 6 steps in a row; use a lower lr"):
        main([configured(home, tmp_path, "worse", steps=20)])


def test_bfloat16_learns_too(home, tmp_path):
    main([configured(home, tmp_path, steps=2, precision="bfloat16", checkpointing=True)])
    assert np.isfinite(losses(tmp_path)).all() and snapshot(tmp_path)["weights"]["unet.out.2.weight"].dtype == torch.float32


ENSEMBLE = {"target": "afa", "checkpoint": None, "node": None}


@pytest.fixture(scope="module")
def three(home):
    """What a training of aggregators needs beside the rest: a third checkpoint of the same prediction."""
    tiny.make(home, "tiny-2", "v", seed=2), tiny.make(home, "tiny-3", "v", seed=3)
    return {**ENSEMBLE, "models": [str(home / f"{name}.safetensors") for name in ("tiny", "tiny-2", "tiny-3")], "lr": 1e-2}


@pytest.fixture(scope="module")
def aggregated(home, three):
    main([configured(home, home / "aggregated", **three)])
    return home / "aggregated"


def test_aggregators_stop_and_resume_bit_for_bit(home, three, aggregated, tmp_path):
    for _ in range(3):
        main([configured(home, tmp_path, minutes=1e-6, **three)])
    assert snapshot(tmp_path)["step"] == 3 and equal(tmp_path, aggregated) and losses(tmp_path) == losses(aggregated)


def test_a_kill_of_their_training_leaves_whole_files_and_the_same_run(home, three, aggregated, tmp_path):
    killed(configured(home, tmp_path, save_every=1, **three), tmp_path, [1.5])
    assert equal(tmp_path, aggregated)


def test_two_processes_train_them_as_one_with_twice_the_batch(home, tmp_path):
    """The losses of the specialists' ensemble, and its predictions."""
    names = [str(models.assembled(home / "shapes") / f"{name}.safetensors") for name in ("shapes-a", "shapes-b")]
    keys = {**ENSEMBLE, "models": names, "lr": 1e-3, "steps": 2}
    main([configured(home, tmp_path, "one", batch=4, **keys)])
    config = configured(home, tmp_path, "two", batch=2, **keys)
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
               "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "29514", "-m", "lib_mixdiff.train", config]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "ACCELERATE_USE_CPU": "true"}, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert snapshot(tmp_path, "two")["facts"]["batch of all processes"] == 4
    assert losses(tmp_path, "two") == pytest.approx(losses(tmp_path, "one"), abs=1e-5)
    x, t = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([100, 400, 700, 900])
    target, predicted = TARGETS["afa"](Config(target="afa", models=tuple(names), data="-")), []
    untrained = {f"aggregators.{name}": each.clone() for name, each in target.aggregators.state_dict().items()}
    for weights in (snapshot(tmp_path, "one")["weights"], snapshot(tmp_path, "two")["weights"], untrained):
        target.aggregators.load_state_dict({key[len("aggregators."):]: value for key, value in weights.items()})
        with torch.no_grad():
            predicted.append(target.unet(x, t, context=torch.zeros(4, 2 * 77, 128)))
    assert (predicted[0] - predicted[1]).abs().max() < 1e-5 < 1e-4 < (predicted[0] - predicted[2]).abs().max()


def test_only_aggregators_learn_and_their_file_says_for_whom(home, three, aggregated, capsys):
    made = aggregator.read(aggregated / "run.safetensors")
    assert [name for name, _ in made.form.models] == ["tiny", "tiny-2", "tiny-3"] and made.form.mode == "full"
    assert [digest for _, digest in made.form.models] == [Checkpoint(Path(path)).sha256() for path in three["models"]]
    learned = snapshot(aggregated)["weights"]
    assert all(key.startswith("aggregators.") for key in learned) and len(learned) == len(list(made.parameters()))
    assert max(float(each.maps.weight.abs().max()) for each in made.each) > 1e-3, "they have begun to differ"
    main([configured(home, aggregated, **three)])
    plan = Plan.from_dict(json.loads(capsys.readouterr().out.strip().splitlines()[-1]))
    assert plan.model.afa.models == ("tiny", "tiny-2", "tiny-3") and plan.model.afa.aggregator == "run" and plan.model.afa.mode == "full"
    with pytest.raises(SystemExit, match=r"models: .* is not what"):
        main([configured(home, aggregated, **{**three, "models": three["models"][::-1]})])


@pytest.mark.parametrize("keys", [{"mode": "last", "prompts": ["a red circle"]}, {"without": ["space", "text"]},
                                  {"precision": "bfloat16", "checkpointing": True, "validation": 0.1, "batch": 1}], ids=str)
def test_kinds_of_aggregators_learn(home, three, tmp_path, keys):
    main([configured(home, tmp_path, steps=1, **{**three, "models": three["models"][:2], **keys})])
    made = aggregator.form_of(tmp_path / "run.safetensors")
    assert made.mode == keys.get("mode", "full") and list(made.without) == keys.get("without", []) and np.isfinite(losses(tmp_path)).all()
    assert len(list(tmp_path.glob("*.png"))) == 2 * len(keys.get("prompts", []))


def test_checkpointing_changes_no_gradient_of_theirs(three):
    found, rng = [], torch.Generator().manual_seed(0)
    batch = Batch(torch.randn(2, 4, 8, 8, generator=rng), torch.randn(2, 4, 8, 8, generator=rng), torch.tensor([9, 800]),
                  tuple(torch.randn(2, 77, tiny.CONTEXT, generator=rng) for _ in range(3)))
    for checkpointing in (False, True):
        target = TARGETS["afa"](Config(target="afa", models=tuple(three["models"]), data="-", checkpointing=checkpointing))
        target(batch).mean().backward()
        found.append({name: each.grad for name, each in target.named_parameters() if each.requires_grad})
        assert all(each.grad is None for each in target.unets.parameters())
    assert all(torch.allclose(found[0][name], found[1][name], rtol=1e-4, atol=1e-6) for name in found[0])
    assert sum(float(each.abs().sum()) for each in found[0].values()) > 0


def test_sample_pictures_are_drawn_a_batch_at_a_time(home, monkeypatch):
    prompts, drawn, seen = ("a red circle", "a cross", "a square"), [], []
    for batch in (1, 2, 8):
        target = UnetTarget(read(Path(configured(home, home / "drawn", batch=batch, guidance=3))))
        whole = target._drawn
        monkeypatch.setattr(target, "_drawn", lambda some, *rest, whole=whole: (seen.append(len(some)), whole(some, *rest))[1])
        with torch.no_grad():
            drawn.append(target.draw(prompts, (8, 8), 2).int())
    assert seen == [1, 1, 1, 2, 1, 3] and len({picture.numpy().tobytes() for picture in drawn[0]}) == 3
    assert all((each - drawn[0]).abs().max() <= 1 for each in drawn)


def test_models_that_are_not_alike_are_no_ensemble(home, three, tmp_path):
    for wrong, sentence in (("tiny-eps", "another prediction"), ("shapes", "another architecture")):
        path = models.assembled(home / "shapes") / "shapes.safetensors" if wrong == "shapes" else home / f"{wrong}.safetensors"
        with pytest.raises(SystemExit, match=f"models: {wrong}.safetensors has {sentence}"):
            main([configured(home, tmp_path, **{**three, "models": [three["models"][0], str(path)]})])
