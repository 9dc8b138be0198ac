"""The target `unet`: one expert, a U-Net trained on a part of the noise. eDiff-I, section 4.1."""
from __future__ import annotations

import json
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint as recomputed

from lib_mixdiff.train.checkpoint import Checkpoint
from lib_mixdiff.train.config import Config
from lib_mixdiff.train.target import Target, lighter


class UnetTarget(Target):
    """The checkpoint's U-Net, all of it."""

    home = "among the WebUI's checkpoints"

    def __init__(self, config: Config) -> None:
        super().__init__(config, [Checkpoint(Path(config.checkpoint or ""))])
        self.unet: Any = lighter(self.source.unet()).requires_grad_(True)
        for block in [*self.unet.input_blocks, self.unet.middle_block, *self.unet.output_blocks] if config.checkpointing else []:
            block.forward = partial(recomputed, block.forward, use_reentrant=False)  # is computed again on the way back

    @cached_property
    def _sha256(self) -> str:
        return self.source.sha256()

    def facts(self) -> dict[str, object]:
        return {"checkpoint": self._sha256}

    def beyond(self) -> nn.Module:
        """As it was at the start."""
        return self.unet if self.part.whole else lighter(self.source.unet()).to(self.abar.device)

    def write(self, path: Path, facts: dict[str, object]) -> None:
        """The whole checkpoint with this U-Net, the facts under "mixdiff"."""
        config = self.config.to_dict()
        trained = {name: config[name] for name in ("node", "complement", "noise") if config[name] is not None}
        found = {**trained, "range": [None] if self.part.whole else self.part.ranges(), **facts,
                 "source": self.source.path.name, "sha256": self._sha256}
        self.source.write(path, self.unet.state_dict(), json.dumps(found))

    def plan(self) -> dict[str, Any]:
        ranges = [None] if self.part.whole else self.part.ranges()
        expert = {"model": self.config.name, "text_encoder": "loaded"}
        return {"model": {"experts": [{**expert, "range": r} if r else expert for r in ranges]}}
