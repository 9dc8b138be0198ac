"""Trainings: each is a folder with all that it needs to go on, and, while it runs, a process (`lib_mixdiff.train`) that takes turns with
the host's jobs."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from glob import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock, Thread
from typing import Any

from modules import devices, sd_models, shared
from modules.call_queue import queue_lock

from lib_mixdiff.errors import PlanError, inside
from lib_mixdiff.host import aggregation
from lib_mixdiff.host.checkpoints import found_by
from lib_mixdiff.host.dataset import refuse_folders
from lib_mixdiff.presets import checked
from lib_mixdiff.train.atomic import write_text
from lib_mixdiff.train.config import Config
from lib_mixdiff.train.folder import pictures
from lib_mixdiff.turns import GO, OVER, PAUSE, STOP

OURS = ("out", "work", "cache")         # keys of the configuration that are the host's to say
RUNNING, PAUSED, STOPPED, FINISHED, FAILED, INTERRUPTED = "running", "paused", "stopped", "finished", "failed", "interrupted"
ENDED = {PAUSE: PAUSED, STOP: STOPPED}
POINTS, LINES, RECENT = 400, 200, 50         # of a curve, of what it said, and from which its pace is taken
SAVING_S, MEASURING_S = 600, 900
ONE = Lock()


class Training:
    """One by its name."""

    live: Training | None = None        # the one that runs

    def __init__(self, name: str) -> None:
        self.name, self.home = name, folder() / name
        self.word, self.waits, self.began = GO, False, float("inf")
        self.killed, self._telling = False, Lock()

    # --- its files ---

    @property
    def config(self) -> dict[str, Any]:
        return json.loads(self._file("yaml").read_text(encoding="utf-8"))

    @property
    def state(self) -> str:
        if Training.live is self:
            return RUNNING
        with suppress(OSError, ValueError, KeyError):
            return json.loads(self._file("state.json").read_text(encoding="utf-8"))["state"]
        return INTERRUPTED

    @property
    def said(self) -> list[str]:
        with suppress(OSError):
            return self._file("said.txt").read_text(encoding="utf-8", errors="replace").splitlines()
        return []

    @property
    def log(self) -> list[dict[str, Any]]:
        """As docs/training.md has it; its last line may be half there."""
        lines: list[dict[str, Any]] = []
        with suppress(OSError, ValueError):
            for line in self._file("log.jsonl").read_text(encoding="utf-8").splitlines():
                lines.append(json.loads(line))
        return lines

    @property
    def result(self) -> Path:
        return Path(self.config["out"]) / f"{self.name}.safetensors"

    def sample(self, name: str) -> Path | None:
        return next((path for path in self._samples() if path.name == name), None)

    def _samples(self) -> list[Path]:
        return sorted(self.home.glob(f"{escape(self.name)}.[0-9]*.png"))

    def _file(self, kind: str) -> Path:
        return self.home / f"{self.name}.{kind}"

    def write(self, config: Config) -> None:
        write_text(self._file("yaml"), json.dumps(config.to_dict(), ensure_ascii=False))         # which is YAML

    def status(self) -> dict[str, Any]:
        try:
            config = self.config
        except (OSError, ValueError) as error:
            config, problem = {"target": None, "steps": 1}, [f"its configuration cannot be read ({error}); delete it"]
        else:
            problem = []
        log, said = self.log, self.said
        losses = [line for line in log if "loss" in line]
        now = losses[-1] if losses else {"step": 0}
        recent = [(line["time"], line["step"]) for line in losses if line["time"] > self.began][-RECENT:]
        (since, first), (until, last) = (recent or [(0, 0)])[0], (recent or [(0, 0)])[-1]
        left = (until - since) / (last - first) * (config["steps"] - last) if last > first else None
        left_out, result = [line.partition(": ")[2] for line in said if line.startswith("left out: ")], None if problem else self.result
        made = result is not None and result.exists()
        return {
            "name": self.name, "home": str(self.home), "target": config["target"],
            "state": FAILED if problem else self.state, "waits": self.waits, "ends": self.word != GO,
            "step": now["step"], "steps": config["steps"], "left_s": left,
            "loss": [[line["step"], line["loss"]] for line in losses[::max(1, len(losses) // POINTS)]],
            "validation": [[line["step"], _mean(line["validation"])] for line in log if "validation" in line],
            "samples": [path.name for path in self._samples()], "said": [*said[-LINES:], *problem],
            "left_out": {"count": len(left_out), "first": left_out[:LINES]},
            "file": str(result) if made else None, "plan": self._plan(said) if made else None}

    def _plan(self, said: list[str]) -> dict[str, Any] | None:
        """What uses what it made: as it said, or, where it was killed, as the file says."""
        with suppress(ValueError):
            if told := next((line for line in reversed(said) if line.startswith('{"model"')), None):
                return json.loads(told)
        with suppress(aggregation.NoAggregator, OSError):
            form = aggregation.form_of(self.result)
            return {"model": {"afa": {"aggregator": self.name, "models": [name for name, _ in form.models], "mode": form.mode}}}
        return None

    # --- its process ---

    def start(self) -> None:
        """Begins, or goes on."""
        self.word, self.killed, self.began, Training.live = GO, False, time.time(), self
        try:
            for kind in ("state.json", "said.txt"):         # without a state it is interrupted, should the host end
                self._file(kind).unlink(missing_ok=True)
            self.process = subprocess.Popen(**_command("--turns", self._file("yaml")), stdin=subprocess.PIPE)
            Thread(target=self._run, daemon=True, name=f"mixdiff training {self.name}").start()
        except BaseException:
            Training.live = None
            raise

    def end(self, word: str, now: bool) -> None:
        with self._telling:
            if now:
                self.killed = True
                self.process.kill()
            elif self.word != GO:
                raise _refusal(409, "name", self.name, "wait, or end it now", "{value} is ending already")
            self.word = word
            if self.waits and not now:      # while a picture is drawn; else with its next turn
                self._tell()

    def _run(self) -> None:
        try:
            with suppress(OSError):         # it is gone, or the disk is full
                self._give_turns()
        finally:
            try:
                self._close()
            finally:
                Training.live = None

    def _give_turns(self) -> None:
        """To its end. A job that came during a turn is next."""
        working = self._heard()             # until it is ready
        while working:
            with self._telling:
                self.waits = True
                if self.word != GO:
                    self._tell()
            with queue_lock:
                with self._telling:
                    self.waits = False
                    if self.word == GO:
                        self._tell()
                working = self._heard()
            time.sleep(0.01)                # for who waits, where the queue is not first come, first served

    def _tell(self) -> None:
        print(self.word, file=self.process.stdin, flush=True)

    def _heard(self) -> bool:
        """What it says until its turn is over; False where it has ended."""
        with self._file("said.txt").open("a", encoding="utf-8") as said:
            for line in self.process.stdout:
                if line.rstrip("\n") == OVER:
                    return True
                if line.strip():
                    said.write(line)
                    said.flush()
        return False

    def _close(self) -> None:
        """Nobody listens any more: without more turns it saves and ends."""
        with suppress(OSError):
            self.process.stdin.close()
        with suppress(OSError):
            self.process.stdout.close()
        try:
            code = self.process.wait(SAVING_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        with suppress(OSError, ValueError):         # its folder is gone
            done = (self.log or [{"step": 0}])[-1]["step"] >= self.config["steps"]
            state = ENDED[self.word] if self.killed else FAILED if code else FINISHED if done else ENDED.get(self.word, STOPPED)
            write_text(self._file("state.json"), json.dumps({"state": state}))
        with queue_lock:
            sd_models.list_models()         # there may be one more


def _mean(values: list[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return sum(found) / len(found) if found else None


def _command(what: str, config: Path) -> dict[str, Any]:
    """Arguments of `subprocess` for the trainer, where the host works, and with its libraries."""
    root, device = Path(__file__).parents[2], devices.device
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path]), "PYTHONIOENCODING": "utf-8"}
    if device.type == "cpu":
        environment["ACCELERATE_USE_CPU"] = "true"
    elif device.index is not None:
        seen = os.environ.get("CUDA_VISIBLE_DEVICES")
        environment["CUDA_VISIBLE_DEVICES"] = seen.split(",")[device.index] if seen else str(device.index)
    return {"args": [sys.executable, "-m", "lib_mixdiff.train", what, str(config)], "cwd": root, "env": environment, "text": True,
            "encoding": "utf-8", "errors": "replace", "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}


def folder() -> Path:
    return (Path(shared.data_path) / "mixdiff" / "training").absolute()


def names() -> list[str]:
    """The latest first."""
    found = [path for path in folder().glob("*/*.yaml") if path.stem == path.parent.name]
    return [path.stem for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)]


def named(name: object) -> Training:
    """PlanError, with status 404."""
    if Training.live and Training.live.name == name:
        return Training.live
    if name not in names():
        raise _refusal(404, "name", name, f"use one of those that are here: {', '.join(names()) or 'none'}", "there is no training {value}")
    return Training(str(name))


def start(body: dict[str, Any]) -> dict[str, Any]:
    """{"config": keys of docs/training.md, checkpoints by title, name or hash} begins one, {"name": ...} goes on with one; PlanError."""
    with ONE:
        if Training.live:
            raise _refusal(409, "name", Training.live.name, "pause or stop it first", "{value} is being trained")
        if "config" in body:
            with inside("config"):
                config = _config(body["config"])
            training = Training(str(config.name))
            training.write(config)
        else:
            training = named(body.get("name"))
        training.start()
        return training.status()


def measured(body: dict[str, Any]) -> dict[str, Any]:
    """{"config": as for `start`}: seconds and memory of a step, seconds of all steps, and how often these see each picture; as one job
    of the queue. PlanError."""
    with inside("config"):
        keys = body.get("config")
        config = _config({**keys, "name": keys.get("name") or "measured"} if isinstance(keys, dict) else keys, new=False)
    if Training.live:
        raise _refusal(409, "name", Training.live.name, "pause or stop it first", "{value} is being trained")
    count = len(pictures(Path(config.data))[0])
    with TemporaryDirectory() as home, queue_lock:
        write_text(file := Path(home) / "measured.yaml", json.dumps(config.to_dict(), ensure_ascii=False))
        command = _command("--measure", file)
        try:
            lines = subprocess.run(**command, stdin=subprocess.DEVNULL, check=False, timeout=MEASURING_S).stdout.splitlines() or [""]
        except subprocess.TimeoutExpired:
            lines = [f"a few steps took more than {MEASURING_S} s"]
    try:
        found = json.loads(lines[-1])
    except ValueError:
        raise PlanError("config", config.name, lines[-1] or "it says nothing", "{value} cannot be trained") from None
    batch = config.batch * config.accumulate
    return {**found, "seconds": found["seconds_per_step"] * config.steps, "epochs": config.steps * batch / count if count else None}


def end(name: object, word: str, now: bool = False) -> dict[str, Any]:
    """PAUSE it or STOP it after the step at hand; `now`: at once, as it was at its last snapshot."""
    if (training := named(name)) is not Training.live:
        raise _refusal(409, "name", name, "start it first", "{value} is not being trained")
    training.end(word, now)
    return training.status()


def delete(name: object) -> dict[str, Any]:
    """All but the file that it made."""
    with ONE:
        if (training := named(name)) is Training.live:
            raise _refusal(409, "name", name, "stop it first", "{value} is being trained")
        gone = training.home.with_name(f".{training.name}.deleted")
        shutil.rmtree(gone, ignore_errors=True)
        training.home.rename(gone)          # all of it, or nothing
        shutil.rmtree(gone, ignore_errors=True)
        return status()


def status(name: object = None) -> dict[str, Any]:
    """Of one: the one asked for, else the one that runs, else the latest."""
    known = names()
    chosen = named(name) if name else Training.live or (named(known[0]) if known else None)
    return {"trainings": known, "training": chosen.status() if chosen else None}


def _config(keys: Any, new: bool = True) -> Config:
    """PlanError; of a `new` one also where its name is taken."""
    asked = Config.from_dict(keys)
    for key in OURS:
        if key in keys:
            raise PlanError(key, keys[key], "leave it out", "here {value} is not yours to say")
    models = []
    for index, each in enumerate(asked.models):
        with inside("models"), inside(index):
            models.append(os.path.abspath(found_by(each).filename))
    with inside("checkpoint"):
        checkpoint = os.path.abspath(found_by(asked.checkpoint).filename) if asked.checkpoint else None
    name = checked(asked.name)
    home = folder() / name
    out = Path(checkpoint).parent if checkpoint else aggregation.folder().absolute()
    config = replace(asked, models=tuple(models), checkpoint=checkpoint, name=name, out=str(out), work=str(home),
                     data=os.path.abspath(asked.data), cache=str(folder().parent / "training-cache"))
    refuse_folders()
    if not Path(config.data).is_dir():
        raise PlanError("data", config.data, "name one that holds pictures and their .txt captions", "{value} is no folder on this machine")
    if new and name in names():
        raise _refusal(409, "name", name, "go on with it, delete it, or use another name", "there is a training {value} already")
    if new and (out / f"{name}.safetensors").exists():
        raise _refusal(409, "name", name, "use another name", f"there is {{value}} in {out} already")
    return config


def _refusal(status_code: int, *arguments: Any) -> PlanError:
    error = PlanError(*arguments)
    error.status_code = status_code
    return error
