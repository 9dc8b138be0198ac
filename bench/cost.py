"""What a mosaic costs beside its network: `python -m bench.cost`.

First with a network that returns its input, so that all the time is ours: milliseconds a call. Then with a U-Net of Stable
Diffusion 1.5's layer sizes and random weights at 512x512: seconds of a step over the seconds of the same calls made bare, in
turns, the median of the pairs; the time of a switch to another weight set and back; and a step whose regions have a LoRA each, of
rank 32 on all layers of attention and feed-forward, over the same step without; and a call with two phrases painted in its cond row
over the same call without, where the network attends with torch's fused kernel, as with the WebUI's "sdp". Set OMP_NUM_THREADS, and
run it beside nothing else. `--lora`, `--paint`: that alone.

`--sdxl`: SDXL's layer sizes instead, 10 GB of weights. Its network is not in the package of the embedded host: run it with the Python of a
WebUI, whose repositories/generative-models is on PYTHONPATH.
"""
from __future__ import annotations

import argparse
import math
import re
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lib_mixdiff.boxes import Box
from lib_mixdiff.lora import Deltas, LowRank
from lib_mixdiff.mosaic import Member, Model, Mosaic, Part, Told
from lib_mixdiff.paint import Brush, Row, Words
from lib_mixdiff.patching import swapped
from lib_mixdiff.plan import Plan
from lib_mixdiff.regions import Canvas, located, placed, told
from lib_mixdiff.residency import Transfers
from lib_mixdiff.tiles import Grid
from lib_mixdiff.weights import WeightSet

SD15 = {"image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 320, "attention_resolutions": [4, 2, 1],
        "num_res_blocks": 2, "channel_mult": [1, 2, 4, 4], "num_heads": 8, "use_spatial_transformer": True, "transformer_depth": 1,
        "context_dim": 768, "use_checkpoint": False, "legacy": False}
SDXL = {"adm_in_channels": 2816, "num_classes": "sequential", "use_checkpoint": False, "in_channels": 4, "out_channels": 4,
        "model_channels": 320, "attention_resolutions": [4, 2], "num_res_blocks": 2, "channel_mult": [1, 2, 4], "num_head_channels": 64,
        "use_spatial_transformer": True, "use_linear_in_transformer": True, "transformer_depth": [1, 2, 10], "context_dim": 2048,
        "spatial_transformer_attn_type": "softmax"}
QUADRANTS = [{"box": [x, y, x + 0.5, y + 0.5], "prompt": "its own"} for y in (0, 0.5) for x in (0, 0.5)]
TOKENS, WIDTH = 77, 768
RANK = 32


def mosaic(cells: int, regions: Sequence[dict] = QUADRANTS, models: Sequence[Model | None] = 4 * (None,)) -> Mosaic:
    """Regions, four quadrants, with a prompt and a negative prompt each, on a square canvas, as a job with one cond asks for them."""
    def text() -> Tensor:
        return torch.randn(1, TOKENS, WIDTH)
    plan, canvas = Plan.from_dict({"regions": regions}), Canvas(cells, cells)
    members = placed(located(plan, canvas, lambda image: None), plan, canvas, 7.0)
    return Mosaic(told(members, [*(Told((Part(1.0, text()),), text(), model=model) for model in models), Told()]), [[1.0]])


