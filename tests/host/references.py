"""Plain jobs, and what a genuine WebUI made of them: `python -m tests.host.references URL CHECKPOINT` records, on a WebUI 1.10.1 with
`tests/host/probe`, CPU noise and the shapes checkpoints; tests/host/test_references.py holds any host to it."""
from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tests.host.client import Host

HERE = Path(__file__).parent / "references"
CHECKPOINTS = ("shapes", "shapes-eps")
ONE, TWO = "a red circle on a gray background", "a blue square and a yellow cross on a teal background"
LONG = ", ".join([TWO] * 10)


def txt2img(**fields: Any) -> tuple[str, dict]:
    return "txt2img", {"prompt": ONE, "width": 64, "height": 64, "steps": 6, **fields}


def img2img(**fields: Any) -> tuple[str, dict]:
    from tests.host.jobs import picture
    return "img2img", {"prompt": ONE, "width": 64, "height": 64, "steps": 8, "denoising_strength": 0.6, "init_images": [picture(64, 64)], **fields}


def inpaint(**fields: Any) -> tuple[str, dict]:
    from tests.host.jobs import mask
    return img2img(**{"mask": mask(64, 64, (8, 16, 48, 48)), "mask_blur": 0, "inpainting_fill": 1, "inpaint_full_res": False, **fields})


def hires(**fields: Any) -> tuple[str, dict]:
    return txt2img(enable_hr=True, hr_scale=2, hr_upscaler="Latent", denoising_strength=0.7, hr_second_pass_steps=5, **fields)


JOBS: dict[str, tuple[str, dict]] = {
    **{f"{name}": txt2img(sampler_name=name) for name in ("Euler", "Euler a", "DPM++ 2M", "DDIM")},
    **{f"{name}, 128x128, 20 steps": txt2img(sampler_name=name, prompt=TWO, width=128, height=128, steps=20)
       for name in ("Euler", "Euler a", "DPM++ 2M", "DDIM")},
    "batch of 2, 2 times": txt2img(batch_size=2, n_iter=2), "Euler a, batch of 2, 2 times": txt2img(batch_size=2, n_iter=2, sampler_name="Euler a"),
    "64x128": txt2img(height=128), "48x128": txt2img(width=48, height=128), "72x104": txt2img(width=72, height=104), "guidance 1": txt2img(cfg_scale=1),
    "1 step": txt2img(steps=1), "negative": txt2img(negative_prompt="a white cross"),
    "long": txt2img(prompt=LONG), "long, batch of 2": txt2img(prompt=LONG, batch_size=2), "long negative": txt2img(negative_prompt=LONG),
    "long negative, DDIM": txt2img(negative_prompt=LONG, sampler_name="DDIM"),
    "emphasis": txt2img(prompt="a ((red)) [circle] on a (gray:1.3) background"), "BREAK": txt2img(prompt=f"{ONE} BREAK {TWO}"),
    "AND": txt2img(prompt=f"{ONE} :0.8 AND {TWO} :0.4"), "AND, batch of 2": txt2img(prompt=f"{ONE} AND {TWO} :0.4", batch_size=2),
    "AND, long": txt2img(prompt=f"{ONE} AND {LONG} :0.4"),
    "editing": txt2img(prompt="a [red:blue:0.5] circle on a [gray::3] background"),
    "alternation": txt2img(prompt="a [red|blue] circle"), "editing, AND, DDIM": txt2img(prompt=f"[{ONE}:{TWO}:2] AND {ONE} :0.3", sampler_name="DDIM"),
    "pad_cond_uncond": txt2img(negative_prompt=LONG, override_settings={"pad_cond_uncond": True}),
    "batch_cond_uncond off": txt2img(override_settings={"batch_cond_uncond": False}),
    "batch_cond_uncond off, AND, batch of 2": txt2img(prompt=f"{ONE} AND {TWO} :0.4", batch_size=2, override_settings={"batch_cond_uncond": False}),
    "img2img": img2img(), "img2img, DDIM": img2img(sampler_name="DDIM", seed=12), "img2img, Euler a, batch of 2": img2img(sampler_name="Euler a", batch_size=2),
    "img2img, DPM++ 2M": img2img(sampler_name="DPM++ 2M", denoising_strength=1.0), "img2img, 2 times": img2img(n_iter=2),
    "inpainting, original": inpaint(), "inpainting, DDIM": inpaint(sampler_name="DDIM"),
    "inpainting, latent noise": inpaint(inpainting_fill=2), "inpainting, latent nothing": inpaint(inpainting_fill=3, batch_size=2),
    "hires": hires(), "hires, other sampler": hires(hr_sampler_name="DPM++ 2M"),
    "hires, other prompt, batch of 2": hires(hr_prompt=TWO, hr_negative_prompt="a white cross", batch_size=2),
    "hires, editing": hires(prompt="a [red:blue:0.5] circle"),
}


def run(host: Host, checkpoint: str, job: str) -> tuple[np.ndarray, dict]:
    """Final latents (of a hires pass: pictures), and the job's hooks and calls of the network. ValueError with the host's sentence."""
    route, fields = JOBS[job]
    settings = {**fields.get("override_settings", {}), "sd_model_checkpoint": checkpoint}
    answer = host.run(route, probe={"steady": True}, **{**fields, "override_settings": settings})
    if answer.status != 200:
        raise ValueError(answer.error)
    return host.latents(), host.trace()


def recorded(checkpoint: str) -> tuple[dict[str, np.ndarray], dict[str, dict]]:
    traces = json.loads((HERE / f"{checkpoint}.json").read_text(encoding="utf-8"))
    with np.load(HERE / f"{checkpoint}.npz") as latents:
        return dict(latents), traces


def main() -> None:
    url, checkpoint = sys.argv[1:]
    host, latents, traces = Host(url), {}, {}
    for job in JOBS:
        latents[job], traces[job] = run(host, checkpoint, job)
        print(job, latents[job].shape, len(traces[job]["calls"]), "calls", flush=True)
    small = {job: value.astype(np.float16) if value.shape[1] == 3 else value for job, value in latents.items()}      # pictures
    np.savez_compressed(HERE / f"{checkpoint}.npz", **small)
    lines = [f"{json.dumps(job)}: {json.dumps(trace)}" for job, trace in traces.items()]
    (HERE / f"{checkpoint}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
