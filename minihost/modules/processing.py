"""One job: from the request to the pictures, with the scripts' hooks in the WebUI's order."""
import json
import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from modules import devices, extra_networks, infotext_utils, prompt_parser, rng, scripts, sd_models, sd_samplers, shared
from modules.errors import NotHere
from modules.shared import opts, state
from PIL import Image
from torch import Tensor

opt_C, opt_f = 4, 8


@dataclass(repr=False)
class StableDiffusionProcessing:
    """The request (the annotated fields) and the state of the job."""

    prompt: str = ""
    negative_prompt: str = ""
    styles: list[str] | None = None
    seed: int = -1
    subseed: int = -1
    subseed_strength: float = 0
    seed_resize_from_h: int = -1
    seed_resize_from_w: int = -1
    sampler_name: str | None = None
    scheduler: str | None = None
    batch_size: int = 1
    n_iter: int = 1
    steps: int = 50
    cfg_scale: float = 7.0
    width: int = 512
    height: int = 512
    restore_faces: bool | None = None
    tiling: bool | None = None
    extra_generation_params: dict[str, Any] | None = None
    eta: float | None = None
    denoising_strength: float | None = None
    s_min_uncond: float | None = None
    s_churn: float | None = None
    override_settings: dict[str, Any] | None = None
    override_settings_restore_afterwards: bool = True
    refiner_checkpoint: str | None = None
    refiner_switch_at: float | None = None
    disable_extra_networks: bool = False

    cached_uc, cached_c = [None, None], [None, None]        # shared by all jobs, as in the WebUI
    scripts = sampler = c = uc = rng = user = extra_network_data = sd_model_name = sd_model_hash = None
    all_prompts = all_negative_prompts = all_seeds = all_subseeds = main_prompt = main_negative_prompt = None
    prompts = negative_prompts = seeds = subseeds = sampler_noise_scheduler_override = refiner_checkpoint_info = None
    script_args = ()
    is_hr_pass = is_api = is_using_inpainting_conditioning = False
    iteration, step_multiplier = 0, 1

    def __post_init__(self) -> None:
        self.comments: dict[str, int] = {}
        self.styles, self.extra_generation_params = self.styles or [], self.extra_generation_params or {}
        self.override_settings = self.override_settings or {}

    @property
    def sd_model(self) -> Any:
        return shared.sd_model

    def comment(self, text: str) -> None:
        self.comments[text] = 1

    def txt2img_image_conditioning(self, x: Tensor, width: int | None = None, height: int | None = None) -> Tensor:
        return x.new_zeros(x.shape[0], 5, 1, 1)         # only an inpainting model would look at it

    def setup_prompts(self) -> None:
        def listed(text: Any) -> list[str]:
            return text if isinstance(text, list) else [text] * (self.batch_size * self.n_iter)
        self.all_prompts, self.all_negative_prompts = listed(self.prompt), listed(self.negative_prompt)
        self.main_prompt, self.main_negative_prompt = self.all_prompts[0], self.all_negative_prompts[0]

    def get_conds_with_caching(self, function: Any, required_prompts: Any, steps: int, caches: list[list], extra_network_data: Any,
                               hires_steps: int | None = None) -> Any:
        params = (required_prompts, steps, hires_steps, opts.CLIP_stop_at_last_layers, opts.comma_padding_backtrack,
                  shared.sd_model.sd_checkpoint_info, extra_network_data, self.width, self.height)
        if found := next((cache[1] for cache in caches if cache[0] == params), None):
            return found
        caches[0][:] = params, function(shared.sd_model, required_prompts, steps, hires_steps, False)
        return caches[0][1]

    def setup_conds(self) -> None:
        size = dict(width=self.width, height=self.height)
        prompts = prompt_parser.SdConditioning(self.prompts, **size)
        negative = prompt_parser.SdConditioning(self.negative_prompts, is_negative_prompt=True, **size)
        config = sd_samplers.find_sampler_config(self.sampler_name)
        self.firstpass_steps = total = config.total_steps(self.steps) if config else self.steps
        self.step_multiplier = total // self.steps
        self.uc = self.get_conds_with_caching(prompt_parser.get_learned_conditioning, negative, total, [self.cached_uc],
                                              self.extra_network_data)
        self.c = self.get_conds_with_caching(prompt_parser.get_multicond_learned_conditioning, prompts, total, [self.cached_c],
                                             self.extra_network_data)

    def get_conds(self) -> tuple[Any, Any]:
        return self.c, self.uc

    def parse_extra_network_prompts(self) -> None:
        self.prompts, self.extra_network_data = extra_networks.parse_prompts(self.prompts)

    def init(self, all_prompts: list[str], all_seeds: list[int], all_subseeds: list[int]) -> None:
        pass

    def close(self) -> None:
        self.sampler = self.c = self.uc = None


