"""Laws of the embedded host: its samplers against naive loops, its batches against single pictures, its hooks against the WebUI's order."""
from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

RECORDER = '''
import gradio as gr
import torch
from modules import script_callbacks, scripts, shared

class Recorder(scripts.Script):
    calls, latents, rows, mode = [], [], [], None

    def title(self):
        return "Recorder"

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def ui(self, is_img2img):
        with gr.Accordion("Recorder", open=False):
            return [gr.Textbox(label="mode", value="plain", elem_id=self.elem_id("mode"))]

    def before(self, p, mode):
        if mode == "error":
            raise ValueError("on purpose")

    def launch(self, p, mode):
        launch = p.sampler.launch_sampling
        def once(steps, func):
            del p.sampler.launch_sampling
            if mode == "422":
                error = ValueError("a sentence for the user")
                error.status_code = 422
                raise error
            if mode == "recursion":
                def func():
                    raise RecursionError("deep")
            return launch(steps, func)
        p.sampler.launch_sampling = once
        p.sampler.model_wrap.register_forward_pre_hook(
            lambda module, args, kwargs: Recorder.rows.append((len(args[0]), kwargs["cond"]["c_crossattn"][0].shape[1])), with_kwargs=True)

def hook(name):
    def call(self, p, *args, **kwargs):
        Recorder.calls.append(name)
        if name == "process_before_every_sampling":
            self.launch(p, args[-1])
        if name == "post_sample":
            Recorder.latents.append(torch.stack(list(args[0].samples)))         # of a hires pass: pictures
        if name == "process":
            self.before(p, args[-1])
            p.extra_generation_params["Recorder"] = 'a, "b": c'
    return call

for name in ("setup before_process process before_process_batch after_extra_networks_activate process_batch process_before_every_sampling "
             "before_hr on_mask_blend post_sample postprocess_batch postprocess_batch_list postprocess_image postprocess_maskoverlay "
             "postprocess_image_after_composite postprocess").split():
    setattr(Recorder, name, hook(name))

def before_network(params):
    Recorder.calls.append("cfg_denoiser")
    if Recorder.mode == "callback error":
        raise ValueError("on purpose")
    if Recorder.mode == "interrupt" and params.denoiser.step == 2:
        shared.state.interrupt()

script_callbacks.on_cfg_denoiser(before_network)
script_callbacks.on_cfg_denoised(lambda params: Recorder.calls.append("cfg_denoised"))
script_callbacks.on_cfg_after_cfg(lambda params: Recorder.calls.append("after_cfg"))
'''


class Client:
    """HTTP to a host in this process, and the recorder in it."""

    def __init__(self, folder: Path) -> None:
        from fastapi.testclient import TestClient

        from minihost import boot
        from tests import tiny
        (folder / "scripts").mkdir()
        (folder / "scripts" / "recorder.py").write_text(RECORDER)
        tiny.make(folder, "tiny", "v")
        tiny.make(folder, "tiny-eps", "eps", seed=1)
        self.http = TestClient(boot.boot("tiny", folder, extensions=[folder]))
        from modules import scripts
        self.recorder: Any = type(scripts.scripts_txt2img.scripts[0])

    def post(self, mode: str = "plain", route: str = "txt2img", **job: Any) -> Any:
        body = dict(prompt="a red circle", negative_prompt="a cross", seed=3, steps=4, width=128, height=64, cfg_scale=4, sampler_name="Euler",
                    alwayson_scripts={"recorder": {"args": [mode]}})
        for record in (self.recorder.calls, self.recorder.latents, self.recorder.rows):
            record.clear()
        self.recorder.mode = mode
        torch.manual_seed(0)            # of which the latents of a picture are made
        return self.http.post(f"/sdapi/v1/{route}", json={**body, **job})

    def latents(self, mode: str = "plain", **job: Any) -> Tensor:
        answer = self.post(mode, **job)
        assert answer.status_code == 200, answer.text
        return torch.cat(self.recorder.latents)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Client:
    return Client(tmp_path_factory.mktemp("host"))


def close(a: Tensor, b: Tensor, tolerance: float = 2e-4) -> bool:
    return a.shape == b.shape and float((a - b).abs().max()) < tolerance * (1 + float(b.abs().max()))


