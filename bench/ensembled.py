"""What an ensemble costs: `python -m bench.ensembled`, three U-Nets of Stable Diffusion 1.5's sizes at 512x512, cond and uncond.

`time`: processor seconds of an ensembled call over those of three bare calls, in turns, where all attend with torch's fused kernel, as with
the WebUI's "sdp". `memory`: the most bytes of tensors that live at once in an ensembled call over those of a bare one, weights aside.
`training`: the same of a training step in mixed precision, by the parts of the sum; no values are computed, so this takes no such machine.
`throughput`: at the shapes checkpoints' sizes, a training step over its parts (the models' forwards, the backward through them that the
gradient needs, the aggregators' own), and over a step that encodes its pictures and captions anew. Set OMP_NUM_THREADS, and run it beside
nothing else.
"""
from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from bench.cost import SD15, TOKENS, WIDTH, cpu_seconds, fused
from bench.memory import Live
from lib_mixdiff.aggregator import Aggregators
from lib_mixdiff.ensemble import Ensemble, Version, as_it_is, form_for, of_network
from lib_mixdiff.parts import Parts, of_model
from lib_mixdiff.patching import swapped
from lib_mixdiff.train.afa import AfaTarget
from lib_mixdiff.train.config import Config
from lib_mixdiff.train.data import Batch
from minihost import models

N, GB = 3, 1e9
NAMES = [(f"model {i}", str(i)) for i in range(N)]


def unet() -> Any:
    from ldm.modules.diffusionmodules.openaimodel import UNetModel
    return UNetModel(**SD15).eval().requires_grad_(False)


def ensemble(network: nn.Module, aggregators: Aggregators, versions: list[Version]) -> Ensemble:
    return Ensemble(network, versions, aggregators, range(N), blockwise=True)


@torch.no_grad()
def timed(calls: int) -> None:
    """Of models with weights of their own, which are swapped block by block."""
    from ldm.modules.attention import CrossAttention
    network = unet()
    aggregators = Aggregators(form_for(network, NAMES, "full")).eval()
    others = [of_model(Parts(network, dict(network.named_parameters()))) for _ in range(N - 1)]
    made, x, t = ensemble(network, aggregators, [as_it_is, *others]), torch.randn(2, 4, 64, 64), torch.full((2,), 500.0)
    texts, ratios = torch.randn(2, N * TOKENS, WIDTH), []

    def ensembled() -> None:
        with made.active():
            network(x, t, context=texts)

    def bare() -> None:
        for text in texts.chunk(N, 1):
            network(x, t, context=text)

    with swapped(CrossAttention, "forward", fused):
        ensembled()         # warms up, and places the weights
        for _ in range(calls):
            plain = cpu_seconds(bare)
            ratios.append(cpu_seconds(ensembled) / plain)
    print(f"An ensembled call of {N} models over {N} bare calls: {statistics.median(ratios):.4f} ({min(ratios):.4f} to {max(ratios):.4f}, "
          f"{calls} pairs, {plain:.1f} s); 1 + 1/16 is {1 + 1 / 16:.4f}, 1 + 1/8 {1 + 1 / 8:.4f}", flush=True)


def memory() -> None:
    from ldm.modules.attention import CrossAttention
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad(), swapped(CrossAttention, "forward", fused):
        networks = [unet() for _ in range(N)]
        aggregators = Aggregators(form_for(networks[0], NAMES, "full")).eval()
        made = ensemble(networks[0], aggregators, [as_it_is, *map(of_network, networks[1:])])
        x, t, texts = torch.randn(2, 4, 64, 64), torch.full((2,), 500.0), torch.randn(2, N * TOKENS, WIDTH)
        known = {each.untyped_storage()._cdata for network in [*networks, aggregators] for each in network.parameters()}
        with Live(known) as bare:
            networks[0](x, t, context=texts[:, :TOKENS])
        with Live(known) as ours, made.active():
            networks[0](x, t, context=texts)
    sizes = [sum(each.numel() for each in network.parameters()) for network in (networks[0], aggregators)]
    whole, least = (4 * (N * sizes[0] + sizes[1]) + peak for peak in (ours.peak, bare.peak))
    print(f"Peak of an ensembled call over a bare one's, float32: {ours.peak / 1e6:.0f} MB over {bare.peak / 1e6:.0f} MB = "
          f"{ours.peak / bare.peak:.3f}; with {N} x {4 * sizes[0] / 1e6:.0f} MB of weights and {4 * sizes[1] / 1e6:.0f} MB of aggregators "
          f"{whole / least:.4f} of weights, aggregators and one model's activations", flush=True)


@dataclass
class Real:
    """Stands for a checkpoint where only sizes matter."""
    path: Path
    abar: Any
    shapes: Any = None
    parameterization: str = "eps"
    scale_factor: float = 1.0

    def unet(self) -> Any:
        return unet()

    def sha256(self) -> str:
        return "0"