@dataclass(repr=False)
class StableDiffusionProcessingTxt2Img(StableDiffusionProcessing):
    enable_hr: bool = False

    def sample(self, conditioning: Any, unconditional_conditioning: Any, seeds: list[int], subseeds: list[int],
               subseed_strength: float, prompts: list[str]) -> Tensor:
        self.sampler = sd_samplers.create_sampler(self.sampler_name, self.sd_model)
        x = self.rng.next()
        if self.scripts is not None:
            self.scripts.process_before_every_sampling(self, x=x, noise=x, c=conditioning, uc=unconditional_conditioning)
        samples = self.sampler.sample(self, x, conditioning, unconditional_conditioning,
                                      image_conditioning=self.txt2img_image_conditioning(x))
        if self.enable_hr:              # refused only here, so that a script may refuse first
            raise NotHere("minihost has no hires pass: take enable_hr out of the request, or use the WebUI.")
        return samples


class Processed:
    """The result of a job."""

    OF_JOB = ("all_prompts", "all_negative_prompts", "all_seeds", "all_subseeds", "subseed_strength", "width", "height",
              "sampler_name", "cfg_scale", "steps", "batch_size", "restore_faces", "sd_model_name", "sd_model_hash",
              "seed_resize_from_w", "seed_resize_from_h", "denoising_strength", "extra_generation_params", "styles",
              "is_using_inpainting_conditioning")
    OWN = ("prompt", "negative_prompt", "seed", "subseed", "index_of_first_image", "infotexts", "job_timestamp", "clip_skip",
           "version", "face_restoration_model", "sd_vae_name", "sd_vae_hash")
    face_restoration_model = sd_vae_name = sd_vae_hash = None

    def __init__(self, p: StableDiffusionProcessing, images_list: list[Image.Image], seed: int = -1, info: str = "",
                 subseed: int = -1, index_of_first_image: int = 0, infotexts: list[str] | None = None, comments: str = "") -> None:
        for name in self.OF_JOB:
            setattr(self, name, getattr(p, name))
        self.images, self.info, self.index_of_first_image = images_list, info, index_of_first_image
        self.seed, self.subseed = seed, subseed
        self.prompt, self.negative_prompt = self.all_prompts[0], self.all_negative_prompts[0]
        self.infotexts = infotexts or [info] * len(images_list)
        self.comments = comments or "".join(f"{comment}\n" for comment in p.comments)
        self.job_timestamp, self.clip_skip, self.version = state.job_timestamp, opts.CLIP_stop_at_last_layers, program_version()

    def js(self) -> str:
        return json.dumps({name: getattr(self, name) for name in self.OF_JOB + self.OWN}, default=lambda o: None)


class DecodedSamples(list):
    already_decoded = True


def decode_latent_batch(model: Any, batch: Tensor, target_device: Any = None, check_for_nans: bool = False) -> DecodedSamples:
    """Pixels (3, h, w) in -1..1, one image after the other."""
    samples = DecodedSamples()
    for latent in batch:
        pixels = model.decode_first_stage(latent[None].to(model.first_stage_model.dtype))[0]
        if check_for_nans:
            devices.test_for_nans(pixels, "vae")
        samples.append(pixels if target_device is None else pixels.to(target_device))
    return samples


def get_fixed_seed(seed: Any) -> Any:
    return random.randrange(2**32 - 2) if seed in (None, "", -1) else seed