def tiles(cells: int, width: int = 0) -> Mosaic:
    """A square canvas in tiles of half its side that overlap by a quarter, in calls of two with cond and uncond; the job's own prompt.
    With a width, its texts are SDXL's, and each tile has its place in them."""
    grid = Grid(cells // 2, cells // 2, cells // 8, cells // 8, batch=2)
    whole = Member(Box(0, 0, cells, cells), torch.ones(cells, cells))
    members = [replace(m, sizes=(-width, torch.randn(1, width))) if width else m for m in grid.cut(whole)]
    return Mosaic(members, [[1.0]], grid.largest)


def cpu_seconds(work: Callable[[], object]) -> float:
    """Of this process alone, where others share the cores."""
    start = time.process_time()
    work()
    return time.process_time() - start


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def step(mosaic: Mosaic, network: Callable, x: Tensor, text: Any) -> None:
    mosaic.start()
    mosaic.predict(network, x, torch.full((2,), 500.0), text, torch.zeros(2, 5, 1, 1))


def identity(calls: int) -> None:
    print("| network | canvas | ms a call, median | lowest | highest |\n|---|---|---|---|---|")
    for cells in (16, 64, 128):
        regions, x, text = mosaic(cells), torch.randn(2, 4, cells, cells), torch.randn(2, TOKENS, WIDTH)
        step(regions, lambda x, *_: x, x, text)
        times = [1000 * seconds(lambda: step(regions, lambda x, *_: x, x, text)) for _ in range(calls)]  # noqa: B023
        row = f"{8 * cells}x{8 * cells} | {statistics.median(times):.2f} | {min(times):.2f} | {max(times):.2f}"
        print(f"| returns its input | {row} |", flush=True)


def real(calls: int) -> None:
    from ldm.modules.diffusionmodules.openaimodel import UNetModel
    unet, text = UNetModel(**SD15).eval(), torch.randn(2, TOKENS, WIDTH)
    for what, regions in (("four quadrants", mosaic(64)), ("tiles", tiles(64))):
        compared(f"SD1.5's sizes, 512x512, {what}", regions, lambda x, sigma, text, image: unet(x, sigma, text), torch.randn(2, 4, 64, 64),
                 text, calls)
    switching(unet, lambda: unet(torch.randn(2, 4, 64, 64), torch.full((2,), 500.0), text), calls)
    loras(unet, text, calls)
    paint(unet, text, calls)


def loras(unet: torch.nn.Module, text: Tensor, calls: int) -> None:
    """CPU seconds of a step with a LoRA for each region over those of the same step without, in turns."""
    layers = [layer for name, layer in unet.named_modules() if re.search(r"\.(to_[qkv]|to_out\.0|proj|net\.2|proj_in|proj_out)$", name)]

    def lora() -> Deltas:
        return Deltas([(layer, LowRank(torch.randn(RANK, *layer.weight.shape[1:]), 0.001 * torch.randn(len(layer.weight), RANK)))
                       for layer in layers])       # type: ignore
    for what, regions in (("one region", [{"prompt": "its own"}]), ("four quadrants", QUADRANTS)):
        both = [mosaic(64, regions, [make() for _ in regions]) for make in (lambda: None, lora)]
        x, ratios = torch.randn(2, 4, 64, 64), []
        for _ in range(calls + 1):
            without, under = (cpu_seconds(lambda: step(m, lambda x, sigma, text, image: unet(x, sigma, text), x, text)) for m in both)  # noqa: B023
            ratios.append(under / without)
        del ratios[0]       # the first of all warms up
        print(f"\nSD1.5's sizes, 512x512, {what}, a LoRA of rank {RANK} for each on {len(layers)} layers: {statistics.median(ratios):.4f} "
              f"of the step without ({min(ratios):.4f} to {max(ratios):.4f}, {calls} pairs)", flush=True)


def fused(layer: Any, x: Tensor, context: Tensor | None = None, mask: None = None) -> Tensor:
    """Attention as the WebUI's "sdp" computes it (modules/sd_hijack_optimizations.py)."""
    context = x if context is None else context
    q, k, v = (part.unflatten(-1, (layer.heads, -1)).transpose(1, 2) for part in (layer.to_q(x), layer.to_k(context), layer.to_v(context)))
    return layer.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(-2))


def paint(unet: torch.nn.Module, text: Tensor, calls: int) -> None:
    """CPU seconds of a call, cond and uncond, with two phrases of three tokens painted in the cond row over those of the same call without,
    in turns."""
    from ldm.modules.attention import CrossAttention
    canvas, areas = Box(0, 0, 64, 64), torch.zeros(6, 64, 64)
    areas[:3, 20:50, 4:28], areas[3:, 20:50, 36:60] = 0.4, 0.4
    brush, rows = Brush(unet), [Row(Words([2, 3, 4, 6, 7, 8], areas), canvas), Row(None, canvas)]
    brush.weight, x, ratios = math.log(1 + 10.0), torch.randn(2, 4, 64, 64), []

    def call() -> None:
        unet(x, torch.full((2,), 500.0), text)

    def painted() -> None:
        with brush.over(rows):
            call()

    with swapped(CrossAttention, "forward", fused):
        painted()       # warms up, and the areas are made for each size of layer
        for _ in range(calls):
            bare = cpu_seconds(call)
            ratios.append(cpu_seconds(painted) / bare)
    print(f"\nSD1.5's sizes, 512x512, cond and uncond, two phrases painted: {statistics.median(ratios):.4f} of the call without "
          f"({min(ratios):.4f} to {max(ratios):.4f}, {calls} pairs, {bare:.2f} s a call)", flush=True)


