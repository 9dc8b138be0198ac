"""AMDM in one pass: its first steps are taken here by several models, and the sampler's own function takes the rest (Algorithm 1)."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from copy import copy
from typing import Any

import torch
from modules import prompt_parser, shared
from torch import Tensor
from tqdm.auto import trange

from lib_mixdiff.amdm import advanced, own_mean
from lib_mixdiff.conds import Cond
from lib_mixdiff.errors import inside, within
from lib_mixdiff.host.clock import in_sigmas
from lib_mixdiff.host.encode import conds_of, unconds_of
from lib_mixdiff.host.lora import calls_in
from lib_mixdiff.host.noise import Noise
from lib_mixdiff.host.prompts import spoken
from lib_mixdiff.host.protocols import Conds, Denoiser, Job
from lib_mixdiff.host.sampling import Sampling, refuse_controlnet
from lib_mixdiff.patching import swapped
from lib_mixdiff.plan import Amdm, AmdmModel

CALLS = "mixdiff U-Net calls"       # key of what a picture has cost


class Other:
    """A model beside the main one."""

    def __init__(self, asked: AmdmModel, index: int, p: Job, x: Tensor, noise: Tensor, main: Sampling) -> None:
        self.asked, self.job, self.path = asked, told(asked, p), ("amdm", "models", index)
        own = noise.clone()
        if asked.seed is not None:
            Noise(p, {asked.seed: torch.ones(())}, len(noise)).into(own, p)
        with within(self.path):
            with inside("prompt"):
                calls = calls_in(asked.prompt, p)
            with inside("plan"):
                self.sampling = Sampling(asked.plan, self.job, x, own, main.clock, calls, f", {asked.name or f'model {index + 2}'}")
        if hasattr(self.job, "lora_hashes"):    # the next one notes its own beside them
            p.lora_hashes = self.job.lora_hashes
        self.otherwise = own - noise            # what its noise has that the job's has not
        self.arguments: dict[str, Any] = {}     # of the denoiser that are its own

    def prepare(self, stack: ExitStack, conds: Conds) -> None:
        """`conds` are the job's."""
        self.arguments["cond_scale"] = self.job.cfg_scale
        if self.asked.prompt is not None:
            self.arguments["cond"] = conds = conds_of(self.job)
        if self.asked.negative_prompt is not None:
            self.arguments["uncond"] = unconds_of(self.job)
        with within(self.path), inside("plan"):
            self.sampling.prepare(stack, conds)