def guided_eps(t: float, x: Tensor, scale: float = 4.0) -> Tensor:
    """eps of the loaded model for x in unit variance, one call per prompt."""
    from modules import shared
    model = shared.sd_model
    abar = abar_at(t)

    def eps(prompt: str) -> Tensor:
        out = model.apply_model(x, torch.full((len(x),), t), {"c_crossattn": [model.get_learned_conditioning([prompt])]})
        return abar**0.5 * out + (1 - abar) ** 0.5 * x if model.parameterization == "v" else out

    cond, uncond = eps("a red circle"), eps("a cross")
    return uncond + scale * (cond - uncond)


def abar_at(t: float) -> float:
    """Between timesteps log sigma is interpolated."""
    from modules import shared
    abar = shared.sd_model.alphas_cumprod.double().numpy()
    return float(1 / (1 + np.exp(2 * np.interp(t, np.arange(1000), 0.5 * np.log((1 - abar) / abar)))))


@pytest.mark.parametrize("checkpoint", ["tiny", "tiny-eps"])
@torch.no_grad()
def test_euler_is_the_naive_loop(client: Client, checkpoint: str) -> None:
    got = client.latents(override_settings={"sd_model_checkpoint": checkpoint})
    times = np.linspace(999, 0, 4)
    sigmas = [((1 - abar_at(t)) / abar_at(t)) ** 0.5 for t in times] + [0.0]
    x = sigmas[0] * torch.randn(1, 4, 8, 16, generator=torch.Generator().manual_seed(3))
    for t, sigma, following in zip(times, sigmas, sigmas[1:]):
        x = x + (following - sigma) * guided_eps(t, x / (1 + sigma**2) ** 0.5)         # dx / dsigma = eps
    assert close(got, x)


@pytest.mark.parametrize("checkpoint", ["tiny", "tiny-eps"])
@torch.no_grad()
def test_ddim_is_the_naive_loop(client: Client, checkpoint: str) -> None:
    got = client.latents(sampler_name="DDIM", override_settings={"sd_model_checkpoint": checkpoint})
    x = torch.randn(1, 4, 8, 16, generator=torch.Generator().manual_seed(3))
    for t, before in ((751, 501), (501, 251), (251, 1)):
        a, b, e = abar_at(t), abar_at(before), guided_eps(t, x)
        x = (b / a) ** 0.5 * (x - (1 - a) ** 0.5 * e) + (1 - b) ** 0.5 * e
    assert close(got, x)


def noises(shape: tuple[int, ...] = (4, 8, 16), seed: int = 3) -> Callable[[], Tensor]:
    """The draws of the picture's own generator."""
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(1, *shape, generator=generator)


def sigma_at(t: float) -> float:
    return ((1 - abar_at(t)) / abar_at(t)) ** 0.5


def t_at(sigma: float) -> float:
    times = np.arange(1000)
    return float(np.interp(np.log(sigma), [np.log(sigma_at(t)) for t in times], times))


def euler(x: Tensor, sigmas: list[float]) -> Tensor:
    for sigma, following in pairwise(sigmas):
        x = x + (following - sigma) * guided_eps(t_at(sigma), x / (1 + sigma**2) ** 0.5)
    return x


@pytest.mark.parametrize("checkpoint", ["tiny", "tiny-eps"])
@torch.no_grad()
def test_euler_a_is_the_naive_loop(client: Client, checkpoint: str) -> None:
    got = client.latents(sampler_name="Euler a", override_settings={"sd_model_checkpoint": checkpoint})
    noise, times = noises(), np.linspace(999, 0, 4)
    sigmas = [sigma_at(t) for t in times] + [0.0]
    x = sigmas[0] * noise()
    for t, sigma, following in zip(times, sigmas, sigmas[1:]):
        x0 = x - sigma * guided_eps(t, x / (1 + sigma**2) ** 0.5)
        posterior = following**2 * (sigma**2 - following**2) / sigma**2         # DDPM's variance, in sigmas
        x = x0 + (following**2 - posterior) ** 0.5 * (x - x0) / sigma + (posterior**0.5 * noise() if following else 0.0)
    assert close(got, x)


