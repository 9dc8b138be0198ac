"""The trainings of this host, by name, and what the routes and the tab ask of them."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

from modules.call_queue import queue_lock

from lib_mixdiff.errors import PlanError, inside
from lib_mixdiff.host import aggregation
from lib_mixdiff.host.checkpoints import found_by
from lib_mixdiff.host.dataset import pictures_in, refuse_folders
from lib_mixdiff.host.training import Training, command_for, folder, refusal
from lib_mixdiff.presets import checked
from lib_mixdiff.train.atomic import sweep, write_text
from lib_mixdiff.train.config import Config

OURS = ("out", "work", "cache")         # keys of the configuration that are the host's to say
MEASURING_S = 900
LOG_EVERY = 5           # steps: what the page shows of a training is what it has logged
ONE = Lock()


def names() -> list[str]:
    """The latest first."""
    found = [path for path in folder().glob("*/*.yaml") if path.stem == path.parent.name]
    return [path.stem for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)]


def named(name: object) -> Training:
    """PlanError, with status 404."""
    if Training.live and Training.live.name == name:
        return Training.live
    if name not in names():
        raise refusal(404, "name", name, f"use one of those that are here: {', '.join(names()) or 'none'}", "there is no training {value}")
    return Training(str(name))


def start(body: dict[str, Any]) -> dict[str, Any]:
    """{"config": keys of docs/training.md, checkpoints by title, name or hash} begins one, {"name": ...} goes on with one; PlanError."""
    with ONE, _on_disk():
        if Training.live:
            raise refusal(409, "name", Training.live.name, "pause or stop it first", "{value} is being trained")
        if "config" in body:
            with inside("config"):
                config = _config(body["config"])
            training = Training(str(config.name))
            shutil.rmtree(training.home, ignore_errors=True)        # of one that had learned nothing
            training.write(config)
        else:
            training = named(body.get("name"))
        training.start()
        return training.status()


def measured(body: dict[str, Any]) -> dict[str, Any]:
    """{"config": as for `start`}: seconds and memory of a step, seconds of all steps, and how often these see each picture; as one job
    of the queue. PlanError."""
    with inside("config"), _on_disk():
        keys = body.get("config")
        config = _config({**keys, "name": keys.get("name") or "measured"} if isinstance(keys, dict) else keys, new=False)
    if Training.live:
        raise refusal(409, "name", Training.live.name, "pause or stop it first", "{value} is being trained")
    with inside("config"):
        count = len(pictures_in(config.data)[0])
    with TemporaryDirectory() as home, queue_lock:
        write_text(file := Path(home) / "measured.yaml", json.dumps(config.to_dict(), ensure_ascii=False))
        command = command_for("--measure", file)
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
        raise refusal(409, "name", name, "start it first", "{value} is not being trained")
    training.end(word, now)
    return training.status()


def delete(name: object) -> dict[str, Any]:
    """All but the file that it made."""
    with ONE:
        if (training := named(name)) is Training.live:
            raise refusal(409, "name", name, "stop it first", "{value} is being trained")
        with suppress(OSError, ValueError, KeyError):        # half a file that it was killed at
            sweep(Path(training.config["out"]), f"{training.name}.")
        gone = training.home.with_name(f".{training.name}.deleted")
        shutil.rmtree(gone, ignore_errors=True)
        training.home.rename(gone)          # all of it, or nothing
        shutil.rmtree(gone, ignore_errors=True)
        return status()


def status(name: object = None) -> dict[str, Any]:
    """Of one: the one asked for, else the one that runs, else the latest."""
    known = names()
    chosen = named(name) if name else Training.live or (named(known[0]) if known else None)
    return {"trainings": known, "training": chosen.status() if chosen else None, "live": getattr(Training.live, "name", None)}


@contextmanager
def _on_disk() -> Iterator[None]:
    """PlanError where the machine's files do not do as they should."""
    try:
        yield
    except OSError as error:
        raise PlanError("", error.filename, "look whether it is there, and whether its disk is full",
                        f"{{value}} cannot be used ({error.strerror})") from error


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
                     data=os.path.abspath(asked.data), cache=str(folder().parent / "training-cache"),
                     log_every=keys.get("log_every", LOG_EVERY))
    refuse_folders()
    if not Path(config.data).is_dir():
        raise PlanError("data", config.data, "name one that holds pictures and their .txt captions", "{value} is no folder on this machine")
    same = next((each for each in names() if each.casefold() == name.casefold()), name)         # as some systems' folders have it
    if new and (same != name or Training(name).learned):
        raise refusal(409, "name", same, "go on with it, delete it, or use another name", "there is a training {value} already")
    if new and (out / f"{name}.safetensors").exists():
        raise refusal(409, "name", name, "use another name", f"there is {{value}} in {out} already")
    return config
