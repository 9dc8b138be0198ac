"""Classifier-free guidance around the network, and the callbacks on both sides of it."""
from types import SimpleNamespace
from typing import Any

import torch
from modules import prompt_parser, script_callbacks, sd_samplers_common, shared
from modules.shared import opts, state
from torch import Tensor, nn


class CFGDenoiser(nn.Module):
    """What the sampler's function calls: x (b, c, h, w) and noise level (b,) to the guided prediction.

    Rows of the network: every cond (AND part) of image 0, of image 1, ..., then one uncond per image.
    """

    wrapper: type[nn.Module]                    # of the network
    mask_before_denoising = False               # else behind guidance

    def __init__(self, sampler: Any) -> None:
        super().__init__()
        self.sampler, self.p = sampler, None
        self.model_wrap: nn.Module | None = None
        self.step, self.padded_cond_uncond = 0, False            # calls so far; whether one of them was padded

    @property
    def inner_model(self) -> nn.Module:
        if self.model_wrap is None:
            self.model_wrap = self.wrapper(shared.sd_model)
        return self.model_wrap

    def get_pred_x0(self, x_in: Tensor, x_out: Tensor, sigma: Tensor) -> Tensor:
        return x_out

    def combine_denoised(self, x_out: Tensor, conds_list: list[list[tuple[int, float]]], uncond: Tensor, cond_scale: float) -> Tensor:
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

    def forward(self, x: Tensor, sigma: Tensor, uncond: Any, cond: Any, cond_scale: float, s_min_uncond: float,
                image_cond: Tensor) -> Tensor:
        if state.interrupted or state.skipped:
            raise sd_samplers_common.InterruptedException
        if self.mask_before_denoising:
            x = self.p.blended(x, self, sigma)
        conds_list, tensor = prompt_parser.reconstruct_multicond_batch(cond, self.step)
        uncond = prompt_parser.reconstruct_cond_batch(uncond, self.step)
        images = [i for i, parts in enumerate(conds_list) for _ in parts] + list(range(len(conds_list)))        # by row
        at = state.sampling_step, state.sampling_steps
        params = script_callbacks.CFGDenoiserParams(x[images], image_cond[images], sigma[images], *at, tensor, uncond, self)
        script_callbacks.cfg_denoiser_callback(params)
        tensor, uncond = params.text_cond, params.text_uncond
        self.padded_cond_uncond = False
        if opts.pad_cond_uncond and tensor.shape[1] != uncond.shape[1]:
            tensor, uncond = self.pad_cond_uncond(tensor, uncond)
        contexts, size = [tensor, uncond], len(uncond) * (2 if opts.batch_cond_uncond else 1)
        if tensor.shape[1] == uncond.shape[1]:          # else the texts' lengths ask for several calls
            contexts, size = [torch.cat(contexts)], len(params.x) if opts.batch_cond_uncond else len(uncond)
        texts = [text for context in contexts for text in context.split(size)]
        by_call = (rows.split([len(text) for text in texts]) for rows in (params.x, params.sigma, params.image_cond))
        x_out = torch.cat([self.inner_model(x, sigma, cond={"c_crossattn": [text], "c_concat": [image]})
                           for text, x, sigma, image in zip(texts, *by_call)])
        script_callbacks.cfg_denoised_callback(script_callbacks.CFGDenoisedParams(x_out, *at, self.inner_model))
        first_rows = [parts[0][0] for parts in conds_list]
        self.sampler.last_latent = self.get_pred_x0(params.x[first_rows], x_out[first_rows], sigma)
        denoised = self.combine_denoised(x_out, conds_list, uncond, cond_scale)
        if not self.mask_before_denoising:
            denoised = self.p.blended(denoised, self, sigma)
        after = SimpleNamespace(x=denoised, sampling_step=at[0], total_sampling_steps=at[1])
        script_callbacks.cfg_after_cfg_callback(after)
        self.step += 1
        return after.x