@pytest.mark.parametrize("checkpoint", ["tiny", "tiny-eps"])
@torch.no_grad()
def test_dpmpp_2m_is_the_naive_loop(client: Client, checkpoint: str) -> None:
    """Lu et al. 2022, Algorithm 2, as it is printed: in x of unit variance, with alpha, sigma and lambda = log(alpha / sigma)."""
    got = client.latents(sampler_name="DPM++ 2M", override_settings={"sd_model_checkpoint": checkpoint})
    low, high = sigma_at(0) ** (1 / 7), sigma_at(999) ** (1 / 7)
    levels = [(high + i / 3 * (low - high)) ** 7 for i in range(4)]              # Karras et al. 2022, eq. 5
    alphas = [1 / (1 + s**2) ** 0.5 for s in levels] + [1.0]
    sigmas = [s * a for s, a in zip(levels, alphas)] + [0.0]
    lambdas = [float(np.log(a / s)) for a, s in zip(alphas, sigmas[:-1])]
    x, earlier = sigmas[0] * noises()(), None
    for i in range(4):
        data = (x - sigmas[i] * guided_eps(t_at(levels[i]), x)) / alphas[i]
        d = data
        if 0 < i < 3:
            r = (lambdas[i] - lambdas[i - 1]) / (lambdas[i + 1] - lambdas[i])
            d = (1 + 1 / (2 * r)) * data - 1 / (2 * r) * earlier
        shrink = np.exp(lambdas[i] - lambdas[i + 1]) if i < 3 else 0.0            # e^-h
        x, earlier = sigmas[i + 1] / sigmas[i] * x - alphas[i + 1] * (shrink - 1) * d, data
    assert close(got, x)


def picture(width: int = 128, height: int = 64) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([128 + 100 * np.sin(x / (9 + 4 * i) + y / 17 + i) for i in range(3)], -1).astype(np.uint8))


def base64_of(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()


def img2img(**fields: Any) -> dict:
    return dict(route="img2img", init_images=[base64_of(picture())], denoising_strength=0.6, **fields)


def inpaint(box: tuple[int, int, int, int] = (32, 16, 80, 48), **fields: Any) -> dict:
    mask = Image.new("L", (128, 64))
    mask.paste(255, box)
    return img2img(**{"mask": base64_of(mask), "mask_blur": 0, "inpainting_fill": 1, "inpaint_full_res": False, **fields})


def latent_of(image: Image.Image) -> Tensor:
    from modules import shared
    torch.manual_seed(0)
    x = torch.from_numpy(np.array(image)).float().permute(2, 0, 1)[None] / 127.5 - 1
    return shared.sd_model.scale_factor * shared.sd_model.first_stage_model.encode(x)


@torch.no_grad()
def test_img2img_is_the_end_of_the_loop(client: Client) -> None:
    """Of 4 steps int(0.6 * 4) + 1 with the k samplers; at full strength all of them. DDIM makes one less."""
    client.latents(steps=1)                 # the checkpoint is loaded
    latent, times = latent_of(picture()), np.linspace(999, 0, 4)
    sigmas = [sigma_at(t) for t in times] + [0.0]
    assert close(client.latents(**img2img()), euler(latent + sigmas[1] * noises()(), sigmas[1:]))
    assert close(client.latents(**{**img2img(), "denoising_strength": 1.0}), euler(latent + sigmas[0] * noises()(), sigmas))
    doubled = euler(latent + sigmas[1] * 2.0 * noises()(), sigmas[1:])
    assert close(client.latents(**img2img(initial_noise_multiplier=2.0)), doubled)
    x = abar_at(501) ** 0.5 * latent + (1 - abar_at(501)) ** 0.5 * noises()()
    a, b, e = abar_at(251), abar_at(1), guided_eps(251, x)
    x = (b / a) ** 0.5 * (x - (1 - a) ** 0.5 * e) + (1 - b) ** 0.5 * e
    assert close(client.latents(**img2img(sampler_name="DDIM")), x)


@pytest.mark.parametrize("sampler", ["Euler", "Euler a", "DPM++ 2M", "DDIM"])
@torch.no_grad()
def test_inpainting_keeps_what_is_not_masked(client: Client, sampler: str) -> None:
    got, latent = client.latents(**inpaint(sampler_name=sampler)), latent_of(picture())
    inside = torch.zeros(8, 16, dtype=torch.bool)
    inside[2:6, 4:10] = True
    assert close(got[..., ~inside], latent[..., ~inside], 1e-6) and not close(got[..., inside], latent[..., inside], 1e-2)
    assert close(client.latents(**inpaint((0, 0, 128, 64), sampler_name=sampler)), client.latents(**img2img(sampler_name=sampler)))
    inverted = client.latents(**inpaint(sampler_name=sampler, inpainting_mask_invert=1))
    assert close(inverted[..., inside], latent[..., inside], 1e-6)


def test_the_result_shows_the_picture_around_the_mask(client: Client) -> None:
    answer = client.post(**inpaint(batch_size=2)).json()
    assert len(answer["images"]) == 2
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["images"][1])))).astype(int)
    outside = np.ones((64, 128), bool)
    outside[16:48, 32:80] = False
    same = (shown == np.asarray(picture())).all(-1)
    assert same[outside].all() and not same[~outside].all()


