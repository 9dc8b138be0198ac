"""Classifier-free guidance around the network, and the callbacks on both sides of it."""
from __future__ import annotations

from typing import Any

import torch
from modules import prompt_parser, sd_samplers_common, shared
from modules.errors import NotHere
from modules.script_callbacks import (
    AfterCFGCallbackParams,
    CFGDenoisedParams,
    CFGDenoiserParams,
    cfg_after_cfg_callback,
    cfg_denoised_callback,
    cfg_denoiser_callback,
)
from modules.shared import opts, state
from torch import Tensor, nn


class CFGDenoiser(nn.Module):
    """What the sampler's function calls: x (b, c, h, w) and noise level (b,) to the guided prediction.

    Rows of the network: every cond (AND part) of image 0, of image 1, ..., then one uncond per image.
    """

    mask_before_denoising = False

    def __init__(self, sampler: Any) -> None:
        super().__init__()
        self.sampler, self.p = sampler, None
        self.model_wrap: nn.Module | None = None
        self.mask = self.nmask = self.init_latent = None
        self.steps: int | None = None               # as the user said
        self.total_steps: int | None = None         # calls that this makes
        self.step = 0                               # calls so far
        self.image_cfg_scale = self.last_noise_uncond = None
        self.padded_cond_uncond = self.need_last_noise_uncond = False
        self.cond_scale_miltiplier = 1.0            # the WebUI's spelling

    @property
    def inner_model(self) -> nn.Module:
        raise NotImplementedError

    def get_pred_x0(self, x_in: Tensor, x_out: Tensor, sigma: Tensor) -> Tensor:
        return x_out

    def update_inner_model(self) -> None:
        self.model_wrap = None
        self.sampler.sampler_extra_args["cond"], self.sampler.sampler_extra_args["uncond"] = self.p.get_conds()

    def combine_denoised(self, x_out: Tensor, conds_list: list[list[tuple[int, float]]], uncond: Tensor,
                         cond_scale: float) -> Tensor:
        """U + sum_j s b_j (C_j - U) (Liu et al. 2022, composable diffusion)."""
        base = x_out[-uncond.shape[0]:]
        result = base.clone()
        for i, parts in enumerate(conds_list):
            for row, weight in parts:
                result[i] += weight * cond_scale * (x_out[row] - base[i])
        return result

    def pad_cond_uncond(self, cond: Tensor, uncond: Tensor) -> tuple[Tensor, Tensor]:
        """The shorter one gets the chunks of an empty prompt."""
        empty = shared.sd_model.cond_stage_model_empty_prompt               # (1, 77, c)
        longest = max(cond.shape[1], uncond.shape[1])
        padded = [torch.cat([c, empty.repeat(len(c), (longest - c.shape[1]) // empty.shape[1], 1)], dim=1) for c in (cond, uncond)]
        self.padded_cond_uncond = True
        return padded[0], padded[1]

    def _network(self, x_in: Tensor, sigma_in: Tensor, image_cond_in: Tensor, tensor: Tensor, uncond: Tensor, images: int,
                 skip_uncond: bool) -> Tensor:
        """All rows: in one call, or in several if the texts' lengths or `batch_cond_uncond` ask for it."""
        def rows(a: int, b: int, context: Tensor) -> Tensor:
            cond = {"c_crossattn": [context], "c_concat": [image_cond_in[a:b]]}
            return self.inner_model(x_in[a:b], sigma_in[a:b], cond=cond)

        if tensor.shape[1] == uncond.shape[1] or skip_uncond:
            context = tensor if skip_uncond else torch.cat([tensor, uncond])
            if opts.batch_cond_uncond:              # image_cond_in has the dropped rows too, as in the WebUI
                return self.inner_model(x_in, sigma_in, cond={"c_crossattn": [context], "c_concat": [image_cond_in]})
            return torch.cat([rows(a, a + images, context[a:a + images]) for a in range(0, len(x_in), images)])
        size, conds = images * (2 if opts.batch_cond_uncond else 1), tensor.shape[0]
        pieces = [rows(a, min(a + size, conds), tensor[a:a + size]) for a in range(0, conds, size)]
        return torch.cat([*pieces, rows(conds, len(x_in), uncond)])

    def forward(self, x: Tensor, sigma: Tensor, uncond: Any, cond: Any, cond_scale: float, s_min_uncond: float,
                image_cond: Tensor) -> Tensor:
        if state.interrupted or state.skipped:
            raise sd_samplers_common.InterruptedException
        if self.p.refiner_checkpoint_info is not None:
            raise NotHere("minihost has no refiner: take refiner_checkpoint out of the request, or use the WebUI.")
        conds_list, tensor = prompt_parser.reconstruct_multicond_batch(cond, self.step)
        uncond = prompt_parser.reconstruct_cond_batch(uncond, self.step)
        images = len(conds_list)
        image_of_row = [i for i, parts in enumerate(conds_list) for _ in parts] + list(range(images))
        params = CFGDenoiserParams(x[image_of_row], image_cond[image_of_row], sigma[image_of_row], state.sampling_step,
                                   state.sampling_steps, tensor, uncond, self)
        cfg_denoiser_callback(params)
        x_in, sigma_in, tensor, uncond = params.x, params.sigma, params.text_cond, params.text_uncond

        skip_uncond = False
        if opts.skip_early_cond and self.step / self.total_steps <= opts.skip_early_cond:
            skip_uncond = True
            self.p.extra_generation_params["Skip Early CFG"] = opts.skip_early_cond
        elif (self.step % 2 or opts.s_min_uncond_all) and s_min_uncond > 0 and sigma[0] < s_min_uncond:
            skip_uncond = True
            self.p.extra_generation_params["NGMS"] = s_min_uncond
            if opts.s_min_uncond_all:
                self.p.extra_generation_params["NGMS all steps"] = True
        if skip_uncond:
            x_in, sigma_in = x_in[:-images], sigma_in[:-images]
        self.padded_cond_uncond = False
        if opts.pad_cond_uncond and tensor.shape[1] != uncond.shape[1]:
            tensor, uncond = self.pad_cond_uncond(tensor, uncond)
        x_out = self._network(x_in, sigma_in, params.image_cond, tensor, uncond, images, skip_uncond)

        first_rows = [parts[0][0] for parts in conds_list]
        if skip_uncond:
            x_out = torch.cat([x_out, x_out[first_rows]])
        cfg_denoised_callback(CFGDenoisedParams(x_out, state.sampling_step, state.sampling_steps, self.inner_model))
        if self.need_last_noise_uncond:
            self.last_noise_uncond = x_out[-images:].clone()
        denoised = self.combine_denoised(x_out, conds_list, uncond, 1.0 if skip_uncond else cond_scale * self.cond_scale_miltiplier)
        self.sampler.last_latent = self.get_pred_x0(x_in[first_rows], x_out[first_rows], sigma)
        sd_samplers_common.store_latent(self.get_pred_x0(x_in[first_rows], denoised, sigma))
        after = AfterCFGCallbackParams(denoised, state.sampling_step, state.sampling_steps)
        cfg_after_cfg_callback(after)
        self.step += 1
        return after.x
