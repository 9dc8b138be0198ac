"""What mixdiff uses of the WebUI's objects; held to the real ones by tests/test_contract.py."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor, nn


class Sampler(Protocol):
    """modules.sd_samplers_common.Sampler: a new one for each pass of txt2img, one for all of img2img."""
    model_wrap_cfg: Denoiser
    func: Callable[..., Tensor]         # the loop; read when it starts
    last_latent: Tensor                 # the picture of an interrupted job
    config: Any                         # modules.sd_samplers_common.SamplerData

    def launch_sampling(self, steps: int, func: Callable[[], Tensor]) -> Tensor: ...


class Denoiser(Protocol):
    """modules.sd_samplers_cfg_denoiser.CFGDenoiser: guidance, around `inner_model`, which is `model_wrap`."""
    p: Job
    sampler: Sampler
    step: int                   # calls of it so far in this pass
    forward: Callable[..., Tensor]
    last_noise_uncond: Tensor   # where a sampler has set need_last_noise_uncond
    model_wrap: nn.Module | None
    inner_model: nn.Module      # makes `model_wrap` where that is None

    def __call__(self, x: Tensor, level: Tensor, **arguments: Any) -> Tensor: ...

    def pad_cond_uncond(self, cond: Any, uncond: Any) -> tuple[Any, Any]: ...

    def pad_cond_uncond_v0(self, cond: Any, uncond: Any) -> tuple[Any, Any]: ...


class Job(Protocol):
    """modules.processing.StableDiffusionProcessing, as far as it is read."""
    sampler: Sampler
    sampler_name: str
    steps: int
    width: int
    height: int
    cfg_scale: float
    prompt: str | list[str]
    prompts: list[str]          # of the batch, without what calls extra networks
    negative_prompts: list[str]
    hr_prompts: list[str]
    hr_negative_prompts: list[str]
    extra_generation_params: dict[str, Any]
    lora_hashes: dict[str, str]             # for the infotext
    all_seeds: list[int]        # of the job's images
    iteration: int              # of batch_size images
    batch_size: int
    n_iter: int                 # batches of the job
    rng: Any                    # modules.rng.ImageRNG, from which samplers draw
    initial_noise_multiplier: float         # of img2img
    init_latent: Tensor | None  # of img2img, which begins with more than noise
    nmask: Tensor | None        # of img2img: 1 where the latent is drawn anew
    sample: Callable[..., Any]
    is_hr_pass: bool
    hr_sampler_name: str | None
    hr_second_pass_steps: int
    hr_upscale_to_x: int
    hr_upscale_to_y: int
    truncate_x: int             # latent cells that the hires pass cuts off, both sides together
    truncate_y: int
    paste_to: tuple[int, int, int, int] | None      # px of the picture: left, top, width, height that "only masked" draws
    overlay_images: list[Any] | None                # of the picture's size
    _mixdiff: object            # ours: host.run.Run
    _mixdiff_looks: list[tuple[int, Any]]           # ours: by the job's picture, where its painted words look
    _mixdiff_checkpoints: Any   # ours: host.checkpoints.Checkpoints


class Conds(Protocol):
    """modules.prompt_parser.MulticondLearnedConditioning: for each prompt its `AND` parts, each with `weight` and `schedules`."""
    batch: list[list[Any]]


class Saved(Protocol):
    """modules.script_callbacks.ImageSaveParams: a picture about to be saved."""
    filename: str
    pnginfo: dict[str, Any]     # the texts of its file; the infotext is under "parameters"