@torch.no_grad()
def test_what_a_mask_is_filled_with(client: Client) -> None:
    whole = (0, 0, 128, 64)
    sigmas = [sigma_at(t) for t in np.linspace(999, 0, 4)[1:]] + [0.0]
    noise = noises()()
    assert close(client.latents(**inpaint(whole, inpainting_fill=3)), euler(sigmas[0] * noise, sigmas))
    assert close(client.latents(**inpaint(whole, inpainting_fill=2)), euler((1 + sigmas[0]) * noise, sigmas))
    from modules import masking
    mask = Image.new("L", (128, 64))
    mask.paste(255, (32, 16, 80, 48))
    filled = np.asarray(masking.fill(picture(), mask)).astype(int)
    kept = np.asarray(mask) == 0
    assert (filled[kept] == np.asarray(picture())[kept]).all() and np.abs(filled - np.asarray(picture()))[~kept].mean() > 5


@torch.no_grad()
def test_the_hires_pass_is_img2img_with_the_larger_latent(client: Client) -> None:
    small = client.latents()
    got = client.latents(enable_hr=True, hr_scale=1.5, denoising_strength=0.6, hr_second_pass_steps=3)
    sigmas = [sigma_at(t) for t in np.linspace(999, 0, 5)[2:]] + [0.0]            # the last 3 of int(3 / 0.6)
    x = torch.nn.functional.interpolate(small, (12, 24), mode="bilinear") + sigmas[0] * noises((4, 12, 24))()
    from modules import shared
    assert close(got, shared.sd_model.decode_first_stage(euler(x, sigmas)))


def test_the_hires_pass_has_its_own_prompts_steps_and_sampler(client: Client) -> None:
    job = dict(enable_hr=True, hr_scale=1.5, steps=2)
    plain = client.latents(**job)
    assert close(client.latents(**job, hr_prompt="a red circle", hr_negative_prompt="a cross", hr_second_pass_steps=2), plain)
    assert not close(client.latents(**job, hr_prompt="a blue square"), plain, 1e-2)
    assert close(client.latents(**{**job, "prompt": "[a red circle:a cross:1.0]"}, hr_prompt="a red circle"), plain)
    assert close(client.latents(**{**job, "prompt": "[a blue square:a red circle:1.0]"}, hr_prompt="[a cross:a red circle:1.0]"),
                 client.latents(**{**job, "prompt": "[a blue square:a red circle:1.0]"}, hr_prompt="a red circle"))
    more = {**job, "hr_second_pass_steps": 4}
    assert not close(client.latents(**more, hr_sampler_name="DPM++ 2M"), client.latents(**more), 1e-3)
    assert close(client.latents(**job, batch_size=2), torch.cat([plain, client.latents(**job, seed=4)]))


@pytest.mark.parametrize("sampler", ["Euler", "Euler a", "DPM++ 2M", "DDIM"])
def test_a_picture_does_not_depend_on_its_batch(client: Client, sampler: str) -> None:
    alone = [client.latents(seed=seed, sampler_name=sampler) for seed in (3, 4)]
    assert close(client.latents(batch_size=2, sampler_name=sampler), torch.cat(alone))
    assert close(client.latents(n_iter=2, sampler_name=sampler), torch.cat(alone))


def test_sizes_that_are_no_multiples_of_64(client: Client) -> None:
    assert client.latents(width=72, height=104).shape == (1, 4, 13, 9)


