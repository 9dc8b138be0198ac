"""One job: from the request to the pictures, with the scripts' hooks in the WebUI's order."""
import json
import random
import re
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from modules import devices, infotext_utils, masking, prompt_parser, rng, sd_models, sd_samplers, sd_samplers_common, shared
from modules.errors import NotHere, refuse
from modules.shared import opts, state
from PIL import Image, ImageOps
from torch import Tensor


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
    denoising_strength: float = 0.75

    scripts = sampler = c = uc = rng = sd_model_name = sd_model_hash = None
    all_prompts = all_negative_prompts = all_seeds = all_subseeds = prompts = negative_prompts = seeds = subseeds = None
    mask = nmask = init_latent = mask_for_overlay = overlay_images = None
    iteration = subseed_strength = truncate_x = truncate_y = 0
    script_args, is_hr_pass = (), False

    def __post_init__(self) -> None:
        self.extra_generation_params: dict[str, Any] = {}
        self.override_settings = self.override_settings or {}

    def conds(self, prompts: list[str], negative_prompts: list[str], width: int, height: int, hires_steps: int | None = None) -> tuple:
        """The encoded prompts of a pass."""
        positive = prompt_parser.SdConditioning(prompts, False, width, height)
        negative = prompt_parser.SdConditioning(negative_prompts, True, width, height)
        return (prompt_parser.get_multicond_learned_conditioning(shared.sd_model, positive, self.steps, hires_steps),
                prompt_parser.get_learned_conditioning(shared.sd_model, negative, self.steps, hires_steps))

    def activate_extra_networks(self, prompts: list[str]) -> None:
        """minihost has none: they are refused."""
        if network := re.search(r"<\w+:[^>]+>", " ".join(prompts)):
            raise NotHere(f"minihost has no networks: take {network[0]} out of the prompt.")
        self.scripts.after_extra_networks_activate(self, batch_number=self.iteration, prompts=self.prompts, seeds=self.seeds,
                                                   subseeds=self.subseeds, extra_network_data={})

    def blended(self, latent: Tensor, denoiser: Any = None, sigma: Tensor | None = None) -> Tensor:
        """The latent where the mask is, if there is one, and the picture's elsewhere; in a step there is a denoiser."""
        if self.mask is None:
            return latent
        args = SimpleNamespace(current_latent=latent, nmask=self.nmask, init_latent=self.init_latent, mask=self.mask, sigma=sigma,
                               denoiser=denoiser, is_final_blend=denoiser is None)
        args.blended_latent = latent * self.nmask + self.init_latent * self.mask
        self.scripts.on_mask_blend(self, args)
        return args.blended_latent


