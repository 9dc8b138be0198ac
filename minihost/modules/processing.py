"""One job: from the request to the pictures, with the scripts' hooks in the WebUI's order."""
import json
import random
import re
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from modules import devices, infotext_utils, prompt_parser, rng, sd_models, sd_samplers, shared
from modules.errors import NotHere
from modules.shared import opts, state
from PIL import Image
from torch import Tensor

NETWORK = re.compile(r"<\w+:[^>]+>")


@dataclass(repr=False)
class StableDiffusionProcessing:
    """The request (the annotated fields) and the state of the job."""

    prompt: str = ""
    negative_prompt: str = ""
    seed: int = -1
    sampler_name: str | None = None
    scheduler: str | None = None
    batch_size: int = 1
    n_iter: int = 1
    steps: int = 50
    cfg_scale: float = 7.0
    width: int = 512
    height: int = 512
    override_settings: dict[str, Any] | None = None
    override_settings_restore_afterwards: bool = True
    refiner_checkpoint: str | None = None
    disable_extra_networks: bool = False
    enable_hr: bool = False

    cached_uc, cached_c = [None, None], [None, None]        # shared by all jobs, as in the WebUI
    scripts = sampler = c = uc = rng = sd_model_name = sd_model_hash = refiner_checkpoint_info = None
    all_prompts = all_negative_prompts = all_seeds = all_subseeds = prompts = negative_prompts = seeds = subseeds = None
    script_args, iteration, subseed_strength = (), 0, 0

    def __post_init__(self) -> None:
        self.extra_generation_params: dict[str, Any] = {}
        self.override_settings = self.override_settings or {}

    def get_conds_with_caching(self, function: Any, required_prompts: Any, cache: list) -> Any:
        steps = sd_samplers.find_sampler_config(self.sampler_name).total_steps(self.steps)
        params = (required_prompts, steps, opts.comma_padding_backtrack, shared.sd_model.sd_checkpoint_info)
        if cache[0] != params:
            cache[:] = params, function(shared.sd_model, required_prompts, steps)
        return cache[1]

    def setup_conds(self) -> None:
        prompts = prompt_parser.SdConditioning(self.prompts, width=self.width, height=self.height)
        negative = prompt_parser.SdConditioning(self.negative_prompts, True, self.width, self.height)
        self.uc = self.get_conds_with_caching(prompt_parser.get_learned_conditioning, negative, self.cached_uc)
        self.c = self.get_conds_with_caching(prompt_parser.get_multicond_learned_conditioning, prompts, self.cached_c)


class StableDiffusionProcessingTxt2Img(StableDiffusionProcessing):
    def sample(self, conditioning: Any, unconditional_conditioning: Any, seeds: list[int], subseeds: list[int],
               subseed_strength: float, prompts: list[str]) -> Tensor:
        self.sampler = sd_samplers.create_sampler(self.sampler_name, shared.sd_model)
        x = self.rng.next()
        self.scripts.process_before_every_sampling(self, x=x, noise=x, c=conditioning, uc=unconditional_conditioning)
        samples = self.sampler.sample(self, x, conditioning, unconditional_conditioning,
                                      image_conditioning=x.new_zeros(len(x), 5, 1, 1))      # for inpainting models only
        for feature, asked in (("hires pass", self.enable_hr), ("refiner", self.refiner_checkpoint_info)):
            if asked:                   # refused only here, so that a script may refuse first
                raise NotHere(f"minihost has no {feature}: take it out of the request, or use the WebUI.")
        return samples


class Processed:
    """The result of a job."""

    OF_JOB = ("all_prompts", "all_negative_prompts", "all_seeds", "all_subseeds", "width", "height", "sampler_name", "cfg_scale",
              "steps", "batch_size", "sd_model_name", "sd_model_hash", "extra_generation_params")
    version, index_of_first_image = "minihost", 0

    def __init__(self, p: StableDiffusionProcessing, images_list: list[Image.Image], infotexts: list[str]) -> None:
        for name in self.OF_JOB:
            setattr(self, name, getattr(p, name))
        self.prompt, self.negative_prompt, self.seed = p.all_prompts[0], p.all_negative_prompts[0], p.all_seeds[0]
        self.images, self.infotexts, self.info = images_list, infotexts, infotexts[0]
        self.job_timestamp = state.job_timestamp

    def js(self) -> str:
        names = (*self.OF_JOB, "prompt", "negative_prompt", "seed", "index_of_first_image", "infotexts", "job_timestamp", "version")
        return json.dumps({name: getattr(self, name) for name in names}, default=lambda o: None)


def create_infotext(p: StableDiffusionProcessing, prompt: str, negative_prompt: str, seed: int) -> str:
    """Prompt, negative prompt, and one line of parameters; None leaves a parameter out."""
    parameters = {"Steps": p.steps, "Sampler": p.sampler_name, "Schedule type": p.scheduler, "CFG scale": p.cfg_scale,
                  "Seed": seed, "Size": f"{p.width}x{p.height}", "Model hash": p.sd_model_hash, "Model": p.sd_model_name,
                  "RNG": opts.randn_source, **p.extra_generation_params, "Version": Processed.version}
    line = ", ".join(key if key == value else f"{key}: {infotext_utils.quote(value)}"
                     for key, value in parameters.items() if value is not None)
    return "\n".join([prompt, *([f"Negative prompt: {negative_prompt}"] if negative_prompt else []), line]).strip()