def test_equal_parts_of_AND_are_one_part_of_their_weight(client: Client) -> None:
    assert close(client.latents(prompt="a red circle AND a red circle"), client.latents(prompt="a red circle :2"))
    assert close(client.latents(prompt="a red circle AND a cross :0"), client.latents())


def test_network_calls_and_their_lengths(client: Client) -> None:
    long = "circle, " * 45              # more than 75 tokens
    client.latents(prompt="a AND b", batch_size=2, steps=1)
    assert client.recorder.rows == [(6, 77)]
    client.latents(prompt=f"{long} AND b", batch_size=2, steps=1)
    assert client.recorder.rows == [(4, 154), (2, 77)]
    client.latents(negative_prompt=long, steps=1)
    assert client.recorder.rows == [(1, 77), (1, 154)]
    padded = client.latents(negative_prompt=long, steps=1, override_settings={"pad_cond_uncond": True})
    assert client.recorder.rows == [(2, 154)]
    by_hand = client.latents(prompt="a red circle BREAK", negative_prompt=long, steps=1)
    assert client.recorder.rows == [(1, 77), (1, 154)] and not close(padded, by_hand)      # a closed chunk alone adds none


def test_one_call_or_several_is_the_same_picture(client: Client) -> None:
    for prompt in ("a red circle AND a cross", "circle, " * 45 + "AND a cross AND a square"):
        together = client.latents(prompt=prompt, batch_size=2)
        assert close(client.latents(prompt=prompt, batch_size=2, override_settings={"batch_cond_uncond": False}), together)


def test_prompt_editing_changes_the_prompt_at_its_step(client: Client) -> None:
    assert close(client.latents(prompt="[a cross:a red circle:0]"), client.latents())
    assert close(client.latents(prompt="[a red circle:a cross:4]"), client.latents())
    assert not close(client.latents(prompt="[a red circle:a cross:2]"), client.latents(), 1e-2)


def test_order_of_hooks(client: Client) -> None:
    client.latents(n_iter=2, steps=2, batch_size=2)
    step = ["cfg_denoiser", "cfg_denoised", "after_cfg"]
    iteration = ["before_process_batch", "after_extra_networks_activate", "process_batch", "process_before_every_sampling", *step, *step,
                 "post_sample", "postprocess_batch", "postprocess_batch_list", *2 * ["postprocess_image", "postprocess_maskoverlay",
                                                                                     "postprocess_image_after_composite"]]
    assert client.recorder.calls == ["setup", "before_process", "process", *iteration, *iteration, "postprocess"]
    client.latents(steps=1, enable_hr=True)
    between = client.recorder.calls[client.recorder.calls.index("after_cfg") + 1:client.recorder.calls.index("post_sample")]
    assert between == ["after_extra_networks_activate", "before_hr", "process_before_every_sampling", *step]
    client.latents(**inpaint(steps=2))
    steps = client.recorder.calls[client.recorder.calls.index("process_before_every_sampling") + 1:client.recorder.calls.index("post_sample")]
    assert steps == [*2 * ["cfg_denoiser", "cfg_denoised", "on_mask_blend", "after_cfg"], "on_mask_blend"]
    client.latents(**inpaint(steps=4, sampler_name="DDIM"))
    steps = client.recorder.calls[client.recorder.calls.index("process_before_every_sampling") + 1:client.recorder.calls.index("post_sample")]
    assert steps == ["on_mask_blend", *step, "on_mask_blend"]


@pytest.mark.parametrize("mode", ["error", "callback error"])
def test_an_exception_in_a_hook_is_logged(client: Client, mode: str, caplog: pytest.LogCaptureFixture) -> None:
    assert close(client.latents(mode), client.latents())
    assert "on purpose" in caplog.text


def test_an_exception_in_the_launch_reaches_the_user(client: Client) -> None:
    answer = client.post("422")
    assert answer.status_code == 422
    assert answer.json() == {"error": "ValueError", "detail": "", "body": "", "errors": "a sentence for the user"}
    assert client.post().status_code == 200
    from modules import shared
    noise = torch.randn(1, 4, 8, 16, generator=torch.Generator().manual_seed(3))
    sigma = ((1 - shared.sd_model.alphas_cumprod[-1]) / shared.sd_model.alphas_cumprod[-1]).sqrt()
    assert close(client.latents("recursion"), sigma * noise)        # swallowed: the last latent is the result


