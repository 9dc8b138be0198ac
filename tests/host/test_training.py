"""Trainings that a host starts: they take turns with its jobs, end and go on as they are told, and outlive the host."""
from __future__ import annotations

import io
import json
import os
import subprocess
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image

from minihost.client import served
from minihost.shapes import folder
from tests.host.client import Host

NAME = f"mixdiff-test-training-{os.getpid()}"       # hosts of tests beside these have the same folder
KEYS = {"target": "afa", "name": NAME, "models": ["shapes-a", "shapes-b"], "batch": 2, "steps": 4, "log_every": 1, "lr": 1e-3}


class Trainer:
    """Of one host."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def ask(self, route: str, body: dict | None = None, method: str = "POST") -> dict:
        answer = requests.request(method, f"{self.host.url}/mixdiff/v1/train/{route}", **{"json": body} if body is not None else {}, timeout=60)
        return {"code": answer.status_code, **answer.json()}

    def start(self, **keys) -> dict:
        return self.ask("start", {"config": {**KEYS, **keys}})

    @property
    def status(self) -> dict:
        return self.ask(f"status?name={NAME}", method="GET")["training"]

    def wait(self, until, seconds: float = 180) -> dict:
        """Its status once that holds."""
        end = time.monotonic() + seconds
        while not until(found := self.status):
            assert time.monotonic() < end and found["state"] != "failed", found
            time.sleep(0.2)
        return found

    def ended(self) -> dict:
        return self.wait(lambda found: found["state"] != "running")

    def forget(self) -> None:
        if NAME in self.ask("status", method="GET")["trainings"]:
            if self.status["state"] == "running":
                self.ask("pause", {"name": NAME, "now": True})
            file = self.ended()["file"]
            self.ask(NAME, method="DELETE")
            for made in [Path(file), Path(file).with_suffix(".yaml")] if file else []:
                made.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    into = tmp_path_factory.mktemp("pictures")
    folder.write(into, 12, ["64x64"])
    return into


@pytest.fixture
def trainer(host):
    if not {"shapes-a", "shapes-b"} <= {model["model_name"] for model in host.get("/sdapi/v1/sd-models")}:
        pytest.skip("needs the checkpoints shapes-a and shapes-b")
    trainer = Trainer(host)
    trainer.forget()
    yield trainer
    trainer.forget()


def spoil(pictures: Path, into: Path) -> list[str]:
    """A copy of a folder with files beside that cannot be used; their names."""
    into.mkdir(exist_ok=True)
    for file in pictures.iterdir():
        (into / file.name).write_bytes(file.read_bytes())
    good, caption = next(pictures.glob("*.png")).read_bytes(), "a red circle"
    files = {"corrupt.png": good[:len(good) // 2], "alone.png": good, "utf16.png": good, "latin.png": good, "text.jpg": b"no picture"}
    for name, content in files.items():
        (into / name).write_bytes(content)
    Image.new("RGB", (1, 1)).save(into / "one.png")
    Image.new("1", (30000, 30000)).save(into / "huge.png")
    for name in (*files, "one.png", "huge.png"):
        (into / name).with_suffix(".txt").write_text(caption, encoding="utf-8-sig")
    (into / "alone.txt").unlink()
    (into / "utf16.txt").write_text(caption, encoding="utf-16")
    (into / "latin.txt").write_bytes("a café".encode("latin-1"))
    return [*files, "one.png", "huge.png"]


def test_it_takes_turns_is_paused_goes_on_and_what_it_made_is_used(trainer, pictures, tmp_path):
    """Of a folder with bad files, too, each of which is named and left out."""
    bad = spoil(pictures, tmp_path / "bad")
    started = trainer.start(data=str(tmp_path / "bad"), skip_bad=True, steps=400, prompts=["a red circle"], sample_every=1000, validation=0.1)
    assert started["code"] == 200 and started["state"] == "running", started
    assert trainer.start(data=str(pictures), name="another")["code"] == 409, "one at a time"
    trainer.wait(lambda found: found["step"] > 2)
    began = time.time()
    assert trainer.host.txt2img(steps=60, width=128, height=128).status == 200
    ended = time.time()
    after = trainer.status
    assert after["state"] == "running" and after["step"] < 400, "it did not wait for the end of the training"
    trainer.ask("pause", {"name": NAME})
    paused = trainer.ended()
    assert paused["state"] == "paused" and paused["file"] is None and paused["samples"] == [f"{NAME}.000000.png"]
    assert all(any(line.startswith(Path(name).stem) for line in paused["left_out"]["first"]) for name in bad)
    assert paused["left_out"]["count"] == len(bad)
    times = [line["time"] for line in log(trainer) if "loss" in line]
    wait, last = max((b - a, b) for a, b in pairwise(times))
    assert last - wait < ended and last > began and wait > 0.4 * (ended - began), "while a picture is drawn, it waits"
    sheet = requests.get(f"{trainer.host.url}/mixdiff/v1/train/{NAME}/{paused['samples'][0]}", timeout=60)
    assert np.asarray(Image.open(io.BytesIO(sheet.content))).shape == (64, 64, 3)
    assert trainer.ask("start", {"name": NAME})["code"] == 200
    trainer.wait(lambda found: found["step"] > paused["step"])
    trainer.ask("stop", {"name": NAME})
    stopped = trainer.ended()
    assert stopped["state"] == "stopped" and Path(stopped["file"]).exists() and [step for step, _ in stopped["loss"]] == list(range(1, stopped["step"] + 1))
    assert np.isfinite([loss for _, loss in stopped["loss"]]).all() and stopped["validation"][0][0] == 0
    answer = trainer.host.txt2img(stopped["plan"])
    assert answer.status == 200 and answer.body["images"] != trainer.host.txt2img().body["images"], answer.error


def log(trainer: Trainer) -> list[dict]:
    file = next(Path(trainer.status["home"]).glob("*.log.jsonl"))
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_what_cannot_be_trained_is_refused_by_name(trainer, pictures, tmp_path):
    for change, field, word in (({"models": ["shapes-a"]}, "models", "several"), ({"models": ["shapes-a", "shapes-q"]}, "models[1]", "there is no checkpoint"),
                                ({"name": "../up"}, "name", "name of a file"), ({"data": "/nowhere"}, "data", "no folder"), ({"lr": -1}, "lr", "too small"),
                                ({"out": "/tmp"}, "out", "not yours"), ({"target": "unet"}, "checkpoint", "name the"), ({"stepz": 1}, "stepz", "use \"steps\"")):
        answer = trainer.start(**{"data": str(pictures), **change})
        assert answer["code"] == 422 and answer["field"] == f"config.{field}" and word in answer["errors"], answer
    for route in ("pause", "stop", "start"):
        assert trainer.ask(route, {"name": "nothing"})["code"] == 404
    assert trainer.ask("look", {"data": str(tmp_path / "none")})["code"] == 422
    (tmp_path / "empty").mkdir()
    empty = trainer.ask("look", {"data": str(tmp_path / "empty")})
    assert empty["code"] == 422 and "holds no picture" in empty["errors"]
    assert trainer.start(data=str(tmp_path / "empty"))["code"] == 200
    assert trainer.ended()["state"] == "failed" and "holds no picture" in trainer.status["said"][-1]
    assert trainer.start(data=str(pictures), steps=1)["code"] == 200, "one that had learned nothing is replaced"
    assert trainer.ended()["state"] == "finished"
    for name in (NAME, NAME.upper()):       # on some systems both are one folder
        again = trainer.start(data=str(pictures), steps=1, name=name)
        assert again["code"] == 409 and f'there is a training "{NAME}" already' in again["errors"], again


def test_a_look_names_what_is_wrong(trainer, pictures, tmp_path):
    bad = spoil(pictures, tmp_path)
    found = trainer.ask("look", {"data": str(tmp_path)})
    assert found["usable"] == 12 and found["sizes"] == {"64x64": 12} and len(found["shown"]) == 12 and found["shown"][0]["caption"].startswith("a")
    assert found["bad_count"] == len(found["bad"]) == len(bad) and all(any(Path(name).stem in line for line in found["bad"]) for name in bad), found["bad"]


@pytest.mark.skipif("MIXDIFF_WEBUI_URL" in os.environ, reason="this kills embedded hosts only")
def test_a_killed_host_loses_no_training(host, pictures):
    """The process notices, saves and ends; another host offers to go on."""
    with served() as killed:
        trainer = Trainer(killed)
        trainer.forget()
        assert trainer.start(data=str(pictures), steps=12, save_every=4)["code"] == 200
        before = trainer.wait(lambda found: found["step"] > 2)
        assert NAME in trainer.ask("status", method="GET")["trainings"]
        subprocess.run(["pkill", "-9", "-f", f"minihost --port {killed.url.rpartition(':')[2]}"], check=True)
    trainer = Trainer(host)
    found = trainer.status
    assert found["state"] == "interrupted" and found["step"] >= before["step"]
    assert trainer.ask("start", {"name": NAME})["code"] == 200
    done = trainer.ended()
    assert done["state"] == "finished" and [step for step, _ in done["loss"]] == list(range(1, 13))
    assert any(line.startswith("going on after step") for line in done["said"])
    trainer.forget()


def test_what_it_will_take_is_measured(trainer, pictures):
    found = trainer.ask("measure", {"config": {**KEYS, "name": None, "data": str(pictures), "resolution": 64, "steps": 60}})
    assert found["code"] == 200 and found["seconds"] == pytest.approx(60 * found["seconds_per_step"]) and found["epochs"] == 10, found
    assert 0 < found["seconds_per_step"] < 60 and 0.1 < found["memory_gb"] < 8
    assert NAME not in trainer.ask("status", method="GET")["trainings"]
    wrong = trainer.ask("measure", {"config": {**KEYS, "models": ["shapes-a", "shapes-eps"], "data": str(pictures)}})
    assert wrong["code"] == 422 and "another prediction" in wrong["errors"], wrong


def test_an_expert_is_trained_too(trainer, pictures):
    started = trainer.start(target="unet", models=[], checkpoint="shapes-a", node=[1, 1], data=str(pictures), steps=1, lr=1e-4)
    assert started["code"] == 200, started
    done = trainer.ended()
    assert done["state"] == "finished" and done["plan"]["model"]["experts"][0]["model"] == NAME, done
    assert trainer.host.txt2img(done["plan"]).status == 200, "it is in the list"