def training(batches: tuple[int, ...] = (1, 2, 4, 8)) -> None:
    """Weights in float32 with gradient, average and AdamW's two moments: 20 bytes a parameter that is learned."""
    import numpy as np

    from lib_mixdiff.train import afa
    print("| three U-Nets, 512x512, bfloat16, batch | checkpointing | frozen weights, GB | learned, GB | activations at the peak, GB | "
          f"all, GB |\n|{6 * '---|'}")
    for checkpointing in (True, False):
        for batch in batches:
            with FakeTensorMode(allow_non_fake_inputs=True) as mode, swapped(
                    afa, "Checkpoint", lambda path: Real(path, np.linspace(0.99, 0.01, 1000))):
                target = afa.AfaTarget(Config(target="afa", models=("a", "b", "c"), data="-", precision="bfloat16",
                                              checkpointing=checkpointing))
                del mode
                frozen = sum(each.numel() * each.element_size() for each in target.unets.parameters())
                learned = 20 * sum(each.numel() for each in target.aggregators.parameters())
                known = {each.untyped_storage()._cdata for each in [*target.parameters(), *target.buffers()]}
                sample = Batch(torch.randn(batch, 4, 64, 64), torch.randn(batch, 4, 64, 64), torch.zeros(batch, dtype=torch.long),
                               tuple(torch.randn(batch, TOKENS, WIDTH) for _ in range(N)))
                gradients = sum(each.numel() * each.element_size() for each in target.aggregators.parameters())
                with Live(known) as live, torch.autocast("cpu", torch.bfloat16):
                    target(sample).mean().backward()
            peak = max(0, live.peak - gradients)
            print(f"| {batch} | {'yes' if checkpointing else 'no'} | {frozen / GB:.2f} | {learned / GB:.2f} | {peak / GB:.2f} | "
                  f"{(frozen + learned + peak) / GB:.2f} |", flush=True)


def throughput(calls: int, batch: int = 32) -> None:
    names = ("shapes-a", "shapes-b", "shapes-c")
    target = AfaTarget(Config(target="afa", models=tuple(str(models.assembled() / f"{name}.safetensors") for name in names), data="-"))
    optimizer = torch.optim.AdamW(target.aggregators.parameters(), lr=1e-4)
    source = target.source
    vae, text = source.vae(), source.text(75)
    x, t, context = torch.randn(batch, 4, 8, 8), torch.randint(0, 1000, (batch,)), torch.randn(batch, TOKENS, 128)
    sample = Batch(x, torch.randn_like(x), t, N * (context,))
    pixels, captions = torch.randn(batch, 3, 64, 64), batch * ["a red circle and a blue square on a gray background"]

    def step() -> None:
        target(sample).mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    @torch.no_grad()
    def forwards() -> None:
        for each in target.unets[1:]:
            each(x, t, context=context)

    def through() -> None:
        """Forward and backward to the input: that of the weights is not needed, nor the first block's."""
        for each in target.unets[1:]:
            each(x.requires_grad_(), t, context=context).sum().backward()
        x.grad = None
        x.requires_grad_(False)

    @torch.no_grad()
    def encoded() -> None:
        vae.moments(pixels)
        for _ in range(N):
            text(captions)

    measured: dict[str, Callable[[], None]] = {"step": step, "forwards": forwards, "through": through, "encoded": encoded}
    times: dict[str, list[float]] = {name: [] for name in measured}
    for work in measured.values():
        work()
    for _ in range(calls):
        for name, work in measured.items():
            times[name].append(cpu_seconds(work))
    each = {name: 1000 * statistics.median(some) / batch for name, some in times.items()}
    forward, backward = N / (N - 1) * each["forwards"], N / (N - 1) * (each["through"] - each["forwards"])
    print(f"\nTraining, the shapes checkpoints' sizes, {N} models, batch {batch}, milliseconds of the processor a sample: a step "
          f"{each['step']:.1f} = {N} forwards {forward:.1f} + the backward through them {backward:.1f} + aggregators and AdamW "
          f"{each['step'] - forward - backward:.1f} ({each['step'] / (forward + backward):.2f} of the first two). Encoding pictures and "
          f"captions in each step would take {each['encoded']:.1f} more ({each['encoded'] / each['step']:.0%})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["time", "memory", "training", "throughput"])
    parser.add_argument("--calls", type=int, default=5)
    chosen = parser.parse_args()
    torch.manual_seed(0)
    began = time.time()
    for what in chosen.what:
        {"time": lambda: timed(chosen.calls), "memory": memory, "training": training,
         "throughput": lambda: throughput(4 * chosen.calls)}[what]()
    print(f"({time.time() - began:.0f} s)")


if __name__ == "__main__":
    main()
