"""The WebUI's HTTP routes, as far as minihost has what is behind them."""
from __future__ import annotations

import base64
import time
from contextlib import closing
from dataclasses import fields
from typing import Any, get_type_hints

from fastapi import Body, FastAPI, HTTPException, Request
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from modules import errors, images, infotext_utils, script_callbacks, scripts, sd_models, sd_samplers, shared
from modules.call_queue import queue_lock
from modules.errors import NotHere
from modules.processing import StableDiffusionProcessingTxt2Img, process_images
from pydantic import BaseModel, create_model

HINTS = get_type_hints(StableDiffusionProcessingTxt2Img)
NAMES = {f.name: f.default for f in fields(StableDiffusionProcessingTxt2Img) if f.name != "extra_generation_params"}
Txt2ImgRequest = create_model(
    "StableDiffusionProcessingTxt2Img", **{name: (HINTS[name] | None, default) for name, default in NAMES.items()},
    sampler_index=(str, "Euler"), script_name=(str | None, None), script_args=(list, []), send_images=(bool, True),
    save_images=(bool, False), alwayson_scripts=(dict, {}), infotext=(str | None, None), firstpass_image=(str | None, None))


class PngInfoRequest(BaseModel):
    image: str


def error_response(request: Request, e: Exception) -> JSONResponse:
    """Any exception as the WebUI words it; the status is the instance attribute `status_code`, else 500."""
    described = dict(error=type(e).__name__, detail=vars(e).get("detail", ""), body=vars(e).get("body", ""), errors=str(e))
    if not isinstance(e, HTTPException):
        errors.report(f"API error: {request.method}: {request.url} {described}", exc_info=not isinstance(e, NotHere))
    return JSONResponse(status_code=vars(e).get("status_code", 500), content=jsonable_encoder(described))


def script_args(alwayson_scripts: dict[str, Any]) -> tuple:
    """The defaults of all scripts with what the request says in their places."""
    runner = scripts.scripts_txt2img
    args = runner.default_values.copy()
    for name, of_script in alwayson_scripts.items():
        script = next((s for s in runner.alwayson_scripts if s.title().lower() == name.lower()), None)
        if script is None:
            raise HTTPException(status_code=422, detail=f"Script '{name}' not found")
        given = of_script.get("args", [])[:script.args_to - script.args_from]
        args[script.args_from:script.args_from + len(given)] = given
    return tuple(args)


def txt2img(request: Txt2ImgRequest) -> dict[str, Any]:
    for name in ("script_name", "infotext", "save_images", "firstpass_image"):
        if getattr(request, name):
            raise NotHere(f"minihost has no {name}: take it out of the request, or use the WebUI.")
    args = script_args(request.alwayson_scripts)
    job = {name: getattr(request, name) for name in NAMES} | dict(sampler_name=request.sampler_name or request.sampler_index)
    if job["sampler_name"] not in sd_samplers.all_samplers_map:
        sd_samplers.create_sampler(job["sampler_name"], None)       # says what there is
    with queue_lock, closing(StableDiffusionProcessingTxt2Img(**job)) as p:
        p.is_api = True
        p.scripts = scripts.scripts_txt2img
        try:
            shared.state.begin(job="scripts_txt2img")
            p.script_args = args
            processed = process_images(p)
        finally:
            shared.state.end()
    pictures = [base64.b64encode(images.encode_png(image)).decode() for image in processed.images] if request.send_images else []
    return dict(images=pictures, parameters=vars(request), info=processed.js())


def img2img() -> None:
    raise NotHere("minihost has no img2img: use txt2img, or the WebUI.")


def progress() -> dict[str, Any]:
    state = shared.state
    share = eta = 0.0
    if state.job_count:
        share = 0.01 + (state.job_no + state.sampling_step / max(state.sampling_steps, 1)) / state.job_count * (state.job_count > 0)
        elapsed = time.time() - state.time_start
        eta = elapsed / share - elapsed
    return dict(progress=min(share, 1.0), eta_relative=eta, state=state.dict(), current_image=None, textinfo=state.textinfo)


def interrupt() -> dict:
    shared.state.interrupt()
    return {}


def skip() -> None:
    shared.state.skip()


def list_checkpoints() -> list[dict]:
    return [dict(title=info.title, model_name=info.model_name, hash=info.shorthash, sha256=info.sha256, filename=info.filename,
                 config=info.config) for info in sd_models.checkpoints_list.values()]


def list_samplers() -> list[dict]:
    return [dict(name=s.name, aliases=s.aliases, options=s.options) for s in sd_samplers.all_samplers]


def list_scripts() -> dict[str, list[str]]:
    return {tab: [s.name for s in runner.scripts if s.name is not None]
            for tab, runner in (("txt2img", scripts.scripts_txt2img), ("img2img", scripts.scripts_img2img))}


def script_info() -> list[dict]:
    return [s.api_info for runner in (scripts.scripts_txt2img, scripts.scripts_img2img) for s in runner.scripts if s.api_info]


def get_options() -> dict[str, Any]:
    return shared.opts.data


def set_options(request: dict[str, Any] = Body()) -> None:      # noqa: B008
    name = request.get("sd_model_checkpoint")
    if name is not None and name not in sd_models.checkpoint_aliases:
        raise RuntimeError(f"model {name!r} not found")
    with queue_lock:
        for key, value in request.items():
            shared.opts.set(key, value, is_api=True)


def png_info(request: PngInfoRequest) -> dict[str, Any]:
    infotext, items = images.read_info_from_image(images.decode_base64(request.image.strip()))
    parameters = infotext_utils.parse_generation_parameters(infotext or "")
    script_callbacks.infotext_pasted_callback(infotext or "", parameters)
    return dict(info=infotext or "", items=items, parameters=parameters)


def create_app() -> FastAPI:
    app = FastAPI(title="minihost")
    for method, name, endpoint in (
            ("POST", "txt2img", txt2img), ("POST", "img2img", img2img), ("GET", "progress", progress),
            ("POST", "interrupt", interrupt), ("POST", "skip", skip), ("GET", "sd-models", list_checkpoints),
            ("GET", "samplers", list_samplers), ("GET", "scripts", list_scripts), ("GET", "script-info", script_info),
            ("GET", "options", get_options), ("POST", "options", set_options), ("POST", "png-info", png_info)):
        app.add_api_route(f"/sdapi/v1/{name}", endpoint, methods=[method])
    app.add_exception_handler(HTTPException, error_response)

    @app.middleware("http")
    async def exceptions(request: Request, call_next: Any) -> Any:
        try:
            return await call_next(request)
        except Exception as e:
            return error_response(request, e)

    return app
