"""Every kind of job that a WebUI can run."""
from __future__ import annotations

import base64
import io
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

PROMPT = "a red circle on a gray background"
LONG = PROMPT + ", " + ", ".join(["a blue square and a green cross on a gray background"] * 12)
OTHER = "a blue square on a teal background"
LEFT_RIGHT = {"regions": [{"box": [0, 0, 0.5, 1], "prompt": "a blue cross on a gray background"},
                          {"box": [0.5, 0, 1, 1], "prompt": "a red square on a gray background", "cfg_scale": 8}]}


@cache
def picture(width: int = 64, height: int = 64) -> str:
    """A photograph of sorts, base64."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [128 + 100 * np.sin(x / (9 + 4 * i) + y / (17 - 3 * i) + i) for i in range(3)]
    return encoded(Image.fromarray(np.stack(waves, -1).astype(np.uint8)))


@cache
def mask(width: int = 64, height: int = 64, box: tuple[int, int, int, int] = (8, 16, 40, 48)) -> str:
    """White where a picture is to be drawn anew, base64."""
    image = Image.new("RGB", (width, height))
    ImageDraw.Draw(image).rectangle((box[0], box[1], box[2] - 1, box[3] - 1), fill="white")
    return encoded(image)


def encoded(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()


def img2img(**fields: Any) -> tuple[str, dict]:
    return "img2img", {"init_images": [picture()], "denoising_strength": 0.7, "steps": 6, **fields}


def inpaint(**fields: Any) -> tuple[str, dict]:
    return img2img(**{"mask": mask(), "mask_blur": 0, "inpainting_fill": 1, "inpaint_full_res": False, **fields})


def hires(**fields: Any) -> tuple[str, dict]:
    return "txt2img", {"enable_hr": True, "hr_scale": 1.5, "hr_upscaler": "Latent", "denoising_strength": 0.7, "hr_second_pass_steps": 4, **fields}


def options(**settings: Any) -> tuple[str, dict]:
    return "txt2img", {"override_settings": settings, "steps": 4}


LAWFUL: dict[str, tuple[str, dict]] = {       # the neutral law holds of each
    **{f"sampler {name}": ("txt2img", {"sampler_name": name, "steps": 6}) for name in (
        "Euler", "Euler a", "DPM++ 2M", "DDIM", "DPM++ SDE", "DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 2S a", "DPM++ 3M SDE", "LMS", "Heun",
        "DPM2", "DPM2 a", "DPM fast", "DPM adaptive", "Restart", "DDIM CFG++", "PLMS", "UniPC", "LCM")},
    **{f"schedule {name}": ("txt2img", {"sampler_name": "DPM++ 2M", "scheduler": name}) for name in ("karras", "exponential", "sgm_uniform", "beta")},
    "txt2img, 72x104": ("txt2img", {"width": 72, "height": 104}),
    "txt2img, AND with weights, batch 2": ("txt2img", {"prompt": f"{PROMPT} :0.8 AND {OTHER} :0.4", "batch_size": 2}),
    "txt2img, BREAK": ("txt2img", {"prompt": f"a red circle BREAK {OTHER}"}),
    "txt2img, long": ("txt2img", {"prompt": LONG}),
    "txt2img, emphasis": ("txt2img", {"prompt": "a ((red)) [circle] on a (gray:1.3) background"}),
    "txt2img, prompt editing": ("txt2img", {"prompt": "a [red:blue:0.5] circle on a [gray::3] background", "steps": 6}),
    "txt2img, editing to a long prompt": ("txt2img", {"prompt": f"a circle [{LONG}:3]", "negative_prompt": "[a cross:a square:2]", "steps": 6}),
    "txt2img, alternation": ("txt2img", {"prompt": "a [red|blue] circle on a gray background", "steps": 6}),
    "txt2img, alternation, DDIM": ("txt2img", {"prompt": "a [red|blue] circle", "steps": 6, "sampler_name": "DDIM"}),
    "txt2img, prompt editing, second order": ("txt2img", {"prompt": "a [red:blue:0.5] circle", "sampler_name": "Heun", "steps": 6}),
    "txt2img, n_iter 2": ("txt2img", {"n_iter": 2}),
    "txt2img, styles": ("txt2img", {"styles": ["mixdiff-probe"]}),
    "txt2img, guidance 1": ("txt2img", {"cfg_scale": 1}),
    "txt2img, NGMS": ("txt2img", {"s_min_uncond": 4, "steps": 6}),
    "txt2img, variation seed": ("txt2img", {"subseed": 5, "subseed_strength": 0.3}),
    "txt2img, seed resize": ("txt2img", {"seed_resize_from_w": 128, "seed_resize_from_h": 96}),
    "txt2img, eta": ("txt2img", {"sampler_name": "DDIM", "eta": 0.7}),
    "batch_cond_uncond off": options(batch_cond_uncond=False),
    "batch_cond_uncond off, AND, batch 2": ("txt2img", {**options(batch_cond_uncond=False)[1], "prompt": f"{PROMPT} AND {OTHER}", "batch_size": 2}),
    "pad_cond_uncond": ("txt2img", {**options(pad_cond_uncond=True)[1], "negative_prompt": LONG}),
    "pad_cond_uncond_v0": ("txt2img", {**options(pad_cond_uncond_v0=True)[1], "negative_prompt": LONG}),
    "skip early CFG": options(skip_early_cond=0.4),
    "NGMS all steps": ("txt2img", {**options(s_min_uncond_all=True)[1], "s_min_uncond": 4}),
    "ENSD": ("txt2img", {**options(eta_noise_seed_delta=31337)[1], "sampler_name": "Euler a"}),
    "Zero Terminal SNR": options(sd_noise_schedule="Zero Terminal SNR"),
    "clip skip": options(CLIP_stop_at_last_layers=2),
    "old prompt editing": ("txt2img", {**options(use_old_scheduling=True)[1], "prompt": "a [red:blue:0.5] circle"}),
    "img2img": img2img(), "img2img, batch 2, n_iter 2": img2img(batch_size=2, n_iter=2), "img2img, DDIM": img2img(sampler_name="DDIM"),
    "img2img, Euler a": img2img(sampler_name="Euler a"), "img2img, 72x104": img2img(width=72, height=104, resize_mode=1),
    "img2img, latent upscale": img2img(resize_mode=3, width=96, height=96),
    "img2img, noise multiplier": img2img(initial_noise_multiplier=1.1), "img2img, alternation": img2img(prompt="a [red|blue] circle"),
    **{f"inpainting, {name}": inpaint(inpainting_fill=fill)
       for fill, name in enumerate(("fill", "original", "latent noise", "latent nothing"))},
    "inpainting, DDIM": inpaint(sampler_name="DDIM"), "inpainting, inverted": inpaint(inpainting_mask_invert=1),
    "inpainting, soft": inpaint(mask_round=False), "inpainting, blurred": inpaint(mask_blur=4),
    "inpainting, only masked": inpaint(inpaint_full_res=True, inpaint_full_res_padding=8),
    "inpainting, only masked, latent noise": inpaint(inpaint_full_res=True, inpaint_full_res_padding=8, inpainting_fill=2),
    "hires, latent": hires(), "hires, pictures": hires(hr_upscaler="Lanczos"), "hires, batch 2": hires(batch_size=2),
    "hires, other sampler and steps": hires(hr_sampler_name="DPM++ 2M", hr_second_pass_steps=6),
    "hires, DDIM first": hires(sampler_name="DDIM", hr_sampler_name="Euler a"),
    "hires, resize and cut": hires(hr_resize_x=96, hr_resize_y=80),
    "hires, prompt editing": hires(prompt="a [red:blue:0.5] circle", steps=4, hr_second_pass_steps=6),
    "hires, alternation": hires(prompt="a [red|blue] circle"),
}
