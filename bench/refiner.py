"""An expert stack beside the WebUI's refiner: `python -m bench.refiner --url URL`, on a WebUI of this machine that has mixdiff.

Both switch from the loaded checkpoint to the same other one at the same noise level; the other is made for the run, beside the loaded
one: its U-Net with noise of a tenth of each weight's deviation, the same VAE and text encoder. Jobs go in turns: plain, then the stack
and the refiner twice each, of which the second counts, for the refiner puts the loaded checkpoint back when the next job begins. Seconds
are those of the request, medians (lowest to highest); the difference of the two pictures is in grey levels.
"""
from __future__ import annotations

import argparse
import io
import shutil
import statistics
import time
from base64 import b64decode
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from minihost.client import Host

OTHER = "mixdiff-bench-other"


def disturbed(tensors: dict[str, torch.Tensor], *prefixes: str) -> dict[str, torch.Tensor]:
    """Those with noise of a tenth of each one's deviation under these prefixes, the same at every call; vectors as they are."""
    generator, found = torch.Generator().manual_seed(0), dict(tensors)
    for name, tensor in tensors.items():
        if name.startswith(prefixes) and tensor.ndim > 1 and tensor.is_floating_point():
            noise = 0.1 * tensor.float().std() * torch.randn(tensor.shape, generator=generator)
            found[name] = (tensor.float() + noise).to(tensor.dtype)
    return found


def keep_beside(loaded: Path, name: str, tensors: dict[str, torch.Tensor]) -> None:
    """As a checkpoint of that name, with the loaded one's yaml where it has one."""
    save_file(tensors, loaded.with_name(f"{name}.safetensors"))
    if loaded.with_suffix(".yaml").exists():
        shutil.copy(loaded.with_suffix(".yaml"), loaded.with_name(f"{name}.yaml"))


def drawn(on: Host, job: dict, plan: dict | None = None, **fields: object) -> tuple[float, np.ndarray]:
    began = time.perf_counter()
    answer = on.txt2img(plan, **{**job, **fields})
    seconds = time.perf_counter() - began
    if answer.status != 200:
        raise RuntimeError(answer.error)
    return seconds, np.asarray(Image.open(io.BytesIO(b64decode(answer.body["images"][0]))).convert("RGB"), dtype=float)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:7860")
    parser.add_argument("--size", type=int, default=256, help="px of the square picture")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--switch-at", type=float, default=0.5, help="as the refiner counts: the share of the timesteps that are done")
    parser.add_argument("--turns", type=int, default=3)
    chosen = parser.parse_args()
    on = Host(chosen.url)
    loaded = on.get("/sdapi/v1/options")["sd_model_checkpoint"].split(" [")[0]
    path = next(Path(model["filename"]) for model in on.get("/sdapi/v1/sd-models") if model["title"].split(" [")[0] == loaded)
    job = {"prompt": "a red circle on a gray background", "width": chosen.size, "height": chosen.size, "steps": chosen.steps, "seed": 1,
           "cfg_scale": 5, "sampler_name": "Euler", "scheduler": "Automatic"}
    late = {"unit": "timestep", "from": 1000 * (1 - chosen.switch_at)}
    plan = {"model": {"experts": [{"model": OTHER, "range": late, "text_encoder": "loaded"}]}}
    refiner = {"refiner_checkpoint": OTHER, "refiner_switch_at": chosen.switch_at}
    keep_beside(path, OTHER, disturbed(load_file(path), "model.diffusion_model."))
    try:
        on.post("/sdapi/v1/refresh-checkpoints", {})
        drawn(on, job, plan, steps=1)
        turns = []
        for _ in range(chosen.turns):
            drawn(on, job, steps=1)             # the refiner's checkpoint goes
            plain = drawn(on, job)
            stack = [drawn(on, job, plan) for _ in range(2)]
            turns.append((plain, stack[1], [drawn(on, job, **refiner) for _ in range(2)][1]))
    finally:
        for suffix in (".safetensors", ".yaml"):
            path.with_name(OTHER + suffix).unlink(missing_ok=True)
        drawn(on, job, steps=1)
        on.post("/sdapi/v1/refresh-checkpoints", {})
    print(f"{path.stem}, {path.stat().st_size / 1e9:.2f} GB, {chosen.size}x{chosen.size}, {chosen.steps} steps, "
          f"switch at {chosen.switch_at}\n")
    print("| job | s | s more than plain |\n|---|---|---|")
    for name, jobs in zip(("plain", "stack", "refiner"), zip(*turns)):
        seconds, more = [s for s, _ in jobs], [s - plain for (s, _), ((plain, _), _, _) in zip(jobs, turns)]
        print(f"| {name} | {statistics.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f}) | "
              f"{statistics.median(more):.2f} ({min(more):.2f} to {max(more):.2f}) |")
    apart = [np.abs(stack - refined) for _, (_, stack), (_, refined) in turns]
    away = [np.abs(stack - plain).mean() for (_, plain), (_, stack), _ in turns]
    print(f"\nstack and refiner apart: {max(each.max() for each in apart):.0f} at most, {max(each.mean() for each in apart):.4f} in the "
          f"mean; stack and plain: {min(away):.2f} in the mean")


if __name__ == "__main__":
    main()