def experts(calls: int) -> None:
    """eDiff-I's Fig. 13, with a network so small that a switch would show: the shapes checkpoints', at 128x128, another expert in each
    step."""
    from minihost.shapes.parts import CONTEXT, unet
    network, x, text = unet().eval(), torch.randn(2, 4, 16, 16), torch.randn(2, TOKENS, CONTEXT)
    sets = [WeightSet(network, network.state_dict()) for _ in range(4)]

    def whole(count: int) -> float:
        def run() -> None:
            for step in range(12):
                with sets[step % count].active() if count else nullcontext():
                    network(x, torch.full((2,), 500.0), text)
        return 1000 * seconds(run) / 12

    whole(4)
    turns = [[whole(count) for count in range(5)] for _ in range(10 * calls)]
    print("\n| experts, each in every so many steps | ms a step, median | over the bare network's |\n|---|---|---|")
    for count, times in enumerate(zip(*turns)):
        ratios = [time / turn[0] for time, turn in zip(times, turns)]
        print(f"| {count or 'bare'} | {statistics.median(times):.2f} | {statistics.median(ratios):.4f} "
              f"({min(ratios):.4f} to {max(ratios):.4f}) |", flush=True)


def switching(unet: torch.nn.Module, call: Callable, calls: int) -> None:
    """To another weight set and back, once it is placed."""
    weights = WeightSet(unet, unet.state_dict())
    placing = seconds(lambda: weights.place(Transfers()))

    def switch() -> None:
        with weights.active():
            pass
    times = [seconds(switch) for _ in range(20 * calls)]
    bare = statistics.median(seconds(call) for _ in range(calls))
    print(f"\nSD1.5's sizes, switching {len(list(unet.parameters()))} parameters and back: {1000 * statistics.median(times):.2f} ms "
          f"({1000 * min(times):.2f} to {1000 * max(times):.2f}), {statistics.median(times) / bare:.4%} of one call at 512x512; "
          f"placing it {placing:.1f} s", flush=True)


def sdxl(calls: int) -> None:
    from sgm.modules.diffusionmodules.openaimodel import UNetModel
    unet, text = UNetModel(**SDXL).eval(), {"crossattn": torch.randn(2, TOKENS, 2048), "vector": torch.randn(2, 2816)}
    compared("SDXL's sizes, 512x512, tiles", tiles(64, 1536),
             lambda x, sigma, text, image: unet(x, sigma, text["crossattn"], text["vector"]), torch.randn(2, 4, 64, 64), text, calls)


def compared(what: str, mosaic: Mosaic, network: Callable, x: Tensor, text: Any, calls: int) -> None:
    """Prints a step's seconds over those of its calls made bare."""
    asked: list[tuple] = []
    step(mosaic, lambda *call: (asked.append(call), network(*call))[1], x, text)
    ratios = []
    for _ in range(calls):
        ours = seconds(lambda: step(mosaic, network, x, text))
        bare = seconds(lambda: [network(*call) for call in asked])
        ratios.append(ours / bare)
    shapes = ", ".join(str(tuple(call[0].shape)) for call in asked)
    print(f"\n{what}, calls of {shapes}: {statistics.median(ratios):.4f} of the bare calls "
          f"({min(ratios):.4f} to {max(ratios):.4f}, {calls} pairs)", flush=True)


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=7, help="pairs with the real sizes; the other table has 100 times as many")
    parser.add_argument("--lora", action="store_true", help="the steps with a LoRA only")
    parser.add_argument("--paint", action="store_true", help="the calls with painted phrases only")
    parser.add_argument("--sdxl", action="store_true", help="SDXL's sizes only")
    chosen = parser.parse_args()
    torch.manual_seed(0)
    if chosen.sdxl:
        sdxl(chosen.calls)
    elif chosen.lora or chosen.paint:
        from ldm.modules.diffusionmodules.openaimodel import UNetModel
        (loras if chosen.lora else paint)(UNetModel(**SD15).eval(), torch.randn(2, TOKENS, WIDTH), chosen.calls)
    else:
        identity(100 * chosen.calls)
        experts(chosen.calls)
        real(chosen.calls)


if __name__ == "__main__":
    main()
