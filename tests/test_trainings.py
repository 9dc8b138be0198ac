"""What a host makes of the process that trains, whatever that does: here a few lines of Python in the trainer's place."""
from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
HEAD = """
import os, sys, json, time, pathlib
home = pathlib.Path(sys.argv[1]).parent
def log(**line): (home / (home.name + ".log.jsonl")).open("a").write(json.dumps({"time": time.time(), **line}) + "\\n")
def over(): print("\\nturn over", flush=True); return sys.stdin.readline().strip()
"""


@pytest.fixture
def start(monkeypatch, tmp_path):
    """Starts a training whose process runs these lines; the module, to ask for what becomes of it."""
    if str(ROOT / "minihost") not in sys.path:
        sys.path.append(str(ROOT / "minihost"))
    from modules import shared

    from lib_mixdiff.host import training, trainings
    from lib_mixdiff.train.config import Config
    monkeypatch.setattr(shared, "data_path", str(tmp_path))
    monkeypatch.setattr(training.sd_models, "list_models", lambda: None)
    whole = training.command_for

    def start(lines: str, name: str = "one") -> Any:
        script = tmp_path / "child.py"
        script.write_text(HEAD + lines)
        monkeypatch.setattr(training, "command_for", lambda what, file: {**whole(what, file), "args": [sys.executable, str(script), str(file)]})
        made = training.Training(name)
        made.write(Config(target="afa", models=("a", "b"), data="-", out=str(tmp_path), work=str(made.home), name=name, steps=5))
        trainings.start({"name": name})
        return trainings

    yield start
    if training.Training.live:
        training.Training.live.process.kill()
        ended(trainings)
    for thread in threading.enumerate():
        if thread.name.startswith("mixdiff"):
            thread.join(20)


def ended(training, seconds: float = 20) -> dict:
    end = time.monotonic() + seconds
    while training.Training.live:
        assert time.monotonic() < end
        time.sleep(0.02)
    return training.status()["training"]


def told(training, step: int = 1) -> None:
    """Waits for that step."""
    end = time.monotonic() + 20
    while training.status()["training"]["step"] < step:
        assert time.monotonic() < end
        time.sleep(0.02)


STEPS = """
word, step = over(), 0
while word == "go" and step < 5:
    step += 1
    log(step=step, loss=0.5)
    time.sleep(0.05)
    word = over()
"""


@pytest.mark.parametrize("lines, word, state", [
    (STEPS, None, "finished"), (STEPS, "pause", "paused"), (STEPS, "stop", "stopped"), ("sys.exit('no')", None, "failed"),
    (STEPS + "sys.exit('No space left on device')", "pause", "failed"), ("over(); log(step=1, loss=1.0)", None, "stopped"),
    ("sys.stdout.write('half a line'); " + STEPS.strip(), None, "finished")], ids=str)
def test_what_becomes_of_it_is_said(start, lines, word, state):
    training = start(lines)
    if word:
        told(training)
        training.end("one", word)
    assert ended(training)["state"] == state


def test_one_that_the_system_has_killed_is_said_to_be(start):
    training = start("over(); log(step=1, loss=1.0); print('step 1', flush=True); os.kill(os.getpid(), 9)")
    found = ended(training)
    assert found["state"] == "failed" and "signal 9, as a system without memory left does" in found["said"][-1]


def test_a_hanging_turn_is_ended_and_the_queue_is_free(start):
    from modules.call_queue import queue_lock
    training = start("over(); log(step=1, loss=1.0); time.sleep(1000)")
    told(training)
    assert not queue_lock.acquire(timeout=0.2), "its turn lasts"
    training.end("one", "pause", now=True)
    assert ended(training)["state"] == "paused" and queue_lock.acquire(timeout=5)
    queue_lock.release()


def test_where_nothing_can_be_kept_its_turn_is_over_before_the_queue_is_free(start):
    from modules.call_queue import queue_lock
    training = start("over(); log(step=1, loss=1.0); time.sleep(1); print('a line', flush=True); time.sleep(1); log(step=2, loss=1.0); over()")
    told(training)
    (training.folder() / "one" / "one.said.txt").mkdir()        # as a disk that is full
    end = time.monotonic() + 20
    while "one" not in training.Training.problems:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert not queue_lock.acquire(timeout=0.2), "its turn lasts"
    found = ended(training)
    assert found["step"] == 2 and "cannot be written" in found["said"][-1] and queue_lock.acquire(timeout=5)
    queue_lock.release()
    training.Training.problems.clear()