def program_version() -> str:
    return "minihost"


def create_infotext(p: Any, all_prompts: list[str], all_seeds: list[int], all_subseeds: list[int], comments: Any = None,
                    iteration: int = 0, position_in_batch: int = 0, use_main_prompt: bool = False, index: int | None = None,
                    all_negative_prompts: list[str] | None = None) -> str:
    """Prompt, negative prompt, and one line of parameters; None leaves a parameter out."""
    index = 0 if use_main_prompt else position_in_batch + iteration * p.batch_size if index is None else index
    prompt = p.main_prompt if use_main_prompt else all_prompts[index]
    negative = p.main_negative_prompt if use_main_prompt else (all_negative_prompts or p.all_negative_prompts)[index]
    skip = opts.CLIP_stop_at_last_layers if opts.CLIP_stop_at_last_layers > 1 else None
    parameters: dict[str, Any] = {
        "Steps": p.steps, "Sampler": p.sampler_name, "Schedule type": p.scheduler, "CFG scale": p.cfg_scale,
        "Seed": all_seeds[index], "Size": f"{p.width}x{p.height}", "Model hash": p.sd_model_hash, "Model": p.sd_model_name,
        "Clip skip": skip, "RNG": opts.randn_source, **p.extra_generation_params, "Version": program_version()}
    for key, value in parameters.items():
        parameters[key] = value[index] if isinstance(value, list) else value(**locals()) if callable(value) else value
    line = ", ".join(key if key == value else f"{key}: {infotext_utils.quote(value)}"
                     for key, value in parameters.items() if value is not None)
    return "\n".join([prompt, *([f"Negative prompt: {negative}"] if negative else []), line]).strip()


def process_images(p: StableDiffusionProcessing) -> Processed:
    """Runs a job under its own settings."""
    p.scripts = p.scripts or scripts.ScriptRunner()
    p.scripts.setup(p)
    p.scripts.before_process(p)
    stored = {key: opts.data[key] for key in p.override_settings if key in opts.data}
    try:
        if p.override_settings.get("sd_model_checkpoint") not in sd_models.checkpoint_aliases:
            p.override_settings.pop("sd_model_checkpoint", None)
            sd_models.reload_model_weights()        # the last job may have left another one
        for key, value in p.override_settings.items():
            opts.set(key, value, is_api=True, run_callbacks=False)
            if key == "sd_model_checkpoint":
                sd_models.reload_model_weights()
        p.sampler_name, p.scheduler = p.sampler_name or sd_samplers.all_samplers[0].name, p.scheduler or "Automatic"
        return process_images_inner(p)
    finally:
        if p.override_settings_restore_afterwards:
            opts.data.update(stored)


def process_images_inner(p: StableDiffusionProcessing) -> Processed:
    seed, subseed = get_fixed_seed(p.seed), get_fixed_seed(p.subseed)
    if p.restore_faces or p.tiling or p.styles:
        raise NotHere("minihost has no restored faces, tiling and styles.")
    p.restore_faces = p.tiling = False
    if p.refiner_checkpoint not in (None, "", "None", "none"):
        p.refiner_checkpoint_info = sd_models.get_closet_checkpoint_match(p.refiner_checkpoint)
        if p.refiner_checkpoint_info is None:
            raise Exception(f"Could not find checkpoint with name {p.refiner_checkpoint}")
    p.sd_model_name, p.sd_model_hash = shared.sd_model.sd_checkpoint_info.name_for_extra, shared.sd_model.sd_model_hash
    p.s_min_uncond = opts.s_min_uncond if p.s_min_uncond is None else p.s_min_uncond
    p.setup_prompts()
    p.all_seeds = seed if isinstance(seed, list) else [int(seed) + i for i in range(len(p.all_prompts))]
    p.all_subseeds = subseed if isinstance(subseed, list) else [int(subseed) + i for i in range(len(p.all_prompts))]
    p.scripts.process(p)
    images: list[Image.Image] = []
    infotexts: list[str] = []
    with torch.no_grad():
        p.init(p.all_prompts, p.all_seeds, p.all_subseeds)
        state.job_count = p.n_iter if state.job_count == -1 else state.job_count
        for n in range(p.n_iter):
            p.iteration = n
            state.skipped = False
            if state.interrupted or state.stopping_generation:
                break
            sd_models.reload_model_weights()
            batch = slice(n * p.batch_size, (n + 1) * p.batch_size)
            samples = _sample_batch(p, n, batch)
            for image, infotext in _finish_batch(p, n, batch, samples):
                images.append(image)
                infotexts.append(infotext)
    infotexts = infotexts or [create_infotext(p, p.all_prompts, p.all_seeds, p.all_subseeds)]
    processed = Processed(p, images, seed=p.all_seeds[0], info=infotexts[0], subseed=p.all_subseeds[0], infotexts=infotexts)
    p.scripts.postprocess(p, processed)
    return processed


