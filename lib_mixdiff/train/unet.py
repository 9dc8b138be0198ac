"""The target `unet`: one expert, a U-Net trained on a part of the noise. eDiff-I, section 4.1."""
from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from types import MethodType

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recomputed

from lib_mixdiff.train.checkpoint import Checkpoint
from lib_mixdiff.train.config import Config
from lib_mixdiff.train.data import Batch
from lib_mixdiff.train.noise import Part, lognormal_area, part, uniform_area


def attention(self: nn.Module, x: Tensor, context: Tensor | None = None, mask: None = None) -> Tensor:
    """`ldm`'s CrossAttention, its softmax never whole in memory."""
    context = x if context is None else context
    projected = (self.to_q(x), self.to_k(context), self.to_v(context))
    q, k, v = (each.unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in projected)
    return self.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def lighter(unet: nn.Module, checkpointing: bool) -> nn.Module:
    """The same network in less memory: `attention`, and with `checkpointing` each block is computed again on the way back."""
    for module in unet.modules():
        if type(module).__name__ in ("CrossAttention", "MemoryEfficientCrossAttention"):  # the latter where xformers is installed
            module.forward = MethodType(attention, module)
    for block in [*unet.input_blocks, unet.middle_block, *unet.output_blocks] if checkpointing else []:
        block.forward = partial(recomputed, block.forward, use_reentrant=False)
    return unet


class UnetTarget(nn.Module):
    """What the loop trains. Its parameters that require a gradient are learned; calling it gives each sample's loss."""

    def __init__(self, config: Config, source: Checkpoint) -> None:
        super().__init__()
        self.config, self.source = config, source
        area = uniform_area(len(source.abar)) if config.noise == "uniform" else lognormal_area(source.abar, *config.noise.lognormal)
        self.part: Part = part(area, config.node, config.complement)
        self.unet = lighter(source.unet(), config.checkpointing).requires_grad_(True)
        self.register_buffer("abar", torch.tensor(source.abar, dtype=torch.float32), persistent=False)
        assert self.abar.diff().max() < 0 < self.abar.min(), "the noise rises with the timestep"

    @property
    def texts(self) -> list[Checkpoint]:
        """Whose text encoders make the contexts of a batch."""
        return [self.source]

    def noisy(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """x_t and what the network is to say of it, with abar_t; DDPM, eq. 4, and progressive distillation, appendix D, for v."""
        a = self.abar[batch.t].view(-1, 1, 1, 1)
        x_t = a.sqrt() * batch.x0 + (1 - a).sqrt() * batch.noise
        return x_t, (a.sqrt() * batch.noise - (1 - a).sqrt() * batch.x0) if self.source.parameterization == "v" else batch.noise, a

    def forward(self, batch: Batch) -> Tensor:
        """(b,) squared errors. As if it were v, an error of eps counts 1 / abar: a plain eps loss hardly learns a flat background."""
        x_t, wanted, a = self.noisy(batch)
        error = (self.unet(x_t, batch.t, context=batch.contexts[0]).float() - wanted) ** 2
        if self.config.weighting == "v" and self.source.parameterization == "eps":
            error = error / a
        return error.mean((1, 2, 3))

    def predictor(self, unet: nn.Module, x_t: Tensor, t: int, context: Tensor) -> tuple[Tensor, Tensor]:
        """x0 and eps, as a U-Net sees them."""
        a, out = self.abar[t], unet(x_t, torch.full((len(x_t),), t, device=x_t.device), context=context).float()
        if self.source.parameterization == "v":
            return a.sqrt() * x_t - (1 - a).sqrt() * out, a.sqrt() * out + (1 - a).sqrt() * x_t
        return (x_t - (1 - a).sqrt() * out) / a.sqrt(), out

    @torch.no_grad()
    def draw(self, prompts: tuple[str, ...], cells: tuple[int, int], steps: int = 20) -> Tensor:
        """(prompts, h, w, 3) uint8: DDIM (eq. 12 with eta 0), guided; what this target does not train, the starting U-Net draws."""
        device, scale = self.abar.device, self.config.guidance
        other = self.unet if self.part.whole else lighter(self.source.unet(), False).to(device)
        text = self.source.text(self.config.tokens).to(device)
        context = torch.cat([text(list(prompts)), text([""]).expand(len(prompts), -1, -1)])
        rng = torch.Generator().manual_seed(self.config.seed)
        x = torch.randn(len(prompts), self.source.channels, *cells, generator=rng).to(device)
        times = torch.linspace(len(self.abar) - 1, 0, steps).round().long().tolist()
        for t, following in zip(times, [*times[1:], None]):
            x0, eps = self.predictor(self.unet if self.part.holds(t) else other, torch.cat([x, x]), t, context)
            x0, eps = (no + scale * (yes - no) for yes, no in (x0.chunk(2), eps.chunk(2)))
            a = self.abar[following] if following is not None else torch.ones((), device=device)
            x = a.sqrt() * x0 + (1 - a).sqrt() * eps
        vae = self.source.vae().to(device)
        pixels = torch.cat([vae.decode(z[None] / self.source.scale_factor) for z in x])
        return ((pixels.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu()

    def write(self, path: Path, facts: dict[str, object]) -> None:
        """The whole checkpoint with this U-Net; facts of the training in its metadata, under "mixdiff"."""
        config = self.config.to_dict()
        trained = {name: config[name] for name in ("node", "complement", "noise") if config[name] is not None}
        found = {**trained, "range": [None] if self.part.whole else self.part.ranges(), **facts}
        self.source.write(path, self.unet.state_dict(), json.dumps(found))

    def plan(self) -> dict:
        """What uses it: a plan of the WebUI's accordion."""
        ranges = [None] if self.part.whole else self.part.ranges()
        expert = {"model": self.config.name, "text_encoder": "loaded"}
        return {"model": {"experts": [{**expert, "range": r} if r else expert for r in ranges]}}
