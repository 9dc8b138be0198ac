"""`python -m lib_mixdiff.train config.yaml`: trains an expert, or the aggregators of an ensemble. docs/training.md.

Given again, it goes on where it stopped.

Several processes and machines share each batch: `accelerate launch -m lib_mixdiff.train config.yaml`. The order of the pictures, and the
noise, timestep and dropped text of each, depend on (seed, global sample index) alone: a resumed run is the same run, and so is one on more
processes.
"""
from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs
from PIL import Image
from safetensors import SafetensorError

from lib_mixdiff.train import snapshot
from lib_mixdiff.train.afa import AfaTarget
from lib_mixdiff.train.atomic import alone, replacing, sweep, write_text
from lib_mixdiff.train.config import Config, read
from lib_mixdiff.train.data import Data, Order
from lib_mixdiff.train.faults import TrainError
from lib_mixdiff.train.unet import UnetTarget
from lib_mixdiff.turns import GO, PAUSE, Turns

TARGETS = {"unet": UnetTarget, "afa": AfaTarget}
INTERVALS = 10  # of validation
MEASURED = 4  # steps
PATIENCE = 5  # steps in a row without a finite gradient
PRECISION = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


def train(config: Config, turns: Turns | None = None) -> None:
    """`turns`: worked in, and not longer than those are given."""
    began = time.time()
    if config.precision == "float16" and not torch.cuda.is_available():
        raise TrainError("precision: float16 needs a graphics card; use bfloat16 or float32.")
    # A long encoding by the first process must not look like a hang to the others.
    patient = InitProcessGroupKwargs(timeout=timedelta(days=7))
    accelerator = Accelerator(mixed_precision=PRECISION[config.precision], kwargs_handlers=[patient])
    first, device = accelerator.is_main_process, accelerator.device
    out, work = Path(config.out), Path(config.work or config.out)
    file = {kind: folder / f"{config.name}.{kind}" for kind, folder in (("safetensors", out), ("snapshot", work), ("log.jsonl", work))}
    say = spoken if first else (lambda text: None)

    def told() -> str:
        """Between two pieces of work: GO, or how to end."""
        return turns.next() if turns and first else GO

    def between() -> None:
        if told() != GO:
            raise KeyboardInterrupt

    # The arithmetic: a step learns from `batch` samples of each process, `accumulate` times.
    processes, rank = accelerator.num_processes, accelerator.process_index
    whole = config.batch * config.accumulate * processes
    shares = [mine(config, r, processes, turn) for r in range(processes) for turn in range(config.accumulate)]
    assert sorted(place for share in shares for place in share) == list(range(whole))

    # What is trained, and on what: encoded by the first process, read by all.
    target = TARGETS[config.target](config)
    if first:
        for folder in {out, work}:
            sweep(folder, f"{config.name}.")
    between()
    with accelerator.main_process_first():
        data = Data(config, target.sources, target.part, device, say, between)
    order = Order(data.buckets(), whole, config.seed)
    facts = {"batch of all processes": whole, **target.facts(), "data": data.digest()}

    model = accelerator.prepare(target)
    learned = {name: weight for name, weight in target.named_parameters() if weight.requires_grad}
    weights = list(learned.values())
    optimizer = accelerator.prepare(torch.optim.AdamW(weights, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay))
    average = [weight.detach().clone() for weight in weights]  # EMA

    # Where it stopped.
    done = 0
    if state := snapshot.read(file["snapshot"], config, facts):
        with torch.no_grad():
            for name, weight, mean in zip(learned, weights, average):
                weight.copy_(state["weights"][name])
                mean.copy_(state["average"][name])
        optimizer.load_state_dict(state["optimizer"])
        if accelerator.scaler is not None and state["scaler"]:
            accelerator.scaler.load_state_dict(state["scaler"])
        done = state["step"]
        del state
        say(f"going on after step {done}")
    log = [line for line in lines(file["log.jsonl"]) if line["step"] <= done] if done else []
    if first:
        write_text(file["log.jsonl"], "".join(json.dumps(line) + "\n" for line in log))

    @contextlib.contextmanager
    def averaged() -> Iterator[None]:
        """Inside, the weights are the EMA's."""
        live = [weight.detach().clone() for weight in weights]
        with torch.no_grad():
            torch._foreach_copy_(weights, average)
            try:
                yield
            finally:
                torch._foreach_copy_(weights, live)

    def report(**found: object) -> None:
        with file["log.jsonl"].open("a", encoding="utf-8") as log:
            log.write(json.dumps(without_nan({"step": done, **found})) + "\n")

    def save(usable: bool) -> None:
        """The EMA as a file to use, then the snapshot: one of the last step says that all is there."""
        if not first:
            return
        problem = None
        if usable:
            try:
                with averaged():
                    target.write(file["safetensors"], {"steps": done, "seed": config.seed})
            except (OSError, RuntimeError, SafetensorError) as error:  # the snapshot may have room all the same
                problem = error
        snapshot.write(file["snapshot"], {
            "config": config.to_dict(), "facts": facts, "step": done, "average": dict(zip(learned, average)),
            "weights": {name: weight.detach() for name, weight in learned.items()}, "optimizer": optimizer.state_dict(),
            "scaler": accelerator.scaler.state_dict() if accelerator.scaler is not None else None})
        if problem is not None:
            raise TrainError(f"{file['safetensors']} cannot be written ({problem}); look whether its folder may be written to and the disk "
                             f"has room, and go on: nothing that is learned is lost.") from problem

    def validate() -> None:
        """The EMA's loss on held-out pictures, by noise; left off where it is told to end."""
        if not first or not data.checks:
            return
        losses = []
        with averaged(), accelerator.autocast():
            for k in range(INTERVALS):
                found: list[float] = []
                for some in data.check(k, INTERVALS, config.batch):
                    if told() != GO:
                        return
                    found += target(some.to(device)).tolist()
                losses.append(float(np.mean(found)))
        report(validation=losses, timesteps=target.part.intervals(INTERVALS))
        say(f"step {done}: validation {np.mean(losses):.4f}; by noise, rising: {' '.join(f'{loss:.4f}' for loss in losses)}")

    def draw() -> None:
        """The EMA's pictures of the prompts, side by side."""
        if not first or not config.prompts or told() != GO:
            return
        cells = tuple(px // target.source.cell for px in reversed(config.sample_size)) if config.sample_size else data.common_size()
        with averaged(), accelerator.autocast():
            drawn = target.draw(config.prompts, cells).numpy()
        across = math.ceil(len(drawn) ** 0.5)
        rows = [np.concatenate([*drawn[i:i + across], *[np.zeros_like(drawn[0])] * (i + across - len(drawn))], 1)
                for i in range(0, len(drawn), across)]
        with replacing(work / f"{config.name}.{done:06d}.png") as part:
            Image.fromarray(np.concatenate(rows)).save(part, "PNG")

    if not done:
        validate()
        draw()
        if turns and turns.word != GO:
            raise KeyboardInterrupt
    began_at = done
    deadline = began + 60 * config.minutes if config.minutes else math.inf
    losses, since, steps_since, bad = [], time.time(), 0, 0
    with stopping() as stopped:
        while done < config.steps:
            for group in optimizer.param_groups:
                group["lr"] = config.lr * min(1.0, (done + 1) / (config.warmup + 1), (config.steps - done) / (config.decay + 1))
            numbers, total = order.batch(done), torch.zeros((), device=device)
            for turn in range(config.accumulate):
                places = mine(config, rank, processes, turn)
                batch = data.batch([done * whole + i for i in places], [numbers[i] for i in places]).to(device)
                with accelerator.no_sync(model) if turn + 1 < config.accumulate else contextlib.nullcontext(), accelerator.autocast():
                    loss = model(batch).mean() / config.accumulate
                    accelerator.backward(loss)
                total += loss.detach()
            norm = accelerator.clip_grad_norm_(weights, config.clip_norm or math.inf)
            finite = bool(norm.isfinite())
            if finite or accelerator.scaler is not None:  # a scaler finds the scale by trying too large ones
                optimizer.step()
            optimizer.zero_grad()
            done, steps_since, bad = done + 1, steps_since + 1, 0 if finite else bad + 1
            if finite:
                losses.append(total)
                keep = min(config.ema, (1 + done) / (10 + done))
                with torch.no_grad():
                    torch._foreach_mul_(average, keep)
                    torch._foreach_add_(average, weights, alpha=1 - keep)
            else:
                say(f"step {done}: the gradient is not finite; this batch is left out")
                if bad > PATIENCE and accelerator.scaler is None:
                    raise TrainError(f"the gradient was not finite in {bad} steps in a row; use a lower lr or precision: float32. "
                                     f"{file['snapshot']} has the last good state, if it was saved before.")

            if done % config.validate_every == 0 or done >= config.steps:
                validate()
            if done % config.sample_every == 0 or done >= config.steps:
                draw()

            # All processes stop together: the signal may have reached only one of them.
            word = told()
            ends = len(stopped) + (word != GO) + (first and time.time() > deadline)
            stop = accelerator.reduce(torch.tensor([ends], dtype=torch.float32, device=device))
            last = done >= config.steps or bool(stop.item() > 0)
            if done % config.log_every == 0 or last:
                mean = accelerator.reduce(torch.stack(losses or [total]).mean(), "mean").item()
                took, losses, steps_since = (time.time() - since) / steps_since, [], 0
                if first:
                    rate = optimizer.param_groups[0]["lr"]
                    report(loss=mean, lr=rate, seconds_per_step=round(took, 4), time=round(time.time(), 1), memory_gb=peak(device))
                    left = timedelta(seconds=round(took * (config.steps - done)))
                    say(f"step {done} of {config.steps}: loss {mean:.4f}, lr {rate:.2g}, {took:.2f} s a step, {left} left")
                since = time.time()
            if done % config.save_every == 0 or last:
                save(usable=not (stopped or word == PAUSE) or done >= config.steps)
            if last:
                break
    accelerator.wait_for_everyone()
    if done < config.steps:
        say(f"stopped after step {done}; the same command goes on from {file['snapshot']}")
        if file["safetensors"].exists():
            say(f"What is learned so far is in {file['safetensors']}; the plan that uses it:\n{json.dumps(target.plan())}")
    else:
        if done == began_at:  # all was learned before, and the file perhaps could not be written
            save(usable=True)
        say(f"{file['safetensors']} is trained. Put it {target.home}; the plan that uses it:\n{json.dumps(target.plan())}")


def over(text: str) -> None:
    """The end of a turn, on a line of its own; the next one has the graphics card's memory but for what must stay."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    spoken("\n" + text)


def without_nan(value: Any) -> Any:
    """As JSON has it: null in the place of numbers that are none."""
    if isinstance(value, dict):
        return {key: without_nan(each) for key, each in value.items()}
    if isinstance(value, list):
        return [without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def measure(config: Config) -> None:
    """Says what a step takes, in seconds and memory, as one line of JSON: of a few steps on pictures of noise."""
    with TemporaryDirectory() as home:
        side, count = (config.resolution or 512) // 64 * 64, config.batch * config.accumulate
        for i in range(count):
            Image.fromarray(np.random.default_rng(i).integers(0, 256, (side, side, 3), np.uint8)).save(Path(home) / f"{i}.png")
            (Path(home) / f"{i}.txt").write_text("noise", encoding="utf-8")
        log = Path(home) / "measured.log.jsonl"

        class Few(Turns):
            def next(self) -> str:
                if len(lines(log)) >= MEASURED:
                    raise KeyboardInterrupt
                return GO
        with contextlib.suppress(KeyboardInterrupt):
            train(replace(config, name="measured", data=home, out=home, work=home, cache=home, steps=MEASURED + 2, minutes=None,
                          log_every=1, save_every=MEASURED + 3, validation=0.0, prompts=()), Few(sys.stdin, spoken))
        found = lines(log)
        seconds = float(np.median([line["seconds_per_step"] for line in found[1:]]))  # the first one warms up
        spoken(json.dumps({"seconds_per_step": seconds, "memory_gb": found[-1]["memory_gb"]}))


def peak(device: torch.device) -> float | None:
    """GB, at most, so far: of the graphics card's memory, or of this process's; None where the system does not say."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_reserved(device) / 1e9, 3)
    with contextlib.suppress(ImportError):
        import resource
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9, 3)
    return None


