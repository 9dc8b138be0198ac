"""The signatures of the host that mixdiff relies on: those of the embedded host, and of the WebUI checkout at MIXDIFF_WEBUI_DIR."""
from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOSTS = {"minihost": ROOT / "minihost"}
if os.environ.get("MIXDIFF_WEBUI_DIR"):
    HOSTS["WebUI"] = Path(os.environ["MIXDIFF_WEBUI_DIR"]).expanduser()

# what is called or overridden: file, name, parameters in order (keyword-only ones after *)
CONTRACT = [
    ("sd_samplers_common.py", "Sampler.launch_sampling", "self steps func"),
    ("sd_samplers_common.py", "Sampler.callback_state", "self d"),
    ("sd_samplers_cfg_denoiser.py", "CFGDenoiser.__init__", "self sampler"),
    ("sd_samplers_cfg_denoiser.py", "CFGDenoiser.forward", "self x sigma uncond cond cond_scale s_min_uncond image_cond"),
    ("sd_samplers_cfg_denoiser.py", "CFGDenoiser.combine_denoised", "self x_out conds_list uncond cond_scale"),
    ("sd_samplers_cfg_denoiser.py", "CFGDenoiser.inner_model", "self"),
    ("sd_samplers_cfg_denoiser.py", "CFGDenoiser.pad_cond_uncond", "self cond uncond"),
    ("sd_samplers.py", "find_sampler_config", "name"),
    ("prompt_parser.py", "get_multicond_prompt_list", "prompts"),
    ("prompt_parser.py", "SdConditioning.__init__", "self prompts is_negative_prompt width height copy_from"),
    ("prompt_parser.py", "get_learned_conditioning", "model prompts steps hires_steps use_old_scheduling"),
    ("prompt_parser.py", "get_multicond_learned_conditioning", "model prompts steps hires_steps use_old_scheduling"),
    ("prompt_parser.py", "MulticondLearnedConditioning.__init__", "self shape batch"),
    ("prompt_parser.py", "reconstruct_cond_batch", "c current_step"),
    ("prompt_parser.py", "reconstruct_multicond_batch", "c current_step"),
    ("prompt_parser.py", "get_learned_conditioning_prompt_schedules", "prompts base_steps hires_steps use_old_scheduling"),
    ("sd_hijack.py", "StableDiffusionModelHijack.get_prompt_lengths", "self text"),
    ("devices.py", "autocast", "disable"),
    ("sd_samplers_common.py", "images_tensor_to_samples", "image approximation model"),
    ("processing.py", "decode_latent_batch", "model batch target_device check_for_nans"),
    ("sd_samplers_common.py", "store_latent", "decoded"), ("rng.py", "ImageRNG.next", "self"),
    ("script_callbacks.py", "CFGDenoiserParams.__init__",
     "self x image_cond sigma sampling_step total_sampling_steps text_cond text_uncond denoiser"),
    ("script_callbacks.py", "CFGDenoisedParams.__init__", "self x sampling_step total_sampling_steps inner_model"),
    ("scripts.py", "Script.title", "self"), ("scripts.py", "Script.show", "self is_img2img"), ("scripts.py", "Script.ui", "self is_img2img"),
    ("scripts.py", "Script.process", "self p *args"), ("scripts.py", "Script.process_batch", "self p *args **kwargs"),
    ("scripts.py", "Script.process_before_every_sampling", "self p *args **kwargs"),
    ("infotext_utils.py", "parse_generation_parameters", "x skip_fields"),
    ("scripts.py", "Script.postprocess", "self p processed *args"), ("scripts.py", "Script.elem_id", "self item_id"),
]


def parameters(tree: ast.Module, name: str) -> str | None:
    """The parameters of a function or method of a module, as the table above writes them."""
    body: list[ast.stmt] = tree.body
    node: ast.AST | None = None
    for part in name.split("."):
        node = next((n for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name == part), None)
        body = getattr(node, "body", [])
    if not isinstance(node, ast.FunctionDef):
        return None
    a = node.args
    names = [x.arg for x in a.posonlyargs + a.args]
    names += ["*" + a.vararg.arg] if a.vararg else ["*"] if a.kwonlyargs else []
    return " ".join(names + [x.arg for x in a.kwonlyargs] + (["**" + a.kwarg.arg] if a.kwarg else []))


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("file, name, expected", CONTRACT, ids=lambda v: v if "." in v and " " not in v else "")
def test_signature(host, file, name, expected):
    tree = ast.parse((HOSTS[host] / "modules" / file).read_text(encoding="utf-8"))
    assert parameters(tree, name) == expected