def test_interrupt_gives_the_last_latent(client: Client) -> None:
    answer = client.post("interrupt", steps=9, n_iter=3)
    assert len(answer.json()["images"]) == 1 and client.recorder.calls.count("after_cfg") == 3
    assert client.http.get("/sdapi/v1/progress").json()["state"]["job_count"] == 0


@pytest.mark.parametrize("job, status, word", [
    (dict(enable_hr=True, hr_upscaler="Lanczos"), 501, "Lanczos"), (dict(sampler_name="Heun"), 501, "Heun"), (dict(scheduler="Karras"), 501, "Karras"),
    (dict(prompt="a <lora:x:1>"), 501, "<lora:x:1>"), (dict(width=100), 501, "100x64"), (dict(script_name="X/Y"), 501, "script_name"),
    (dict(refiner_checkpoint="tiny-eps", refiner_switch_at=0.5), 501, "refiner"), (dict(override_settings={"nothing": 1}), 501, "nothing"),
    (dict(alwayson_scripts={"nothing": {"args": []}}), 422, "Script 'nothing' not found"), (dict(steps="many"), 422, "integer"),
    (dict(eta=0.5), 501, "eta"), (dict(enable_hr=True, hr_scheduler="Karras"), 501, "hr_scheduler"), (img2img(resize_mode=1), 501, "resize_mode 1"),
    (inpaint(mask_blur=4), 501, "mask_blur"), (inpaint(inpaint_full_res=True), 501, "inpaint_full_res"), (inpaint(inpainting_fill=0), 501, "inpainting_fill 0"),
    (img2img(mask="?"), 500, "Invalid encoded image")])
def test_what_is_not_here_is_refused_with_a_sentence(client: Client, job: dict, status: int, word: str) -> None:
    answer = client.post(**job)
    assert answer.status_code == status and word in answer.text, answer.text
    assert client.post(steps=1).status_code == 200


def test_other_routes(client: Client) -> None:
    def get(name: str) -> Any:
        return client.http.get(f"/sdapi/v1/{name}").json()
    assert [m["model_name"] for m in get("sd-models")] == ["tiny", "tiny-eps"] and len(get("sd-models")[0]["sha256"]) == 64
    assert [s["name"] for s in get("samplers")] == ["Euler", "Euler a", "DPM++ 2M", "DDIM"]
    assert get("scripts") == {"txt2img": ["recorder"], "img2img": ["recorder"]}
    assert get("script-info")[0]["args"][0]["value"] == "plain"
    assert client.http.post("/sdapi/v1/img2img", json={}).status_code == 404          # no picture
    client.http.post("/sdapi/v1/options", json={"sd_model_checkpoint": "tiny-eps"})
    assert get("options")["sd_model_checkpoint"] == "tiny-eps"
    assert json.loads(client.post(steps=1).json()["info"])["sd_model_name"] == "tiny-eps"
    client.http.post("/sdapi/v1/options", json={"sd_model_checkpoint": "tiny"})
    assert "txt2img_generate" in json.dumps(client.http.get("/config").json())


def test_infotext_comes_back(client: Client) -> None:
    image = client.post(prompt="a (red:1.2) circle,\nand more").json()["images"][0]
    picture = Image.open(io.BytesIO(base64.b64decode(image)))
    assert picture.size == (128, 64)
    answer = client.http.post("/sdapi/v1/png-info", json={"image": image}).json()
    assert answer["info"] == picture.info["parameters"] and "Recorder" not in answer["items"]
    read = answer["parameters"]
    assert read["Recorder"] == 'a, "b": c' and (read["Size-1"], read["Size-2"]) == ("128", "64")
    assert (read["Prompt"], read["Negative prompt"], read["Seed"]) == ("a (red:1.2) circle,\nand more", "a cross", "3")