def spoken(text: str) -> None:
    with contextlib.suppress(OSError):  # whoever listened is gone
        print(text, flush=True)


def mine(config: Config, rank: int, processes: int, turn: int) -> range:
    """Places in the batch of all processes that this one has in a turn of accumulation."""
    start = (turn * processes + rank) * config.batch
    return range(start, start + config.batch)


@contextlib.contextmanager
def stopping() -> Iterator[list[int]]:
    """Inside, Ctrl+C and SIGTERM end nothing, but are in this list."""
    caught: list[int] = []
    handlers = {number: signal.signal(number, lambda number, frame: caught.append(number)) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield caught
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def lines(path: Path) -> list[dict]:
    """The log's; a killed process may have left half a line."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with contextlib.suppress(json.JSONDecodeError):
            found.append(json.loads(line))
    return found


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m lib_mixdiff.train", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--turns", action="store_true", help="work when the program that started this one says so on standard input")
    parser.add_argument("--measure", action="store_true", help="only say what a step takes, in seconds and memory")
    chosen, first = parser.parse_args(arguments), int(os.environ.get("RANK", 0)) == 0
    try:
        if chosen.measure:
            return measure(read(chosen.config))
        config = read(chosen.config)
        with alone(Path(config.work or config.out) / f"{config.name}.lock") if first else contextlib.nullcontext():
            train(config, Turns(sys.stdin, over) if chosen.turns else None)
    except BlockingIOError:
        sys.exit(f"{config.name} is being trained, or saved, by another process; wait until it has ended.")
    except TrainError as error:
        sys.exit(str(error) if first else 1)
    except KeyboardInterrupt:
        spoken("stopped before the first step; what is encoded is kept, and the same command goes on.")
        sys.exit(0 if chosen.turns else 1)


if __name__ == "__main__":
    main()