def process_images(p: StableDiffusionProcessing) -> Processed:
    """Runs a job under its own settings."""
    p.scripts.setup(p)
    p.scripts.before_process(p)
    stored = {key: opts.data[key] for key in p.override_settings if key in opts.data}
    try:
        if p.override_settings.get("sd_model_checkpoint") not in sd_models.checkpoint_aliases:
            p.override_settings.pop("sd_model_checkpoint", None)
        for key, value in p.override_settings.items():
            opts.set(key, value)
        sd_models.reload_model_weights()            # the last job may have left another one
        p.sampler_name, p.scheduler = p.sampler_name or sd_samplers.all_samplers[0].name, p.scheduler or "Automatic"
        return process_images_inner(p)
    finally:
        if p.override_settings_restore_afterwards:
            opts.data.update(stored)


def process_images_inner(p: StableDiffusionProcessing) -> Processed:
    if p.width % 64 or p.height % 64 or min(p.width, p.height) < 64:
        raise NotHere(f"minihost draws pictures whose sides are multiples of 64 px, not {p.width}x{p.height}.")
    if p.refiner_checkpoint not in (None, "", "None", "none"):
        p.refiner_checkpoint_info = sd_models.checkpoint_aliases.get(p.refiner_checkpoint)
        if p.refiner_checkpoint_info is None:
            raise Exception(f"Could not find checkpoint with name {p.refiner_checkpoint}")
    p.sd_model_name, p.sd_model_hash = shared.sd_model.sd_checkpoint_info.model_name, shared.sd_model.sd_model_hash
    count, seed = p.batch_size * p.n_iter, random.randrange(2**32 - 2) if p.seed in (None, -1) else p.seed
    p.all_prompts, p.all_negative_prompts = [p.prompt] * count, [p.negative_prompt] * count
    p.all_seeds = p.all_subseeds = [seed + i for i in range(count)]         # there are no variation seeds
    p.scripts.process(p)
    finished: list[tuple[Image.Image, str]] = []
    state.job_count = p.n_iter
    for n in range(p.n_iter):
        p.iteration, state.skipped = n, False
        if state.interrupted or state.stopping_generation:
            break
        batch = slice(n * p.batch_size, (n + 1) * p.batch_size)
        with torch.no_grad():
            finished += _finish_batch(p, n, batch, _sample_batch(p, n, batch))
    infotexts = [infotext for _, infotext in finished]
    infotexts = infotexts or [create_infotext(p, p.all_prompts[0], p.all_negative_prompts[0], p.all_seeds[0])]
    processed = Processed(p, [image for image, _ in finished], infotexts)
    p.scripts.postprocess(p, processed)
    return processed


def _sample_batch(p: StableDiffusionProcessing, n: int, batch: slice) -> Tensor:
    """The first half of an iteration: latents (b, 4, h, w)."""
    p.prompts, p.negative_prompts, p.seeds = p.all_prompts[batch], p.all_negative_prompts[batch], p.all_seeds[batch]
    p.subseeds = p.all_subseeds[batch]
    p.rng = rng.ImageRNG((shared.sd_model.latent_channels, p.height // 8, p.width // 8), p.seeds)
    p.scripts.before_process_batch(p, batch_number=n, prompts=p.prompts, seeds=p.seeds, subseeds=p.subseeds)
    if not p.disable_extra_networks:
        if network := NETWORK.search(p.prompts[0]):
            raise NotHere(f"minihost has no networks: take {network[0]} out of the prompt.")
        p.scripts.after_extra_networks_activate(p, batch_number=n, prompts=p.prompts, seeds=p.seeds, subseeds=p.subseeds,
                                                extra_network_data={})
    p.prompts = [NETWORK.sub("", prompt) for prompt in p.prompts]
    p.scripts.process_batch(p, batch_number=n, prompts=p.prompts, seeds=p.seeds, subseeds=p.subseeds)
    p.setup_conds()
    if p.n_iter > 1:
        state.job = f"Batch {n + 1} out of {p.n_iter}"
    ps = SimpleNamespace(samples=p.sample(
        conditioning=p.c, unconditional_conditioning=p.uc, seeds=p.seeds, subseeds=p.subseeds, subseed_strength=p.subseed_strength,
        prompts=p.prompts))
    p.scripts.post_sample(p, ps)
    return ps.samples


def _finish_batch(p: StableDiffusionProcessing, n: int, batch: slice, samples: Tensor) -> list[tuple[Image.Image, str]]:
    """The second half: pictures and their infotexts."""
    devices.test_for_nans(samples, "unet")
    decoded = [shared.sd_model.decode_first_stage(latent[None])[0] for latent in samples]
    for pixels in decoded:
        devices.test_for_nans(pixels, "vae")
    pixels = ((torch.stack(decoded) + 1.0) / 2.0).clamp(0.0, 1.0)           # (b, 3, h, w) in 0..1
    state.nextjob()
    p.scripts.postprocess_batch(p, images=pixels, batch_number=n)
    p.prompts, p.negative_prompts = p.all_prompts[batch], p.all_negative_prompts[batch]
    listed = SimpleNamespace(images=list(pixels))
    p.scripts.postprocess_batch_list(p, listed, batch_number=n)
    finished = []
    for i, picture in enumerate(listed.images):
        p.batch_index = i
        pp = SimpleNamespace(image=Image.fromarray((255.0 * picture.cpu().numpy().transpose(1, 2, 0)).astype(np.uint8)))
        p.scripts.postprocess_image(p, pp)
        pp.image.info["parameters"] = create_infotext(p, p.prompts[i], p.negative_prompts[i], p.seeds[i])
        finished.append((pp.image, pp.image.info["parameters"]))
    return finished