class Mixing:
    """The main model's sampling, with those of the others in its first steps. Asking a model is asking the host's denoiser with that
    model's arguments, while its sampling answers."""

    def __init__(self, amdm: Amdm, main: Sampling, x: Tensor, noise: Tensor) -> None:
        self.amdm, self.main, self.p = amdm, main, main.p
        self.sampler, self.denoiser, self.clock = self.p.sampler, self.p.sampler.model_wrap_cfg, main.clock
        self.others = [Other(each, index, self.p, x, noise, main) for index, each in amdm.acting]
        self.answering = main                   # whose rows the host asks for
        self.calls = 0                          # of the U-Net

    def enter(self, stack: ExitStack, conds: Conds) -> None:
        self.main.prepare(stack, conds)
        for other in self.others:
            other.prepare(stack, conds)
        func = self.sampler.func                # under guides, which act on what comes out of here
        stack.enter_context(swapped(self.sampler, "func", lambda *args, **kwargs: self.loop(func, *args, **kwargs)))
        self.main.lead(stack)
        if self.others:
            stack.enter_context(self.counting())

    def step(self, denoiser: Denoiser, text_cond: Cond, level: Tensor) -> None:
        self.answering.step(denoiser, text_cond, level)

    @contextmanager
    def counting(self) -> Iterator[None]:
        """The U-Net's calls, for the infotext."""
        def count(*_: object) -> None:
            self.calls += 1

        handle = shared.sd_model.model.diffusion_model.register_forward_pre_hook(count)
        try:
            yield
        finally:
            handle.remove()
        hires, texts = getattr(self.p, "is_hr_pass", False), self.p.extra_generation_params
        texts[CALLS] = f"{texts[CALLS]} + {self.calls}" if hires and CALLS in texts else str(self.calls)

    def loop(self, func: Any, model: Denoiser, x: Tensor, **kwargs: Any) -> Tensor:
        """In the place of the sampler's function, with its arguments."""
        with within(["hires"] if getattr(self.p, "is_hr_pass", False) else []), inside("amdm"):
            count = self.amdm.mixed(shared.state.sampling_steps) if self.others else 0
        count = min(count, self.clock.steps)            # timestep samplers make fewer than the host says
        if count:
            refuse_controlnet(prompt_parser.reconstruct_multicond_batch(kwargs["extra_args"]["cond"], 0)[1])
            x = self.mixed(model, x, count, kwargs)
            if count == self.clock.steps:
                return x
            self.begin(count)
            self.clock.first = count
            self.main.alone()
            if "sigmas" in kwargs:
                kwargs["sigmas"] = kwargs["sigmas"][count:]
            else:
                kwargs["timesteps"] = kwargs["timesteps"][:-count]
            callback = kwargs["callback"]
            kwargs["callback"] = lambda told: callback({**told, "i": told["i"] + count})
        with self.main.answering():
            return func(model, x, **kwargs)

    def mixed(self, model: Denoiser, x: Tensor, count: int, kwargs: dict[str, Any]) -> Tensor:
        """The main model's latent after `count` steps."""
        several = [self.main, *(other.sampling for other in self.others)]
        arguments = [{**kwargs["extra_args"], **own} for own in ({}, *(other.arguments for other in self.others))]
        weights, etas = zip(*((each.weight, each.eta) for each in (self.amdm, *(other.asked for other in self.others))))
        for each in several:
            each.together = [*several[1:], self.main]
        levels = kwargs["sigmas"] if "sigmas" in kwargs else kwargs["timesteps"].flip(0)
        levels = levels[:count + 1].tolist()
        sigmas = [self.clock.moment(level, step).sigma for step, level in enumerate(levels)]
        latents = [x, *(self.started(other, x, sigmas[0], kwargs) for other in self.others)]
        desc = f"AMDM: {len(several)} models, {len(several) * count} guided predictions in {count} steps"
        for i in trange(count, desc=desc, disable=kwargs.get("disable")):
            now, then = sigmas[i:i + 2]
            before, after = (self.scale(sigma) for sigma in (now, then))
            means, ended = [], shared.state.sampling_step
            for k, (each, latent, own) in enumerate(reversed([*zip(several, latents, arguments)])):     # the main one last
                each.part = 1 / len(several)
                shared.state.sampling_step = ended + (k * each.part if i else 0)    # the host's own count begins with the second step
                with self.asking(each, i):
                    out = model(latent, latent.new_full(latent.shape[:1], levels[i]), **own)
                latent = latent.float() / before
                denoised = out.float() if in_sigmas(model) else latent * (1 + now**2) ** 0.5 - now * out.float()
                means.insert(0, own_mean(latent, denoised, now, then))
            shared.state.sampling_step = ended
            latents = [after * latent for latent in advanced(means, weights, etas, self.amdm.mix)]
            if self.main.guiding is not None:
                latents = [self.main.guiding.kept(latent, after * means[0]) for latent in latents]
            latents = [latent.to(x.dtype) for latent in latents]
            level = levels[i] if in_sigmas(model) else 0
            kwargs["callback"]({"x": latents[0], "i": i, "sigma": level, "sigma_hat": level, "denoised": denoised})
        return latents[0]

    def scale(self, sigma: float) -> float:
        """Of the sampler's latents, against those that preserve the variance."""
        return (1 + sigma**2) ** 0.5 if in_sigmas(self.denoiser) else 1.0

    def started(self, other: Other, x: Tensor, sigma: float, kwargs: dict[str, Any]) -> Tensor:
        """The latent with which another model begins: the main one's, but for noise and guides of its own."""
        noisy = sigma * self.scale(sigma) / (1 + sigma**2) ** 0.5
        alone = getattr(self.p, "init_latent", None) is None and not getattr(self.p, "is_hr_pass", False)
        if alone and (not in_sigmas(self.denoiser) or getattr(shared.opts, "sgm_noise_multiplier", False)):
            noisy = self.scale(sigma)           # as modules/sd_samplers_kdiffusion.py, sample, has it
        x = x + noisy * other.otherwise.to(x)
        return x if other.sampling.guiding is None else other.sampling.guiding.started(x, kwargs)

    def begin(self, step: int) -> None:
        """The host's denoiser counts its calls: the next one is the first of this step."""
        self.denoiser.step = self.sampler.config.total_steps(step)

    @contextmanager
    def asking(self, sampling: Sampling, step: int) -> Iterator[None]:
        """Of the others, no preview and no picture of an interrupted job."""
        self.begin(step)
        self.answering, kept = sampling, (self.sampler.last_latent, shared.state.current_latent)
        try:
            with sampling.answering():
                yield
        finally:
            self.answering = self.main
            if sampling is not self.main:
                self.sampler.last_latent, shared.state.current_latent = kept


def told(asked: AmdmModel, p: Job) -> Job:
    """The job as this model is told it."""
    job = copy(p)
    if asked.prompt is not None:
        job.prompt, job.prompts = asked.prompt, [spoken(asked.prompt)] * len(p.prompts)
        job.hr_prompts = job.prompts
    if asked.negative_prompt is not None:
        job.negative_prompts = job.hr_negative_prompts = [asked.negative_prompt] * len(p.prompts)
    job.cfg_scale = p.cfg_scale if asked.cfg_scale is None else asked.cfg_scale
    return job
