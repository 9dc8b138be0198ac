"""Beside Tiled Diffusion, on a WebUI that has both: `python -m bench.peer --url URL --pid PID`, PID being the server's, on this machine.

Both are Mixture of Diffusers with the same checkpoint, canvas, tiles, sampler, steps and seed. The jobs go in turns (plain, peer,
mixdiff, plain, ...) after one of a step each; seconds are those of the request, their ratio mixdiff's over the peer's, the median of the
pairs (lowest to highest). Memory is what the server's peak in the job is above its size before: until the latent is sampled, and with
the picture decoded, which both leave to the WebUI; medians. Allocate with mmap (MALLOC_MMAP_THRESHOLD_=65536) on the server, or freed
memory counts. The network's calls are seen from within, by an extension that `--install WEBUI` writes first.
"""
from __future__ import annotations

import argparse
import re
import statistics
import time
from collections import Counter
from pathlib import Path

from minihost.client import Host

PROMPT = "a red circle on a gray background"
QUADRANTS = [(x, y, f"a {color} square on a gray background") for color, (x, y) in
             zip(("blue", "green", "yellow", "red"), ((0, 0), (0.5, 0), (0, 0.5), (0.5, 0.5)))]
SCENES = ("tiles", "four regions", "four regions over tiles")
SPY = '''
import re
from modules import script_callbacks, scripts
seen, hooks = {"calls": []}, []
class Script(scripts.Script):
    title = lambda self: "bench-peer"
    show = lambda self, is_img2img: scripts.AlwaysVisible
    def process(self, p):
        [hooks.pop().remove() for _ in hooks[:]], seen["calls"].clear()
        hooks.append(p.sd_model.model.diffusion_model.register_forward_pre_hook(lambda _, args: seen["calls"].append(list(args[0].shape))))
    def post_sample(self, p, ps):
        seen["peak"] = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
script_callbacks.on_app_started(lambda demo, app: app.get("/bench-peer")(lambda: seen))
'''


Job = tuple[float, float, float, list[list[int]]]  # seconds, MB until sampled, MB of all, shapes of the network's calls


def peers(scene: str, chosen: argparse.Namespace) -> list:
    """The peer's arguments in the order of its `process`: 21, then 10 for each region."""
    size, overlap = chosen.tile // 8, chosen.overlap // 8
    own = {"enabled": True, "method": "Mixture of Diffusers", "overwrite_size": False, "keep_input_size": True, "image_width": 1024,
           "image_height": 1024, "tile_width": size, "tile_height": size, "overlap": overlap, "tile_batch_size": chosen.batch,
           "upscaler_name": "None", "scale_factor": 2, "noise_inverse": False, "noise_inverse_steps": 10, "noise_inverse_retouch": 1,
           "noise_inverse_renoise_strength": 1, "noise_inverse_renoise_kernel": 64, "control_tensor_cpu": False,
           "enable_bbox_control": scene != "tiles", "draw_background": "tiles" in scene, "causal_layers": False}
    regions = [{"enable": True, "x": x, "y": y, "w": 0.5, "h": 0.5, "prompt": prompt, "neg_prompt": "", "blend_mode": "Background",
                "feather_ratio": 0.2, "seed": -1} for x, y, prompt in QUADRANTS]
    return [*own.values(), *(value for region in regions for value in region.values())]


def ours(scene: str, chosen: argparse.Namespace) -> dict:
    """Regions without tiles are whole, as always the peer's; over tiles mixdiff cuts them, too."""
    tiles = {"width": chosen.tile, "height": chosen.tile, "overlap": chosen.overlap, "batch": chosen.batch, "grid": "fixed"}
    regions = [{"box": [x, y, x + 0.5, y + 0.5], "prompt": f"{PROMPT}, {prompt}"} for x, y, prompt in QUADRANTS]    # as the peer puts it
    return {"tiles": tiles if "tiles" in scene else None, "base": {"share": 0.5 if "over" in scene else 0},
            "regions": [] if scene == "tiles" else regions}


def kilobytes(pid: int, field: str) -> int:
    return int(re.search(rf"{field}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(encoding="utf-8"))[1])


def drawn(on: Host, chosen: argparse.Namespace, scripts: dict, mark: str, steps: int) -> Job:
    Path(f"/proc/{chosen.pid}/clear_refs").write_text("5", encoding="utf-8")    # the peak is now the size
    before, began = kilobytes(chosen.pid, "VmRSS"), time.perf_counter()
    answer = on.txt2img(prompt=PROMPT, width=chosen.width, height=chosen.height, steps=steps, seed=1, cfg_scale=5, sampler_name="Euler",
                        scheduler="Automatic", alwayson_scripts={name: {"args": args} for name, args in scripts.items()})
    seconds, peak = time.perf_counter() - began, kilobytes(chosen.pid, "VmHWM")
    if answer.status != 200 or mark not in answer.info["infotexts"][0]:
        raise RuntimeError(answer.error or f"{mark} did nothing")
    seen = on.get("/bench-peer")
    return seconds, (seen["peak"] - before) / 1024, (peak - before) / 1024, seen["calls"]


def row(chosen: argparse.Namespace, jobs: list[Job]) -> str:
    *numbers, (calls, *_) = zip(*jobs)
    calls = calls[:len(calls) // chosen.steps]
    shapes = ", ".join(f"{n} of {rows} rows {8 * width}x{8 * height}" for (rows, _, height, width), n in Counter(map(tuple, calls)).items())
    work = sum(8 * height * 8 * width * rows for rows, _, height, width in calls) / (2 * chosen.width * chosen.height)
    seconds, sampling, whole = map(statistics.median, numbers)
    return f"{shapes} | {work:.2f} | {seconds:.2f} | {sampling:.0f} | {whole:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--install", type=Path, help="write the extension into this WebUI's folder, and end")
    parser.add_argument("--url", default="http://127.0.0.1:7860")
    for name, value in {"pid": 0, "width": 512, "height": 384, "tile": 64, "overlap": 16, "batch": 4, "steps": 10, "pairs": 5}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--scenes", nargs="+", choices=SCENES, default=SCENES)
    chosen = parser.parse_args()
    if chosen.install:
        path = chosen.install / "extensions" / "bench-peer" / "scripts" / "bench_peer.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SPY, encoding="utf-8")
        return
    on = Host(chosen.url)
    print("| job | by | network calls a step | px of rows / canvas's | s a job | MB, sampling | MB, job | s / peer's s |\n"
          "|---|---|---|---|---|---|---|---|")
    for scene in chosen.scenes:
        kinds = {} if "regions" in scene else {"plain": ({}, "")}
        kinds |= {"peer": ({"Tiled Diffusion": peers(scene, chosen)}, "Tiled Diffusion"),
                  "mixdiff": ({"mixdiff": [ours(scene, chosen)]}, "mixdiff")}
        for kind in kinds.values():
            drawn(on, chosen, *kind, 1)
        turns = [{name: drawn(on, chosen, *kind, chosen.steps) for name, kind in kinds.items()} for _ in range(chosen.pairs)]
        for name in kinds:
            ratios = [turn[name][0] / turn["peer"][0] for turn in turns]
            ratio = "" if name == "peer" else f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
            print(f"| {scene} | {name} | {row(chosen, [turn[name] for turn in turns])} | {ratio} |", flush=True)


if __name__ == "__main__":
    main()
