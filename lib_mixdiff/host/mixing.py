"""AMDM in one pass: its first steps are taken here by several models, and the sampler's own function takes the rest (Algorithm 1)."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import copy
from typing import Any

import torch
from modules import prompt_parser, shared
from torch import Tensor
from tqdm.auto import trange

from lib_mixdiff.amdm import advanced, own_mean
from lib_mixdiff.conds import Cond
from lib_mixdiff.errors import PlanError, inside, within
from lib_mixdiff.guides import LAST_TIMESTEP
from lib_mixdiff.host.clock import in_sigmas
from lib_mixdiff.host.encode import conds_of, unconds_of
from lib_mixdiff.host.job import unmixed
from lib_mixdiff.host.lora import calls_in
from lib_mixdiff.host.noise import Noise
from lib_mixdiff.host.prompts import spoken
from lib_mixdiff.host.protocols import Conds, Denoiser, Job
from lib_mixdiff.host.sampling import Sampling, refuse_controlnet
from lib_mixdiff.patching import swapped
from lib_mixdiff.plan import Amdm, AmdmModel
from lib_mixdiff.regions import active_regions

SHOWN = ("current_latent", "current_image", "id_live_preview")      # of the host's state: the preview


class Model:
    """One of those that are mixed: its sampling, and what the host's denoiser is told by it."""

    def __init__(self, sampling: Sampling, weight: float, eta: float) -> None:
        self.sampling, self.weight, self.eta = sampling, weight, eta
        self.arguments: dict[str, Any] = {}     # of the denoiser that are its own
        self.otherwise: Tensor | None = None    # what its noise has that the main one's has not