def test_one_that_is_ended_at_once_is_known_to_be_however_slow_the_one_is_who_ends_it(start, monkeypatch):
    training = start("over(); log(step=1, loss=1.0); time.sleep(1000)")
    told(training)
    process = training.Training.live.process
    kill = process.kill
    monkeypatch.setattr(process, "kill", lambda: (kill(), time.sleep(0.5)))
    training.end("one", "pause", now=True)
    assert ended(training)["state"] == "paused"


def test_without_a_thread_to_spare_it_is_not_begun(start, monkeypatch):
    from lib_mixdiff.host import training
    def none_left(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(training.Thread, "start", none_left)
        with pytest.raises(RuntimeError, match="new thread"):
            start(STEPS)
    assert training.Training.live is None and ended(start(STEPS))["state"] == "finished"


def test_it_pauses_while_a_picture_is_drawn(start):
    from modules.call_queue import queue_lock
    training = start(STEPS.replace("step < 5", "step < 1000"))
    told(training, 2)
    with queue_lock:
        training.end("one", "pause")
        assert ended(training)["state"] == "paused", "before the picture is done"


def test_it_ends_once(start):
    from lib_mixdiff.errors import PlanError
    training = start(STEPS.replace("step < 5", "step < 1000").replace("0.05", "0.5"))
    told(training)
    training.end("one", "pause")
    with pytest.raises(PlanError, match="is ending already"):
        training.end("one", "stop")
    assert ended(training)["state"] == "paused"
    with pytest.raises(PlanError, match="is not being trained"):
        training.end("one", "pause")


def test_losses_that_are_no_numbers_and_broken_files_break_no_status(start):
    training = start("over(); log(step=1, loss=None); log(step=1, validation=[None, None]); log(step=2, validation=[None, 1.0]); sys.exit(1)")
    found = ended(training)
    assert found["state"] == "failed" and found["validation"] == [[1, None], [2, 1.0]] and json.loads(json.dumps(found, allow_nan=False))
    (training.folder() / "one" / "one.yaml").write_text("{")
    assert training.status()["training"]["state"] == "failed" and "cannot be read" in training.status()["training"]["said"][-1]
    training.delete("one")
    assert training.status() == {"trainings": [], "training": None, "live": None}


def test_a_folder_that_vanishes_ends_it_and_another_may_begin(start):
    import shutil
    training = start(STEPS.replace("step < 5", "step < 1000"))
    told(training)
    shutil.rmtree(training.folder() / "one")
    ended(training)
    assert threading.active_count() < 20 and start(STEPS, "two").Training.live
    assert ended(training)["state"] == "finished"


@pytest.mark.parametrize("name", ["cat🐱 [b]", "a'b & <i>"])
def test_names_are_kept_as_they_are(start, name):
    from lib_mixdiff.train.config import read
    training = start("import base64\n(home / (home.name + '.000000.png')).write_bytes(b'x')\n" + STEPS, name)
    found = ended(training)
    assert found["name"] == name and found["samples"] == [f"{name}.000000.png"] and training.named(name).sample(f"{name}.000000.png")
    assert read(training.folder() / name / f"{name}.yaml").name == name


def test_what_a_killed_one_has_left_half_written_goes_with_it_and_nothing_else(start, tmp_path):
    training = start(STEPS)
    ended(training)
    for name in ("one.safetensors", "one.safetensors.part", "oneself.safetensors.part"):
        (tmp_path / name).write_bytes(b"")
    training.delete("one")
    assert {path.name for path in tmp_path.glob("one*")} == {"one.safetensors", "oneself.safetensors.part"}


@pytest.mark.parametrize("target", ["afa", "unet"])
def test_an_emptied_control_is_null_or_what_the_page_began_with(start, target):
    from lib_mixdiff.host import form
    from lib_mixdiff.train.config import Config
    entries = form.forms()[target]
    began = form.configuration(target, [entry.default for entry in entries])
    emptied = form.configuration(target, [None] * len(entries))
    assert began["resolution"] == 512 and "resolution" not in emptied and "node" not in emptied
    assert {key: began[key] for key in emptied} == emptied and emptied["steps"] == began["steps"]
    assert Config.from_dict({**emptied, "data": "-", "checkpoint" if target == "unet" else "models": "a" if target == "unet" else ["a", "b"]})


def test_only_one_process_trains_it(tmp_path):
    from lib_mixdiff.train.atomic import alone
    with alone(tmp_path / "one.lock"), pytest.raises(BlockingIOError), alone(tmp_path / "one.lock"):
        pass
    with alone(tmp_path / "one.lock"):
        pass
