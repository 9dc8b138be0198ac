"""What mixdiff uses of the WebUI's objects; held to the real ones by tests/test_contract.py."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor, nn


class Sampler(Protocol):
    """modules.sd_samplers_common.Sampler: a new one for each pass."""
    model_wrap_cfg: Denoiser

    def launch_sampling(self, steps: int, func: Callable[[], Tensor]) -> Tensor: ...


class Denoiser(Protocol):
    """modules.sd_samplers_cfg_denoiser.CFGDenoiser: guidance, around `inner_model`, which is `model_wrap`."""
    p: Job
    model_wrap: nn.Module
    inner_model: nn.Module


class Job(Protocol):
    """modules.processing.StableDiffusionProcessing, as far as it is read."""
    sampler: Sampler
    sampler_name: str
    steps: int
    width: int
    height: int
    cfg_scale: float
    prompt: str | list[str]
    extra_generation_params: dict[str, Any]
    sample: Callable[..., Any]
    _mixdiff: object            # ours: host.run.Run


class Conds(Protocol):
    """modules.prompt_parser.MulticondLearnedConditioning: for each prompt its `AND` parts, each with `weight` and `schedules`."""
    batch: list[list[Any]]
