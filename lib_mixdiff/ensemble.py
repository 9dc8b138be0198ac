"""AFA: several checkpoints as one U-Net, block by block on the network that is there (Wang et al., arXiv:2405.17082, section 3.2).

The network's own forward loop stays. What goes through it holds all models: embeddings and texts one model's behind the other's, (b,
N * channels) and (b, N * tokens, channels), SDXL's sizes (b, N, channels), features that are not aggregated one below the other, (N * b,
channels, h, w). Each block takes them apart, runs once for each model, and puts together what comes out: aggregated, with skip connections
that all share (Algorithm 1), or one below the other. So ldm's and sgm's U-Nets are walked alike.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from lib_mixdiff.aggregator import Aggregators, Form, width_for
from lib_mixdiff.patching import swapped

Forward = Callable[..., Tensor]
# One of the models: how it runs a part of the network, which is known by its name
Version = Callable[[str, nn.Module], Forward]
Seen = Callable[[str, Tensor], None]        # of a block, by its name: the attention maps (b, N, h, w)


def embeddings_of(network: nn.Module) -> dict[str, nn.Module]:
    """What makes the embedding of the time and, in SDXL, of the sizes and the pooled text."""
    return {name: getattr(network, name) for name in ("time_embed", "label_emb") if hasattr(network, name)}


def blocks_of(network: Any) -> dict[str, nn.Module]:
    """The blocks of ldm's or sgm's UNetModel in the order in which they run; the last is `out`, what makes a prediction of features."""
    inward = {f"input_blocks.{i}": block for i, block in enumerate(network.input_blocks)}
    outward = {f"output_blocks.{i}": block for i, block in enumerate(network.output_blocks)}
    return {**inward, "middle_block": network.middle_block, **outward, "out": network.out}


def form_for(network: Any, models: Sequence[tuple[str, str]], mode: str, without: Sequence[str] = ()) -> Form:
    """Of new aggregators for this network: of "full" each block but the last, whose models each make their own prediction, and those
    predictions; of "last" these alone."""
    blocks = list(blocks_of(network).items())
    aggregated = [blocks[-1]] if mode == "last" else [*blocks[:-2], blocks[-1]]
    channels = {name: next(layer.out_channels for layer in reversed(list(block)) if hasattr(layer, "out_channels"))
                for name, block in aggregated}
    context = next(module.attn2.to_k.in_features for module in network.modules() if hasattr(module, "attn2"))
    return Form(tuple(models), channels, width_for(next(iter(network.input_blocks))[0].out_channels),
                network.time_embed[-1].out_features, context, tuple(without))


class Ensemble:
    """The network is these models' ensemble inside `active()`: with `aggregators`, or without them their mean, of each block where they
    are `blockwise`, else of the predictions alone. `seen` is shown the maps."""

    seen: Seen | None = None

    def __init__(self, network: nn.Module, versions: Sequence[Version], aggregators: Aggregators | None, order: Sequence[int],
                 blockwise: bool, around: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        """`order`: which model the aggregators know as the first, the second, ...; `around`: what all need, while they are active."""
        self.network, self.versions, self.aggregators, self.order = network, versions, aggregators, order
        self.blockwise, self.around = blockwise, around
        self._state: tuple[Tensor, Tensor] | None = None       # of the call at hand: the models' mean embedding and text

    @contextmanager
    def active(self) -> Iterator[None]:
        """What others hang on the network's parts, with an instance's `forward` of their own too, runs for each model."""
        blocks = blocks_of(self.network)
        first, *_, last, out = blocks
        try:
            with ExitStack() as stack:
                for name, part in embeddings_of(self.network).items():
                    stack.enter_context(swapped(part, "forward", self._embedding(self._runs(name, part))))
                for name, block in blocks.items():
                    runs = self._runs(name, block)
                    forward = self._prediction(runs) if name == out else self._block(
                        name, runs, one=self.blockwise or name == first, aggregated=self.blockwise and name != last)
                    stack.enter_context(swapped(block, "forward", forward))
                stack.enter_context(self.around())
                yield
        finally:
            self._state = None

    def _runs(self, name: str, part: nn.Module) -> list[Forward]:
        return [version(name, part) for version in self.versions]

    def _embedding(self, runs: list[Forward]) -> Forward:
        """Of what is all's alike, (b, channels), or each one's own, (b, N, channels)."""
        def forward(given: Tensor) -> Tensor:
            return torch.cat([run(mine) for run, mine in zip(runs, [given] * len(runs) if given.ndim == 2 else given.unbind(1))], 1)

        return forward

    def _block(self, name: str, runs: list[Forward], one: bool, aggregated: bool) -> Forward:
        """`one`: its features are given to all alike; `aggregated`: and so is what it puts out."""
        def forward(x: Tensor, emb: Tensor, context: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            features = [x] * len(runs) if one else x.chunk(len(runs))
            embeddings, texts = emb.chunk(len(runs), 1), context.chunk(len(runs), 1)
            if self.aggregators is not None:
                self._state = mean(embeddings), mean(texts)
            found = [run(*each, *args, **kwargs) for run, *each in zip(runs, features, embeddings, texts)]
            return self._aggregated(name, found) if aggregated else torch.cat(found)

        return forward

    def _prediction(self, runs: list[Forward]) -> Forward:
        def forward(x: Tensor) -> Tensor:
            return self._aggregated("out", [run(mine) for run, mine in zip(runs, x.chunk(len(runs)))])

        return forward

    def _aggregated(self, name: str, features: list[Tensor]) -> Tensor:
        """Eq. 7."""
        if self.aggregators is None:
            return mean(features)
        features = [features[i] for i in self.order]
        maps = self.aggregators.at[name](features, *self._state)
        if self.seen is not None:
            self.seen(name, maps)
        total = maps[:, :1] * features[0].float()           # torch 2.1's addcmul does not cast
        for i, each in enumerate(features[1:], 1):
            total = torch.addcmul(total, maps[:, i:i + 1], each.float())
        return total.to(features[0].dtype)


def mean(several: Sequence[Tensor]) -> Tensor:
    """Summed in float32."""
    total = several[0].float()
    for each in several[1:]:
        total = total + each
    return (total / len(several)).to(several[0].dtype)


def as_it_is(name: str, part: nn.Module) -> Forward:
    """The network's own weights."""
    return part.forward


def of_network(other: nn.Module) -> Version:
    """Another network of the same kind."""
    return lambda name, part: other.get_submodule(name).forward
