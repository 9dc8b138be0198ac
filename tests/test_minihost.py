"""Laws of the embedded host: its samplers against naive loops, its batches against single pictures, its hooks against the WebUI's order."""
from __future__ import annotations

import base64
import io
import json
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
            Recorder.latents.append(args[0].samples.clone())
        if name == "process":
            self.before(p, args[-1])
            p.extra_generation_params["Recorder"] = 'a, "b": c'
    return call

for name in ("setup before_process process before_process_batch after_extra_networks_activate process_batch process_before_every_sampling "
             "post_sample postprocess_batch postprocess_batch_list postprocess_image postprocess").split():
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

    def post(self, mode: str = "plain", **job: Any) -> Any:
        body = dict(prompt="a red circle", negative_prompt="a cross", seed=3, steps=4, width=128, height=64, cfg_scale=4, sampler_name="Euler",
                    alwayson_scripts={"recorder": {"args": [mode]}})
        for record in (self.recorder.calls, self.recorder.latents, self.recorder.rows):
            record.clear()
        self.recorder.mode = mode
        return self.http.post("/sdapi/v1/txt2img", json={**body, **job})

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


@pytest.mark.parametrize("sampler", ["Euler", "DDIM"])
def test_a_picture_does_not_depend_on_its_batch(client: Client, sampler: str) -> None:
    alone = [client.latents(seed=seed, sampler_name=sampler) for seed in (3, 4)]
    assert close(client.latents(batch_size=2, sampler_name=sampler), torch.cat(alone))
    assert close(client.latents(n_iter=2, sampler_name=sampler), torch.cat(alone))


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
                 "post_sample", "postprocess_batch", "postprocess_batch_list", "postprocess_image", "postprocess_image"]
    assert client.recorder.calls == ["setup", "before_process", "process", *iteration, *iteration, "postprocess"]


@pytest.mark.parametrize("mode", ["error", "callback error"])
def test_an_exception_in_a_hook_is_logged(client: Client, mode: str, capsys: pytest.CaptureFixture) -> None:
    assert close(client.latents(mode), client.latents())
    assert "on purpose" in capsys.readouterr().err


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
    (dict(enable_hr=True), 501, "hires"), (dict(sampler_name="Heun"), 501, "Heun"), (dict(scheduler="Karras"), 501, "Karras"),
    (dict(prompt="a <lora:x:1>"), 501, "<lora:x:1>"), (dict(width=100), 501, "100x64"), (dict(script_name="X/Y"), 501, "script_name"),
    (dict(refiner_checkpoint="tiny-eps", refiner_switch_at=0.5), 501, "refiner"), (dict(override_settings={"nothing": 1}), 501, "nothing"),
    (dict(alwayson_scripts={"nothing": {"args": []}}), 422, "Script 'nothing' not found"), (dict(steps="many"), 422, "integer"),
    (dict(eta=0.5), 501, "eta")])
def test_what_is_not_here_is_refused_with_a_sentence(client: Client, job: dict, status: int, word: str) -> None:
    answer = client.post(**job)
    assert answer.status_code == status and word in answer.text, answer.text
    assert client.post(steps=1).status_code == 200


def test_other_routes(client: Client) -> None:
    def get(name: str) -> Any:
        return client.http.get(f"/sdapi/v1/{name}").json()
    assert [m["model_name"] for m in get("sd-models")] == ["tiny", "tiny-eps"] and len(get("sd-models")[0]["sha256"]) == 64
    assert [s["name"] for s in get("samplers")] == ["Euler", "DDIM"]
    assert get("scripts") == {"txt2img": ["recorder"], "img2img": ["recorder"]}
    assert get("script-info")[0]["args"][0]["value"] == "plain"
    assert client.http.post("/sdapi/v1/img2img", json={}).status_code == 501
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
    schedule = [s for [s] in [prompt_parser.get_learned_conditioning_prompt_schedules([p], 10) for p in (
        "a [b:3]", "a [[[b]]:2]", "[(a:2):3]", "a [b : c : 1] d", "a[b:[c:d:2]:1]e", "a [unbalanced", "a [b:.5] c", "[a|b]c", "[from::3]")]]
    assert schedule[:7] == [[[3, "a "], [10, "a b"]], [[2, "a "], [10, "a [[b]]"]], [[3, ""], [10, "(a:2)"]],
                            [[1, "a b  d"], [10, "a  c  d"]], [[1, "abe"], [2, "ace"], [10, "ade"]], [[10, "a [unbalanced"]],
                            [[5, "a  c"], [10, "a b c"]]]
    assert [text for _, text in schedule[7]] == ["ac", "bc"] * 5 and schedule[8] == [[3, "from"], [10, ""]]
    attention = prompt_parser.parse_prompt_attention
    assert attention(r"an (important) \(word\)") == [["an ", 1.0], ["important", 1.1], [" (word)", 1.0]]
    assert attention("a (b:1.3) [c] ((d") == [["a ", 1.0], ["b", 1.3], [" ", 1.0], ["c", 1 / 1.1], [" ", 1.0], ["d", 1.1 * 1.1]]
    assert attention("a BREAK b") == [["a", 1.0], ["BREAK", -1], ["b", 1.0]]
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
    karras, compvis = {"v": (kdiffusion.CompVisVDenoiser, timesteps.CompVisTimestepsVDenoiser),
                       "eps": (kdiffusion.CompVisDenoiser, timesteps.CompVisTimestepsDenoiser)}[model.parameterization]
    cond = {"c_crossattn": [model.get_learned_conditioning(["a red circle"])]}
    x, denoiser = torch.randn(1, 4, 8, 16), karras(model)
    t = torch.tensor([1.0, 400.0, 998.25])
    assert close(denoiser.sigma_to_t(denoiser.t_to_sigma(t)), t)
    sigma = denoiser.sigmas[400:401]
    eps = compvis(model)(x, torch.tensor([400]), cond=cond)
    x_ve = x * (1 + sigma**2).sqrt()
    assert close(denoiser(x_ve, sigma, cond=cond), x_ve - sigma * eps)