def _sample_batch(p: StableDiffusionProcessing, n: int, batch: slice) -> Any:
    """The first half of an iteration: latents (b, 4, h, w), or what a script made of them."""
    p.prompts, p.negative_prompts = p.all_prompts[batch], p.all_negative_prompts[batch]
    p.seeds, p.subseeds = p.all_seeds[batch], p.all_subseeds[batch]
    if p.width % 64 or p.height % 64 or min(p.width, p.height) < 64:
        raise NotHere(f"minihost draws pictures whose sides are multiples of 64 px, not {p.width}x{p.height}.")
    p.rng = rng.ImageRNG((shared.sd_model.latent_channels, p.height // opt_f, p.width // opt_f), p.seeds, subseeds=p.subseeds,
                         subseed_strength=p.subseed_strength, seed_resize_from_h=p.seed_resize_from_h,
                         seed_resize_from_w=p.seed_resize_from_w)
    p.scripts.before_process_batch(p, batch_number=n, prompts=p.prompts, seeds=p.seeds, subseeds=p.subseeds)
    p.parse_extra_network_prompts()
    if not p.disable_extra_networks:
        extra_networks.activate(p, p.extra_network_data)
    p.scripts.process_batch(p, batch_number=n, prompts=p.prompts, seeds=p.seeds, subseeds=p.subseeds)
    p.setup_conds()
    if p.n_iter > 1:
        state.job = f"Batch {n + 1} out of {p.n_iter}"
    ps = scripts.PostSampleArgs(p.sample(conditioning=p.c, unconditional_conditioning=p.uc, seeds=p.seeds, subseeds=p.subseeds,
                                         subseed_strength=p.subseed_strength, prompts=p.prompts))
    p.scripts.post_sample(p, ps)
    return ps.samples


def _finish_batch(p: StableDiffusionProcessing, n: int, batch: slice, samples: Any) -> list[tuple[Image.Image, str]]:
    """The second half: pictures and their infotexts."""
    if not getattr(samples, "already_decoded", False):
        devices.test_for_nans(samples, "unet")
        samples = decode_latent_batch(p.sd_model, samples, target_device=devices.cpu, check_for_nans=True)
    pixels = ((torch.stack(list(samples)).float() + 1.0) / 2.0).clamp(0.0, 1.0)
    state.nextjob()
    p.scripts.postprocess_batch(p, images=pixels, batch_number=n)
    p.prompts, p.negative_prompts = p.all_prompts[batch], p.all_negative_prompts[batch]
    listed = scripts.PostprocessBatchListArgs(list(pixels))
    p.scripts.postprocess_batch_list(p, listed, batch_number=n)
    finished = []
    for i, picture in enumerate(listed.images):
        p.batch_index = i
        image = Image.fromarray((255.0 * picture.cpu().numpy().transpose(1, 2, 0)).astype(np.uint8))
        for hook in (p.scripts.postprocess_image, p.scripts.postprocess_image_after_composite):
            pp = scripts.PostprocessImageArgs(image)
            hook(p, pp)
            image = pp.image
        infotext = create_infotext(p, p.prompts, p.seeds, p.subseeds, index=i, all_negative_prompts=p.negative_prompts)
        if opts.enable_pnginfo:
            image.info["parameters"] = infotext
        finished.append((image, infotext))
    return finished