class Other(Model):
    """One beside the main one."""

    def __init__(self, asked: AmdmModel, index: int, main: Sampling, x: Tensor, noise: Tensor, jobs_noise: Tensor) -> None:
        p, self.asked, self.path = main.p, asked, ("amdm", "models", index)
        own = (jobs_noise if any(region.seed is not None for region in active_regions(asked.plan)) else noise).clone()
        if asked.seed is not None:
            Noise(p, {asked.seed: torch.ones(())}, len(noise)).into(own, p)
        self.job = job_of(asked, p)
        with within(self.path):
            with inside("prompt"):
                calls = calls_in(asked.prompt, p)
            with inside("plan"):
                sampling = Sampling(asked.plan, self.job, x, own, main, calls, f", {asked.name or f'model {index + 1}'}")
        super().__init__(sampling, asked.weight, asked.eta)
        self.otherwise = own - noise

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

    def __init__(self, amdm: Amdm, main: Sampling, x: Tensor, noise: Tensor, jobs_noise: Tensor, place: Sequence[str]) -> None:
        """`noise` is the main model's, `jobs_noise` without the seeds of its regions; `place`: where `amdm` stands in the plan."""
        self.amdm, self.main, self.p, self.clock, self.place = amdm, main, main.p, main.clock, [*place, "amdm"]
        self.sampler, self.denoiser = self.p.sampler, self.p.sampler.model_wrap_cfg
        self.others = [Other(each, index, main, x, noise, jobs_noise) for index, each in amdm.acting]
        self.answering = main                   # whose rows the host asks for

    @property
    def several(self) -> bool:
        """Whether several models have a hand in it."""
        return bool(self.others) or self.main.several

    def enter(self, stack: ExitStack, conds: Conds) -> None:
        for sampling in (self.main, *(other.sampling for other in self.others if other.asked.prompt is None)):
            sampling.refuse_weightless(conds)
        self.main.prepare(stack, conds)
        for other in self.others:
            other.prepare(stack, conds)
        func = self.sampler.func                # under guides, which act on what comes out of here
        stack.enter_context(swapped(self.sampler, "func", lambda *args, **kwargs: self.loop(func, *args, **kwargs)))
        self.main.lead(stack)

    def step(self, denoiser: Denoiser, text_cond: Cond, level: Tensor) -> None:
        self.answering.step(denoiser, text_cond, level)

    def loop(self, func: Any, model: Denoiser, x: Tensor, **kwargs: Any) -> Tensor:
        """In the place of the sampler's function, with its arguments."""
        if self.others:
            with within(self.place):
                count = self.count(kwargs)
            refuse_controlnet(prompt_parser.reconstruct_multicond_batch(kwargs["extra_args"]["cond"], 0)[1])
            self.clock.first = count
            x = self.mixed(model, x, count, kwargs)
            if count == self.clock.steps:
                return x
            self.main.alone()
            self.begin(count)
            if "sigmas" in kwargs:
                kwargs["sigmas"] = kwargs["sigmas"][count:]
            else:
                kwargs["timesteps"] = kwargs["timesteps"][:-count]
            callback = kwargs["callback"]
            kwargs["callback"] = lambda done: callback({**done, "i": done["i"] + count})
        with self.main.answering():
            return func(model, x, **kwargs)

    def count(self, kwargs: dict[str, Any]) -> int:
        """Of the mixed steps. The loop of a timestep sampler is a little shorter than what the host counts and its users know."""
        if "sigmas" not in kwargs and "timesteps" not in kwargs:
            raise unmixed(self.sampler.config.name)
        if not (length := self.clock.length(kwargs)):
            raise PlanError("steps", self.amdm.steps, "ask for more steps, or for more denoising", "{value}: this pass has no step to mix")
        return min(self.amdm.mixed(shared.state.sampling_steps), length)

    def mixed(self, denoiser: Denoiser, x: Tensor, count: int, kwargs: dict[str, Any]) -> Tensor:
        """The main model's latent after `count` steps."""
        models = [*self.others, Model(self.main, self.amdm.weight, self.amdm.eta)]        # the main one is asked last
        for k, model in enumerate(models):
            model.sampling.together, model.sampling.span = [each.sampling for each in models], (k / len(models), (k + 1) / len(models))
        levels = (kwargs["sigmas"] if "sigmas" in kwargs else kwargs["timesteps"].flip(0))[:count + 1].tolist()
        sigmas = [self.clock.moment(level, step).sigma for step, level in enumerate(levels)]
        latents = [x if self.amdm.mix == "average" else self.started(model, x, kwargs) for model in models]
        arguments = [{**kwargs["extra_args"], **model.arguments} for model in models]
        order = [-1, *range(len(self.others))]              # the main one is mixed first
        weights, etas = [models[k].weight for k in order], [models[k].eta for k in order]
        title = f"AMDM: {len(models)} models, {len(models) * count} guided predictions"
        for i in trange(count, desc=title, disable=kwargs.get("disable")):
            means = []
            for model, latent, own in zip(models, latents, arguments):
                with self.asking(model.sampling, i):
                    out = denoiser(latent, latent.new_full(latent.shape[:1], levels[i]), **own)
                latent = latent.float() / self.scale(sigmas[i])
                denoised = out.float() if in_sigmas(denoiser) else latent * (1 + sigmas[i]**2)**0.5 - sigmas[i] * out.float()
                means.append(own_mean(latent, denoised, sigmas[i], sigmas[i + 1]))
            moved = advanced([means[k] for k in order], weights, etas, self.amdm.mix)
            if self.main.guiding is not None:
                moved = [self.main.guiding.kept(latent, means[-1]) for latent in moved]
            latents = [(self.scale(sigmas[i + 1]) * latent).to(x.dtype) for latent in (*moved[1:], moved[0])]
            level = levels[i] if in_sigmas(denoiser) else 0
            kwargs["callback"]({"x": latents[-1], "i": i, "sigma": level, "sigma_hat": level, "denoised": denoised})
        return latents[-1]

    def scale(self, sigma: float) -> float:
        """Of the sampler's latents, against those that preserve the variance."""
        return (1 + sigma**2)**0.5 if in_sigmas(self.denoiser) else 1.0

    def started(self, model: Model, x: Tensor, kwargs: dict[str, Any]) -> Tensor:
        """The latent with which a model begins: the main one's, but for noise and guides of its own."""
        if model.otherwise is None:
            return x
        x = x + self.noisiness(kwargs) * model.otherwise.to(x)
        return x if model.sampling.guiding is None else model.sampling.guiding.started(x, kwargs)

    def noisiness(self, kwargs: dict[str, Any]) -> float:
        """How much of the noise the loop's first latent has (modules/sd_samplers_kdiffusion.py, modules/sd_samplers_timesteps.py)."""
        noise_alone = getattr(self.p, "init_latent", None) is None and not getattr(self.p, "is_hr_pass", False)
        more = getattr(shared.opts, "img2img_extra_noise", 0.0)
        if "sigmas" in kwargs:
            sigma = float(kwargs["sigmas"][0])
            if noise_alone:
                return self.scale(sigma) if getattr(shared.opts, "sgm_noise_multiplier", False) else sigma
            return sigma + more
        if noise_alone:
            return 1.0
        times = kwargs["timesteps"]             # the noise is that of the timestep before the loop's first one
        sigma = self.clock.moment(min(float(2 * times[-1] - times[-2]), LAST_TIMESTEP - 1)).sigma
        return (sigma + more) / (1 + sigma**2)**0.5

    def begin(self, step: int) -> None:
        """The host's denoiser counts its calls: the next one is the first of this step."""
        self.denoiser.step = self.sampler.config.total_steps(step)

    @contextmanager
    def asking(self, sampling: Sampling, step: int) -> Iterator[None]:
        """Of the others there is no preview, and no picture of an interrupted job."""
        self.begin(step)
        latent, shown = self.sampler.last_latent, {name: getattr(shared.state, name) for name in SHOWN if hasattr(shared.state, name)}
        self.answering = sampling
        try:
            with sampling.answering():
                yield
        finally:
            self.answering = self.main
            if sampling is not self.main:
                self.sampler.last_latent = latent
                for name, value in shown.items():
                    setattr(shared.state, name, value)


def job_of(asked: AmdmModel, p: Job) -> Job:
    """The job as this model is told it."""
    job = copy(p)
    if asked.prompt is not None:
        job.prompt, job.prompts = asked.prompt, [spoken(asked.prompt)] * len(p.prompts)
        job.hr_prompts = job.prompts
    if asked.negative_prompt is not None:
        job.negative_prompts = job.hr_negative_prompts = [asked.negative_prompt] * len(p.prompts)
    job.cfg_scale = p.cfg_scale if asked.cfg_scale is None else asked.cfg_scale
    return job
