"""A training: a folder with all that it needs to go on, and, while it runs, a process (`lib_mixdiff.train`) that takes turns with the
host's jobs."""
from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from glob import escape
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, ClassVar

from modules import devices, sd_models, shared
from modules.call_queue import queue_lock

from lib_mixdiff.errors import PlanError
from lib_mixdiff.host import aggregation
from lib_mixdiff.train.atomic import write_text
from lib_mixdiff.train.config import Config
from lib_mixdiff.turns import GO, OVER, PAUSE, STOP

RUNNING, PAUSED, STOPPED, FINISHED, FAILED, INTERRUPTED = "running", "paused", "stopped", "finished", "failed", "interrupted"
ENDED = {PAUSE: PAUSED, STOP: STOPPED}
POINTS, LINES, RECENT = 400, 200, 50         # of a curve, of what it said, and from which its pace is taken
SAVING_S = 600


class Training:
    """One by its name."""

    live: Training | None = None        # the one that runs
    problems: ClassVar[dict[str, str]] = {}         # by name, what went wrong with keeping what one says

    def __init__(self, name: str) -> None:
        self.name, self.home = name, folder() / name
        self.word, self.waits, self.began = GO, False, float("inf")
        self.killed, self._telling, self._turns = False, Lock(), SimpleQueue[bool]()

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
    def learned(self) -> bool:
        """There is something to go on from."""
        return self._file("snapshot").exists()

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
            problem = [self.problems[self.name]] if self.name in self.problems else []
        log, said = self.log, self.said
        losses = [line for line in log if "loss" in line]
        now = losses[-1] if losses else {"step": 0}
        recent = [(line["time"], line["step"]) for line in losses if line["time"] > self.began][-RECENT:]
        (since, first), (until, last) = (recent or [(0, 0)])[0], (recent or [(0, 0)])[-1]
        left = (until - since) / (last - first) * (config["steps"] - last) if last > first else None
        left_out = [line.partition(": ")[2] for line in said if line.startswith("left out: ")]
        result = None if problem else Path(config["out"]) / f"{self.name}.safetensors"
        made = result if result is not None and result.exists() else None
        return {
            "name": self.name, "home": str(self.home), "target": config["target"],
            "state": FAILED if problem else self.state, "waits": self.waits, "ends": self.word != GO,
            "step": now["step"], "steps": config["steps"], "left_s": left,
            "loss": [[line["step"], line["loss"]] for line in losses[::max(1, len(losses) // POINTS)]],
            "validation": [[line["step"], _mean(line["validation"])] for line in log if "validation" in line],
            "samples": [path.name for path in self._samples()], "said": [*said[-LINES:], *problem],
            "left_out": {"count": len(left_out), "first": left_out[:LINES]},
            "file": str(made) if made else None, "plan": self._plan(said, made) if made else None}

    def _plan(self, said: list[str], made: Path) -> dict[str, Any] | None:
        """What uses what it made: as it said, or, where it was killed, as the file says."""
        with suppress(ValueError):
            if told := next((line for line in reversed(said) if line.startswith('{"model"')), None):
                return json.loads(told)
        with suppress(aggregation.NoAggregator, OSError):
            form = aggregation.form_of(made)
            return {"model": {"afa": {"aggregator": self.name, "models": [name for name, _ in form.models], "mode": form.mode}}}
        return None

    # --- its process ---

    def start(self) -> None:
        """Begins, or goes on."""
        self.word, self.killed, self.began = GO, False, time.time()
        self.problems.pop(self.name, None)
        for kind in ("state.json", "said.txt"):         # without a state it is interrupted, should the host end
            self._file(kind).unlink(missing_ok=True)
        self.process = subprocess.Popen(**command_for("--turns", self._file("yaml")), stdin=subprocess.PIPE)
        Training.live = self
        try:
            Thread(target=self._give_turns, daemon=True, name=f"mixdiff turns of {self.name}").start()
            Thread(target=self._run, daemon=True, name=f"mixdiff training {self.name}").start()
        except BaseException:
            self._turns.put(False)
            self.process.kill()
            Training.live = None
            raise

    def end(self, word: str, now: bool) -> None:
        with self._telling:
            if self.word != GO and not now:
                raise refusal(409, "name", self.name, "wait, or end it now", "{value} is ending already")
            self.word, self.killed = word, now
            if now:
                self.process.kill()
            if self.waits and not now:      # while a picture is drawn; else with its next turn
                self._tell()

    def _run(self) -> None:
        """Listens to the end, while another thread gives turns: that one may have to wait for a long picture."""
        try:
            self._listen()
        finally:
            self._turns.put(False)
            try:
                self._close()
                listed = _list_models(blocking=False)
            finally:
                Training.live = None
        if not listed:
            _list_models()

    def _listen(self) -> None:
        """Keeps what it says, and hears where it is ready, and each turn over. Where nothing can be kept any more, to the end of the
        turn at hand."""
        for line in self.process.stdout:
            over = line.rstrip("\n") == OVER
            if over and self.name not in self.problems:
                self._turns.put(True)
            elif over:
                return
            elif line.strip():
                self._keep(line)

    def _keep(self, line: str) -> None:
        try:
            with self._file("said.txt").open("a", encoding="utf-8") as said:
                said.write(line)
        except OSError as error:
            self.problems[self.name] = (f"{self.home} cannot be written ({error.strerror}); look whether it is there, and whether its "
                                        "disk is full.")

    def _give_turns(self) -> None:
        """To its end. A job that came during a turn is next."""
        while self._turns.get():
            with self._telling:
                self.waits = True
                if self.word != GO:
                    self._tell()
            with queue_lock:
                with self._telling:
                    self.waits = False
                    if self.word == GO:
                        self._tell()
                self._turns.put(self._turns.get())          # the turn, to its end
            time.sleep(0.01)                # for who waits, where the queue is not first come, first served

    def _tell(self) -> None:
        with suppress(OSError, ValueError):         # it has ended
            print(self.word, file=self.process.stdin, flush=True)

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
        if code < 0 and not self.killed:
            self._keep(f"it was ended by signal {-code}" + (", as a system without memory left does" if code == -9 else "")
                       + "; it goes on from its last snapshot.\n")
        with suppress(OSError, ValueError):         # its folder is gone
            done = (self.log or [{"step": 0}])[-1]["step"] >= self.config["steps"]
            told = ENDED.get(self.word, STOPPED)
            state = told if self.killed else FAILED if code else FINISHED if done else told
            write_text(self._file("state.json"), json.dumps({"state": state}))


def _list_models(blocking: bool = True) -> bool:
    """There may be one more. False where a picture is drawn, and it is not waited for."""
    if got := queue_lock.acquire(blocking):
        try:
            sd_models.list_models()
        finally:
            queue_lock.release()
    return got


def _mean(values: list[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return sum(found) / len(found) if found else None


def command_for(what: str, config: Path) -> dict[str, Any]:
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


def refusal(status_code: int, *arguments: Any) -> PlanError:
    error = PlanError(*arguments)
    error.status_code = status_code
    return error
