"""What the loop trains: a network that says of a noisy picture what its checkpoint was made to say."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import MethodType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib_mixdiff.train.checkpoint import Checkpoint
from lib_mixdiff.train.config import Config
from lib_mixdiff.train.data import Batch
from lib_mixdiff.train.noise import Part, lognormal_area, part, uniform_area


def attention(self: Any, x: Tensor, context: Tensor | None = None, mask: None = None) -> Tensor:
    """`ldm`'s CrossAttention, its softmax never whole in memory."""
    context = x if context is None else context
    projected = (self.to_q(x), self.to_k(context), self.to_v(context))
    q, k, v = (each.unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in projected)
    return self.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def lighter(unet: nn.Module) -> nn.Module:
    """The same network in less memory."""
    for module in unet.modules():
        if type(module).__name__ in ("CrossAttention", "MemoryEfficientCrossAttention"):  # the latter where xformers is installed
            module.forward = MethodType(attention, module)
    return unet


class Target(nn.Module):
    """Its parameters that require a gradient are learned; calling it gives each sample's loss."""

    unet: nn.Module
    home: str  # where what it writes belongs

    def __init__(self, config: Config, sources: Sequence[Checkpoint]) -> None:
        """`sources`: the checkpoints that it is made of; the first one's VAE and noise are all's."""
        super().__init__()
        self.config, self.sources, source = config, list(sources), sources[0]
        area = uniform_area(len(source.abar)) if config.noise == "uniform" else lognormal_area(source.abar, *config.noise.lognormal)
        self.part: Part = part(area, config.node, config.complement)
        self.abar: Tensor
        self.register_buffer("abar", torch.tensor(source.abar, dtype=torch.float32), persistent=False)
        assert np.diff(source.abar).max() < 0 < np.min(source.abar), "the noise rises with the timestep"

    @property
    def source(self) -> Checkpoint:
        return self.sources[0]

    def facts(self) -> dict[str, object]:
        """That a resumed run must find as they were."""
        raise NotImplementedError

    def noisy(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """x_t and what the network is to say of it, with abar_t; DDPM, eq. 4, and progressive distillation, appendix D, for v."""
        a = self.abar[batch.t].view(-1, 1, 1, 1)
        x_t = a.sqrt() * batch.x0 + (1 - a).sqrt() * batch.noise
        return x_t, (a.sqrt() * batch.noise - (1 - a).sqrt() * batch.x0) if self.source.parameterization == "v" else batch.noise, a

    def forward(self, batch: Batch) -> Tensor:
        """(b,) squared errors. As if it were v, an error of eps counts 1 / abar: a plain eps loss hardly learns a flat background."""
        x_t, wanted, a = self.noisy(batch)
        error = (self.unet(x_t, batch.t, context=torch.cat(batch.contexts, 1)).float() - wanted) ** 2
        if self.config.weighting == "v" and self.source.parameterization == "eps":
            error = error / a
        return error.mean((1, 2, 3))

    def predictor(self, unet: nn.Module, x_t: Tensor, t: int, context: Tensor) -> tuple[Tensor, Tensor]:
        """x0 and eps, as a U-Net sees them."""
        a, out = self.abar[t], unet(x_t, torch.full((len(x_t),), t, device=x_t.device), context=context).float()
        if self.source.parameterization == "v":
            return a.sqrt() * x_t - (1 - a).sqrt() * out, a.sqrt() * out + (1 - a).sqrt() * x_t
        return (x_t - (1 - a).sqrt() * out) / a.sqrt(), out

    def beyond(self) -> nn.Module:
        """The network that draws at the timesteps that are not trained."""
        return self.unet

    @torch.no_grad()
    def draw(self, prompts: tuple[str, ...], cells: tuple[int, int], steps: int = 20) -> Tensor:
        """(prompts, h, w, 3) uint8: DDIM (eq. 12 with eta 0), guided."""
        device, rng = self.abar.device, torch.Generator().manual_seed(self.config.seed)
        noise = torch.randn(len(prompts), self.source.channels, *cells, generator=rng).to(device)
        size = self.config.batch  # as many as are trained at once
        return torch.cat([self._drawn(prompts[i:i + size], noise[i:i + size], steps) for i in range(0, len(prompts), size)])

    def _drawn(self, prompts: tuple[str, ...], x: Tensor, steps: int) -> Tensor:
        device, scale, other = self.abar.device, self.config.guidance, self.beyond()
        texts = [source.text(self.config.tokens).to(device) for source in self.sources]
        context = torch.cat([torch.cat([text(list(prompts)), text([""]).expand(len(prompts), -1, -1)]) for text in texts], 1)
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
        """What was learned, as the extension reads it; facts of the training in its metadata."""
        raise NotImplementedError

    def plan(self) -> dict[str, Any]:
        """What uses it: a plan of the WebUI's accordion."""
        raise NotImplementedError
