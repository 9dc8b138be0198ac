"""The target `afa`: the aggregators of an ensemble, whose U-Nets stay as they are. Wang et al., arXiv:2405.17082, section 3.4."""
from __future__ import annotations

import json
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint as recomputed

from lib_mixdiff.aggregator import Aggregators
from lib_mixdiff.ensemble import Ensemble, as_it_is, blocks_of, form_for, of_network
from lib_mixdiff.train.atomic import replacing
from lib_mixdiff.train.checkpoint import Checkpoint
from lib_mixdiff.train.config import Config
from lib_mixdiff.train.faults import TrainError
from lib_mixdiff.train.target import Target, lighter

TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class AfaTarget(Target):
    """The checkpoints' U-Nets as one, of which only the aggregators learn."""

    home = "in the WebUI's folder models/AFA"

    def __init__(self, config: Config) -> None:
        super().__init__(config, [Checkpoint(Path(path)) for path in config.models])
        for other in self.sources[1:]:
            alike(self.source, other)
        # Nothing of theirs is learned, so they may have the type in which they compute.
        self.unets = nn.ModuleList(halved(lighter(each.unet()), TYPES[config.precision]) for each in self.sources)
        self.unet: Any = self.unets[0]
        self._ddp_params_and_buffers_to_ignore = [name for name, _ in self.named_parameters(remove_duplicate=False)]    # all have them
        names = [each.path.stem for each in self.sources]
        torch.manual_seed(config.seed)
        self.aggregators = Aggregators(form_for(self.unet, list(zip(names, self._sha256)), config.mode, config.without))
        versions = [as_it_is, *map(of_network, self.unets[1:])]
        self._ensemble = Ensemble(self.unet, versions, self.aggregators, range(len(names)), config.mode == "full").active()
        self._ensemble.__enter__()  # for good: the network is ours
        for block in blocks_of(self.unet).values() if config.checkpointing else []:
            block.forward = partial(recomputed, block.forward, use_reentrant=False)  # all models' are computed again on the way back

    @cached_property
    def _sha256(self) -> list[str]:
        return [each.sha256() for each in self.sources]

    def facts(self) -> dict[str, object]:
        return {"models": self._sha256}

    def write(self, path: Path, facts: dict[str, object]) -> None:
        """The aggregators in float16, with what they are for under "mixdiff"."""
        state = {name: each.detach().to("cpu", torch.float16).contiguous() for name, each in self.aggregators.state_dict().items()}
        about = {"aggregator": self.aggregators.form.to_dict(), "trained": {**facts, "lr": self.config.lr, "batch": self.config.batch}}
        with replacing(path) as part:
            safetensors.torch.save_file(state, part, metadata={"mixdiff": json.dumps(about)})

    def plan(self) -> dict[str, Any]:
        names = [name for name, _ in self.aggregators.form.models]
        mode = {} if self.config.mode == "full" else {"mode": self.config.mode}
        return {"model": {"afa": {"aggregator": self.config.name, "models": names, **mode}}}


def halved(unet: Any, dtype: torch.dtype) -> Any:
    """The U-Net in this type, but for its normalisations, which `ldm` has in float32."""
    for module in unet.modules():
        if not isinstance(module, (nn.GroupNorm, nn.LayerNorm)):
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(dtype)
    return unet


def alike(one: Checkpoint, other: Checkpoint) -> None:
    """TrainError where two cannot be one network's models."""
    for what, mine, theirs in (
            ("another architecture", one.shapes, other.shapes),
            ("another prediction (eps or v)", one.parameterization, other.parameterization),
            ("another noise schedule", one.abar.tolist(), other.abar.tolist()),
            ("latents of another scale", one.scale_factor, other.scale_factor)):
        if mine != theirs:
            raise TrainError(f"models: {other.path.name} has {what} than {one.path.name}; an ensemble takes models that differ in "
                             "their weights only.")