@dataclass(repr=False)
class StableDiffusionProcessingTxt2Img(StableDiffusionProcessing):
    enable_hr: bool = False
    hr_scale: float = 2.0
    hr_upscaler: str | None = None
    hr_second_pass_steps: int = 0
    hr_sampler_name: str | None = None
    hr_prompt: str = ""
    hr_negative_prompt: str = ""

    def init(self) -> None:
        if self.enable_hr:
            refuse({f"upscaler {self.hr_upscaler!r}": self.hr_upscaler not in (None, "Latent")})
            self.hr_upscale_to_x, self.hr_upscale_to_y = int(self.width * self.hr_scale), int(self.height * self.hr_scale)
            self.extra_generation_params |= {"Denoising strength": self.denoising_strength, "Hires upscale": self.hr_scale,
                                             "Hires steps": self.hr_second_pass_steps or None, "Hires upscaler": self.hr_upscaler}
            state.job_count *= 2

    def sample(self, conditioning: Any, unconditional_conditioning: Any, **of_batch: Any) -> Tensor | list[Tensor]:
        """Latents; of a hires pass its pictures."""
        self.sampler = sd_samplers.create_sampler(self.sampler_name, shared.sd_model)
        x = self.rng.next()
        self.scripts.process_before_every_sampling(self, x=x, noise=x, c=conditioning, uc=unconditional_conditioning)
        samples = self.sampler.sample(self, x, conditioning, unconditional_conditioning)
        return self.sample_hr_pass(samples) if self.enable_hr and not state.interrupted else samples

    def sample_hr_pass(self, samples: Tensor) -> list[Tensor]:
        self.is_hr_pass = True
        self.sampler = sd_samplers.create_sampler(self.hr_sampler_name or self.sampler_name, shared.sd_model)
        size, steps = (self.hr_upscale_to_y // 8, self.hr_upscale_to_x // 8), self.hr_second_pass_steps or self.steps
        samples = torch.nn.functional.interpolate(samples, size, mode="bilinear")
        state.nextjob()
        self.rng = rng.ImageRNG(samples.shape[1:], self.seeds)
        noise = self.rng.next()
        self.activate_extra_networks(self.hr_prompts)
        self.hr_c, self.hr_uc = self.conds(self.hr_prompts, self.hr_negative_prompts, self.hr_upscale_to_x, self.hr_upscale_to_y, steps)
        self.scripts.before_hr(self)
        self.scripts.process_before_every_sampling(self, x=samples, noise=noise, c=self.hr_c, uc=self.hr_uc)
        samples = self.sampler.sample_img2img(self, samples, noise, self.hr_c, self.hr_uc, steps)
        self.is_hr_pass = False
        return decode_latent_batch(shared.sd_model, samples)


@dataclass(repr=False)
class StableDiffusionProcessingImg2Img(StableDiffusionProcessing):
    init_images: list | None = None
    resize_mode: int = 0
    mask: Any = None
    mask_blur: int = 4
    mask_round: bool = True
    inpainting_fill: int = 0
    inpaint_full_res: bool = True
    inpaint_full_res_padding: int = 0
    inpainting_mask_invert: int = 0
    initial_noise_multiplier: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.image_mask, self.mask = self.mask, None            # the picture; later that of the latent

    def init(self) -> None:
        refuse({f"resize_mode {self.resize_mode}": self.resize_mode, "more than one of init_images": len(self.init_images) > 1,
                "alpha channel in a picture": any("A" in picture.mode for picture in (*self.init_images, self.image_mask) if picture)})
        self.extra_generation_params["Denoising strength"] = self.denoising_strength
        picture = self.init_images[0].convert("RGB").resize((self.width, self.height), Image.Resampling.LANCZOS)
        if self.image_mask is not None:
            picture = self._masked(picture)
        pixels = np.stack([np.asarray(picture, np.float32).transpose(2, 0, 1) / 255.0] * self.batch_size)       # (b, 3, h, w) in 0..1
        self.init_latent = sd_samplers_common.images_tensor_to_samples(torch.from_numpy(pixels))
        if self.image_mask is not None and self.inpainting_fill != 1:
            noise = rng.ImageRNG(self.nmask.shape, self.all_seeds[:self.batch_size]).next()
            self.init_latent = self.init_latent * self.mask + (noise * self.nmask if self.inpainting_fill == 2 else 0.0)

    def _masked(self, picture: Image.Image) -> Image.Image:
        """Sets `nmask`, 1 where a latent is drawn anew, `mask`, its opposite, and the overlays; the picture as it is encoded."""
        refuse({"mask_blur": self.mask_blur, "inpaint_full_res with a mask": self.inpaint_full_res,
                f"inpainting_fill {self.inpainting_fill}": self.inpainting_fill not in (1, 2, 3)})
        mask = self.image_mask.convert("L").resize(picture.size, Image.Resampling.LANCZOS)
        mask = ImageOps.invert(mask) if self.inpainting_mask_invert else mask
        self.mask_for_overlay = mask.point(lambda value: min(2 * value, 255))
        overlay = picture.copy()
        overlay.putalpha(ImageOps.invert(self.mask_for_overlay))
        self.overlay_images = [overlay] * self.batch_size
        share = np.asarray(mask.resize((self.width // 8, self.height // 8)), np.float32) / 255
        self.nmask = torch.from_numpy(share.round() if self.mask_round else share).expand(shared.sd_model.latent_channels, -1, -1)
        self.mask = 1.0 - self.nmask
        return picture if self.inpainting_fill == 1 else masking.fill(picture, mask)

    def sample(self, conditioning: Any, unconditional_conditioning: Any, **of_batch: Any) -> Tensor:
        x = self.initial_noise_multiplier * self.rng.next()
        self.scripts.process_before_every_sampling(self, x=self.init_latent, noise=x, c=conditioning, uc=unconditional_conditioning)
        return self.blended(self.sampler.sample_img2img(self, self.init_latent, x, conditioning, unconditional_conditioning))


class Processed:
    """The result of a job."""
    OF_JOB = ("all_prompts", "all_negative_prompts", "all_seeds", "all_subseeds", "width", "height", "sampler_name", "cfg_scale",
              "steps", "batch_size", "sd_model_name", "sd_model_hash", "extra_generation_params")

    def __init__(self, p: StableDiffusionProcessing, images_list: list[Image.Image], infotexts: list[str]) -> None:
        vars(self).update({name: getattr(p, name) for name in self.OF_JOB}, infotexts=infotexts, info=infotexts[0])
        self.prompt, self.negative_prompt, self.seed = p.all_prompts[0], p.all_negative_prompts[0], p.all_seeds[0]
        self.images, self.index_of_first_image, self.job_timestamp, self.version = images_list, 0, state.job_timestamp, "minihost"

    def js(self) -> str:
        return json.dumps({key: value for key, value in vars(self).items() if key != "images"}, default=lambda o: None)


def create_infotext(p: StableDiffusionProcessing, prompt: str, negative_prompt: str, seed: int, index: int = 0) -> str:
    """Prompt, negative prompt, and one line of parameters; None leaves a parameter out, a function is asked for it."""
    parameters = {"Steps": p.steps, "Sampler": p.sampler_name, "Schedule type": p.scheduler, "CFG scale": p.cfg_scale,
                  "Seed": seed, "Size": f"{p.width}x{p.height}", "Model hash": p.sd_model_hash, "Model": p.sd_model_name,
                  "RNG": opts.randn_source, **p.extra_generation_params, "Version": "minihost"}
    line = ", ".join(key if key == value else f"{key}: {infotext_utils.quote(value)}"
                     for key, value in ((k, v(p=p, index=index) if callable(v) else v) for k, v in parameters.items()) if value is not None)
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
        p.sampler = sd_samplers.create_sampler(p.sampler_name, shared.sd_model)         # or says what there is
        return process_images_inner(p)
    finally:
        if p.override_settings_restore_afterwards:
            opts.data.update(stored)


def process_images_inner(p: StableDiffusionProcessing) -> Processed:
    if p.width % 8 or p.height % 8:
        raise NotHere(f"minihost draws pictures whose sides are multiples of 8 px, not {p.width}x{p.height}.")
    p.sd_model_name, p.sd_model_hash = shared.sd_model.sd_checkpoint_info.model_name, shared.sd_model.sd_model_hash
    count, seed = p.batch_size * p.n_iter, random.randrange(2**32 - 2) if p.seed in (None, -1) else p.seed
    p.all_prompts, p.all_negative_prompts = [p.prompt] * count, [p.negative_prompt] * count
    p.all_seeds = p.all_subseeds = [seed + i for i in range(count)]         # there are no variation seeds
    p.scripts.process(p)
    finished: list[Image.Image] = []
    state.job_count = p.n_iter
    with torch.no_grad():
        p.init()
        for n in range(p.n_iter):
            p.iteration, state.skipped = n, False
            if state.interrupted or state.stopping_generation:
                break
            batch = slice(n * p.batch_size, (n + 1) * p.batch_size)
            finished += _finish_batch(p, batch, _sample_batch(p, batch))
    infotexts = [image.info["parameters"] for image in finished]
    processed = Processed(p, finished, infotexts or [create_infotext(p, p.all_prompts[0], p.all_negative_prompts[0], p.all_seeds[0])])
    p.scripts.postprocess(p, processed)
    return processed


def _sample_batch(p: StableDiffusionProcessing, batch: slice) -> Tensor | list[Tensor]:
    """The first half of an iteration: latents (b, 4, h, w), or pictures."""
    of_job = p.all_prompts, p.all_negative_prompts, p.all_seeds, p.all_subseeds
    p.prompts, p.negative_prompts, p.seeds, p.subseeds = (each[batch] for each in of_job)
    p.hr_prompts = [getattr(p, "hr_prompt", "") or prompt for prompt in p.prompts]
    p.hr_negative_prompts = [getattr(p, "hr_negative_prompt", "") or prompt for prompt in p.negative_prompts]
    p.rng = rng.ImageRNG((shared.sd_model.latent_channels, p.height // 8, p.width // 8), p.seeds)
    p.scripts.before_process_batch(p, batch_number=p.iteration, prompts=p.prompts, seeds=p.seeds, subseeds=p.subseeds)
    p.activate_extra_networks(p.prompts)
    p.scripts.process_batch(p, batch_number=p.iteration, prompts=p.prompts, seeds=p.seeds, subseeds=p.subseeds)
    p.c, p.uc = p.conds(p.prompts, p.negative_prompts, p.width, p.height)
    ps = SimpleNamespace(samples=p.sample(conditioning=p.c, unconditional_conditioning=p.uc, seeds=p.seeds, subseeds=p.subseeds,
                                          subseed_strength=p.subseed_strength, prompts=p.prompts))
    refuse({"refiner": p.refiner_checkpoint not in (None, "", "None", "none")})          # only here, so that a script may refuse first
    p.scripts.post_sample(p, ps)
    return ps.samples


def decode_latent_batch(model: Any, batch: Tensor, target_device: Any = None, check_for_nans: bool = True) -> list[Tensor]:
    """Pictures (3, h, w) in -1..1."""
    devices.test_for_nans(batch, "unet")
    pictures = [model.decode_first_stage(latent[None])[0] for latent in batch]
    for picture in pictures:
        devices.test_for_nans(picture, "vae")
    return pictures


def _finish_batch(p: StableDiffusionProcessing, batch: slice, samples: Tensor | list[Tensor]) -> list[Image.Image]:
    """The second half: pictures, with their infotexts."""
    decoded = decode_latent_batch(shared.sd_model, samples) if not getattr(samples, "already_decoded", type(samples) is list) else samples
    pixels = ((torch.stack(decoded) + 1.0) / 2.0).clamp(0.0, 1.0)           # (b, 3, h, w) in 0..1
    state.nextjob()
    p.scripts.postprocess_batch(p, images=pixels, batch_number=p.iteration)
    p.prompts, p.negative_prompts = p.all_prompts[batch], p.all_negative_prompts[batch]
    listed = SimpleNamespace(images=list(pixels))
    p.scripts.postprocess_batch_list(p, listed, batch_number=p.iteration)
    finished = []
    for i, picture in enumerate(listed.images):
        p.batch_index = i
        pp = SimpleNamespace(image=Image.fromarray((255.0 * picture.cpu().numpy().transpose(1, 2, 0)).astype(np.uint8)))
        p.scripts.postprocess_image(p, pp)
        over = SimpleNamespace(index=i, mask_for_overlay=p.mask_for_overlay, overlay_image=p.overlay_images and p.overlay_images[i])
        p.scripts.postprocess_maskoverlay(p, over)
        if over.overlay_image is not None:
            pp.image = Image.alpha_composite(pp.image.convert("RGBA"), over.overlay_image).convert("RGB")
        p.scripts.postprocess_image_after_composite(p, pp)
        pp.image.info["parameters"] = create_infotext(p, p.prompts[i], p.negative_prompts[i], p.seeds[i], i)
        finished.append(pp.image)
    return finished