def test_the_prompt_language(client: Client) -> None:
    from modules import prompt_parser
    schedule = [prompt_parser.prompt_schedule(p, 10) for p in (
        "a [b:3]", "a [[[b]]:2]", "[(a:2):3]", "a [b : c : 1] d", "a[b:[c:d:2]:1]e", "a [unbalanced", "a [b:.5] c", "[a|b]c", "[from::3]")]
    assert schedule[:7] == [[[3, "a "], [10, "a b"]], [[2, "a "], [10, "a [[b]]"]], [[3, ""], [10, "(a:2)"]],
                            [[1, "a b  d"], [10, "a  c  d"]], [[1, "abe"], [2, "ace"], [10, "ade"]], [[10, "a [unbalanced"]],
                            [[5, "a  c"], [10, "a b c"]]]
    assert [text for _, text in schedule[7]] == ["ac", "bc"] * 5 and schedule[8] == [[3, "from"], [10, ""]]
    attention = prompt_parser.parse_prompt_attention
    assert attention(r"an (important) \(word\)") == [["an ", 1.0], ["important", 1.1], [" (word)", 1.0]]
    assert attention("a (b:1.3) [c] ((d") == [["a ", 1.0], ["b", 1.3], [" ", 1.0], ["c", 1 / 1.1], [" ", 1.0], ["d", 1.1 * 1.1]]
    assert attention("a BREAK b") == [["a", 1.0], ["BREAK", -1], ["b", 1.0]]
    assert [text for _, text in prompt_parser.prompt_schedule("[fe|]male [(a:1.1)|b]", 2)] == ["female (a:1.1)", "male b"]
    assert prompt_parser.prompt_schedule(r"a \[b:c:3\] [x:[3:4:5]]", 10) == [[5, r"a \[b:c:3\] [x:3]"], [10, r"a \[b:c:3\] [x:4]"]]
    assert {text for _, text in prompt_parser.prompt_schedule("a | b [c:d:2]", 10)} == {"a | b [c:d:2]"}         # a loose bar
    hires = [prompt_parser.prompt_schedule(p, 10, 4) for p in ("[a:b:0.5]", "[a:b:1.5]", "[a:b:5]", "[a:b:12]", "[a:b:2.0]")]
    assert hires == [[[4, "b"]], [[2, "a"], [4, "b"]], [[4, "b"]], [[2, "a"], [4, "b"]], [[4, "a"]]]
    parts, flat, _ = prompt_parser.get_multicond_prompt_list(["a cat:1.2 AND a dog AND a cat :-1", "a dog"])
    assert parts == [[(0, 1.2), (1, 1.0), (2, -1.0)], [(3, 1.0)]] and list(flat) == ["a cat", " a dog", " a cat", "a dog"]


def test_chunks_break_behind_a_near_comma(client: Client) -> None:
    from modules import shared
    encoder = shared.sd_model.cond_stage_model
    chunks, count = encoder.tokenize_line("circle " * 70 + ", red blue circle square triangle cross")
    assert len(chunks) == 2 and all(len(c.tokens) == len(c.multipliers) == 77 for c in chunks) and count == 75 + 6
    assert chunks[0].tokens[71] == encoder.comma_token and chunks[0].tokens[72] == encoder.id_end
    chunks, _ = encoder.tokenize_line("circle " * 40 + ", " + "red " * 40)          # 20 tokens are the most that move
    assert chunks[0].tokens[75] != encoder.id_end


@torch.no_grad()
def test_both_families_see_one_network(client: Client) -> None:
    from modules import sd_samplers_kdiffusion as kdiffusion
    from modules import sd_samplers_timesteps as timesteps
    from modules import shared
    model = shared.sd_model
    cond = {"c_crossattn": [model.get_learned_conditioning(["a red circle"])]}
    x, denoiser = torch.randn(1, 4, 8, 16), kdiffusion.CompVisDenoiser(model)
    t = torch.tensor([1.0, 400.0, 998.25])
    assert close(denoiser.sigma_to_t(denoiser.t_to_sigma(t)), t)
    sigma = denoiser.sigmas[400:401]
    eps = timesteps.CompVisTimestepsDenoiser(model)(x, torch.tensor([400]), cond=cond)
    x_ve = x * (1 + sigma**2).sqrt()
    assert close(denoiser(x_ve, sigma, cond=cond), x_ve - sigma * eps)


def test_it_stays_small():
    """Page, JavaScript, demo, the shapes world and the tests' client aside."""
    folder = Path(__file__).parent.parent / "minihost"
    files = [file for file in (*folder.glob("*.py"), *folder.glob("modules/*.py")) if file.name not in ("page.py", "client.py")]
    assert len(files) > 20 and sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files) < 1500
