"""What a mosaic costs beside its network: `python -m bench.cost`.

First with a network that returns its input, so that all the time is ours: milliseconds a call. Then with a U-Net of Stable
Diffusion 1.5's layer sizes and random weights at 512x512: seconds of a step over the seconds of the same calls made bare, in
turns, the median of the pairs. Set OMP_NUM_THREADS, and run it beside nothing else.
"""
from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from lib_mixdiff.mosaic import Mosaic, Part
from lib_mixdiff.plan import Plan
from lib_mixdiff.regions import Canvas, located, placed, told

SD15 = {"image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 320, "attention_resolutions": [4, 2, 1],
        "num_res_blocks": 2, "channel_mult": [1, 2, 4, 4], "num_heads": 8, "use_spatial_transformer": True, "transformer_depth": 1,
        "context_dim": 768, "use_checkpoint": False, "legacy": False}
QUADRANTS = [{"box": [x, y, x + 0.5, y + 0.5], "prompt": "its own"} for y in (0, 0.5) for x in (0, 0.5)]
TOKENS, WIDTH = 77, 768


def mosaic(cells: int) -> Mosaic:
    """Four quadrants with a prompt and a negative prompt each, on a square canvas, as a job with one cond asks for them."""
    def text() -> Tensor:
        return torch.randn(1, TOKENS, WIDTH)
    plan, canvas = Plan.from_dict({"regions": QUADRANTS}), Canvas(cells, cells)
    members = placed(located(plan, canvas, lambda image: None), plan, canvas, 7.0)
    return Mosaic(told(members, [((Part(1.0, text()),), text()) for _ in QUADRANTS]), [[1.0]])


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def step(mosaic: Mosaic, network: Callable, x: Tensor, text: Tensor) -> None:
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
    unet = UNetModel(**SD15).eval()
    regions, x, text = mosaic(64), torch.randn(2, 4, 64, 64), torch.randn(2, TOKENS, WIDTH)
    asked: list[tuple] = []
    step(regions, lambda x, sigma, text, image: (asked.append((x, sigma, text)), unet(x, sigma, text))[1], x, text)
    ratios = []
    for _ in range(calls):
        ours = seconds(lambda: step(regions, lambda x, sigma, text, image: unet(x, sigma, text), x, text))
        bare = seconds(lambda: [unet(*call) for call in asked])
        ratios.append(ours / bare)
    shapes = ", ".join(str(tuple(call[0].shape)) for call in asked)
    print(f"\nSD1.5's sizes, 512x512, four quadrants, calls of {shapes}: {statistics.median(ratios):.4f} of the bare calls "
          f"({min(ratios):.4f} to {max(ratios):.4f}, {calls} pairs)")


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=7, help="pairs with the real sizes; the other table has 100 times as many")
    chosen = parser.parse_args()
    torch.manual_seed(0)
    identity(100 * chosen.calls)
    real(chosen.calls)


if __name__ == "__main__":
    main()
