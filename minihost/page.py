"""The page: a plain txt2img tab under the WebUI's element ids, with the always-on scripts below, and the tabs of extensions."""
from __future__ import annotations

import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse
from modules import errors, infotext_utils, script_callbacks, scripts, sd_models, sd_samplers, shared
from modules.call_queue import queue_lock
from modules.processing import StableDiffusionProcessingTxt2Img, process_images

FIELDS = ("prompt", "negative_prompt", "width", "height", "steps", "sampler_name", "cfg_scale", "seed", "batch_size", "n_iter")
CSS = "footer {display: none !important} .error {color: #b91c1c; font-weight: 600} #html_info_txt2img {white-space: pre-wrap}"


def generate(checkpoint: str, *values: Any) -> tuple[list, str, str]:
    """Runs one job of the page: pictures, infotext, and a note that holds an exception's sentence."""
    job = dict(zip(FIELDS, values))
    for name in ("width", "height", "steps", "seed", "batch_size", "n_iter"):
        job[name] = int(job[name])
    with queue_lock:
        shared.state.begin(job="txt2img")
        try:
            shared.opts.set("sd_model_checkpoint", checkpoint)
            p = StableDiffusionProcessingTxt2Img(**job)
            p.scripts, p.script_args = scripts.scripts_txt2img, (0, *values[len(FIELDS):])
            processed = process_images(p)
            return processed.images, processed.info, ""
        except Exception as e:
            errors.report(f"Error completing request: {job}", exc_info=True)
            return [], "", f"<div class='error'>{html.escape(f'{type(e).__name__}: {e}')}</div>"
        finally:
            shared.state.end()


def paste(infotext: str, fields: Sequence[tuple[Any, Any]]) -> list:
    """What becomes of the fields, each with a key of the infotext's parameters or a function of them."""
    params = infotext_utils.parse_generation_parameters(infotext)
    script_callbacks.infotext_pasted_callback(infotext, params)
    values = [key(params) if callable(key) else params.get(key) for _, key in fields]
    numbers = [isinstance(field, (gr.Slider, gr.Number)) for field, _ in fields]
    return [value if isinstance(value, dict) else gr.update() if value is None else gr.update(value=float(value) if number else value)
            for value, number in zip(values, numbers)]


def create_ui() -> gr.Blocks:
    runner = scripts.scripts_txt2img
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])   # no web fonts
    tabs = []
    for registered in script_callbacks.callback_map["callbacks_ui_tabs"]:
        with errors.reported(f"Error in the tabs of {registered.script}"):
            tabs += registered.callback()
    with gr.Blocks(title="minihost", css=CSS, analytics_enabled=False, theme=theme) as page:
        titles = list(sd_models.checkpoints_list)
        checkpoint = gr.Dropdown(titles, value=shared.sd_model.sd_checkpoint_info.title, label="Stable Diffusion checkpoint",
                                 elem_id="setting_sd_model_checkpoint")
        with gr.Tabs(elem_id="tabs"):
            with gr.TabItem("txt2img", id="txt2img", elem_id="tab_txt2img"):
                with gr.Row(elem_id="txt2img_toprow"):
                    with gr.Column(scale=6):
                        prompt = gr.Textbox(label="Prompt", elem_id="txt2img_prompt", lines=2)
                        negative_prompt = gr.Textbox(label="Negative prompt", elem_id="txt2img_neg_prompt", lines=2)
                    with gr.Column(scale=1, min_width=160, elem_id="txt2img_tools"):
                        submit = gr.Button("Generate", variant="primary", elem_id="txt2img_generate")
                        interrupt = gr.Button("Interrupt", elem_id="txt2img_interrupt")
                        read = gr.Button("Read parameters from the prompt", elem_id="paste")
                with gr.Row():
                    with gr.Column(elem_id="txt2img_settings"):
                        with gr.Row():
                            sampler = gr.Dropdown(list(sd_samplers.all_samplers_map), value="Euler", label="Sampling method",
                                                  elem_id="txt2img_sampling")
                            steps = gr.Slider(1, 150, value=20, step=1, label="Sampling steps", elem_id="txt2img_steps")
                        with gr.Row():
                            width = gr.Slider(64, 2048, value=128, step=64, label="Width", elem_id="txt2img_width")
                            height = gr.Slider(64, 2048, value=128, step=64, label="Height", elem_id="txt2img_height")
                        with gr.Row():
                            count = gr.Slider(1, 100, value=1, step=1, label="Batch count", elem_id="txt2img_batch_count")
                            size = gr.Slider(1, 8, value=1, step=1, label="Batch size", elem_id="txt2img_batch_size")
                        with gr.Row():
                            cfg = gr.Slider(1, 30, value=7, step=0.5, label="CFG Scale", elem_id="txt2img_cfg_scale")
                            seed = gr.Number(-1, label="Seed", precision=0, elem_id="txt2img_seed")
                        with gr.Group(elem_id="txt2img_script_container"):
                            inputs = runner.setup_ui()
                    with gr.Column(elem_id="txt2img_results"):
                        gallery = gr.Gallery(label="Output", show_label=False, elem_id="txt2img_gallery", columns=4, preview=True)
                        infotext = gr.Textbox(label="Parameters", elem_id="html_info_txt2img", interactive=False, show_copy_button=True)
                        note = gr.HTML(elem_id="html_log_txt2img")
                job = [prompt, negative_prompt, width, height, steps, sampler, cfg, seed, size, count]
                for start in (submit.click, prompt.submit, negative_prompt.submit):
                    start(generate, [checkpoint, *job, *inputs[1:]], [gallery, infotext, note], api_name=False)
                fields = [(prompt, "Prompt"), (negative_prompt, "Negative prompt"), (width, "Size-1"), (height, "Size-2"), (steps, "Steps"),
                          (sampler, "Sampler"), (cfg, "CFG scale"), (seed, "Seed"),
                          *(f for s in runner.scripts for f in s.infotext_fields or ())]
                read.click(lambda text: paste(text, fields), prompt, [field for field, _ in fields], api_name=False)
                interrupt.click(shared.state.interrupt, api_name=False)
            for blocks, title, name in tabs:
                with gr.TabItem(title, id=name, elem_id=f"tab_{name}"):
                    blocks.render()
    with gr.Blocks():
        scripts.scripts_img2img.setup_ui()          # the API's: there is no such tab
    return page


def mount(app: FastAPI, page: gr.Blocks, extensions: Sequence[Path]) -> None:
    """Puts the page at /, without what gradio's own page loads from elsewhere, and with the extensions' style.css and javascript/*.js,
    each from an address of its own, as the WebUI has them."""
    own = ""
    for form, files in (('<link rel="stylesheet" href="{}">', "style.css"), ('<script src="{}"></script>', "javascript/*.js")):
        for folder in extensions:
            for file in sorted(folder.glob(files)):
                address = f"extensions/{folder.name}/{file.relative_to(folder)}"
                app.add_route(f"/{address}", lambda request, file=file: FileResponse(file))
                own += form.format(address)

    @app.middleware("http")
    async def local_only(request: Request, call_next: Any) -> Any:
        response = await call_next(request)
        if request.url.path != "/" or not response.headers.get("content-type", "").startswith("text/html"):
            return response
        text = b"".join([part async for part in response.body_iterator]).decode()
        text = re.sub(r'<link[^>]*https://[^>]*>|<script[^>]*src="https://[^>]*>\s*</script>', "", text)
        return HTMLResponse(text.replace("</head>", own + "</head>", 1), response.status_code)

    gr.mount_gradio_app(app, page, path="/")
