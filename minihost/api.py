"""The WebUI's HTTP routes, as far as minihost has what is behind them."""
from __future__ import annotations

import base64
import binascii
import io
import time
from dataclasses import fields
from typing import Any, get_type_hints

from fastapi import Body, FastAPI, HTTPException, Request
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from modules import errors, infotext_utils, scripts, sd_models, sd_samplers, shared
from modules.call_queue import queue_lock
from modules.errors import NotHere
from modules.processing import StableDiffusionProcessingTxt2Img, process_images
from PIL import Image, PngImagePlugin
from pydantic import create_model

HINTS = get_type_hints(StableDiffusionProcessingTxt2Img)
NAMES = {f.name: f.default for f in fields(StableDiffusionProcessingTxt2Img)}
NOT_HERE = ("script_name", "infotext", "save_images", "firstpass_image", "styles", "restore_faces", "tiling", "eta", "s_churn",
            "s_min_uncond", "subseed_strength", "seed_resize_from_h", "seed_resize_from_w")
Txt2ImgRequest = create_model(
    "StableDiffusionProcessingTxt2Img", **{name: (HINTS[name] | None, default) for name, default in NAMES.items()},
    **dict.fromkeys(NOT_HERE, (Any, None)), sampler_index=(str, "Euler"), script_args=(list, []), send_images=(bool, True),
    alwayson_scripts=(dict, {}))
PngInfoRequest = create_model("PNGInfoRequest", image=(str, ...))


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
        script = next((s for s in runner.scripts if s.title().lower() == name.lower()), None)
        if script is None:
            raise HTTPException(status_code=422, detail=f"Script '{name}' not found")
        given = of_script.get("args", [])[:script.args_to - script.args_from]
        args[script.args_from:script.args_from + len(given)] = given
    return tuple(args)


def png(image: Image.Image) -> str:
    """As base64, with the picture's infotext."""
    chunks, file = PngImagePlugin.PngInfo(), io.BytesIO()
    chunks.add_text("parameters", image.info["parameters"])
    image.save(file, format="PNG", pnginfo=chunks)
    return base64.b64encode(file.getvalue()).decode()


def txt2img(request: Txt2ImgRequest) -> dict[str, Any]:
    for name in NOT_HERE:
        if getattr(request, name) not in (None, False, 0, -1, "", []):
            raise NotHere(f"minihost has no {name}: take it out of the request, or use the WebUI.")
    p = StableDiffusionProcessingTxt2Img(**{name: getattr(request, name) for name in NAMES})
    p.scripts, p.script_args = scripts.scripts_txt2img, script_args(request.alwayson_scripts)
    p.sampler_name = p.sampler_name or request.sampler_index
    sd_samplers.create_sampler(p.sampler_name, shared.sd_model)         # or says what there is
    with queue_lock:
        try:
            shared.state.begin(job="scripts_txt2img")
            processed = process_images(p)
        finally:
            shared.state.end()
    return dict(images=[png(image) for image in processed.images if request.send_images], parameters=vars(request), info=processed.js())


def img2img() -> None:
    raise NotHere("minihost has no img2img: use txt2img, or the WebUI.")


def progress() -> dict[str, Any]:
    state, share, eta = shared.state, 0.0, 0.0
    if state.job_count > 0:
        share = 0.01 + (state.job_no + state.sampling_step / max(state.sampling_steps, 1)) / state.job_count
        elapsed = time.time() - state.time_start
        eta = elapsed / share - elapsed
    return dict(progress=min(share, 1.0), eta_relative=eta, state=state.dict(), current_image=None, textinfo=None)


def interrupt() -> dict:
    shared.state.interrupt()
    return {}


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
            shared.opts.set(key, value)
        sd_models.reload_model_weights()


def png_info(request: PngInfoRequest) -> dict[str, Any]:
    try:
        image = Image.open(io.BytesIO(base64.b64decode(request.image.strip().split(",", 1)[-1])))
    except (OSError, binascii.Error) as e:
        raise HTTPException(status_code=500, detail="Invalid encoded image") from e
    items = {key: value for key, value in image.info.items() if isinstance(value, str)}
    infotext = items.pop("parameters", "")
    return dict(info=infotext, items=items, parameters=infotext_utils.parse_generation_parameters(infotext))


def create_app() -> FastAPI:
    app = FastAPI(title="minihost")
    for method, name, endpoint in (
            ("POST", "txt2img", txt2img), ("POST", "img2img", img2img), ("GET", "progress", progress),
            ("POST", "interrupt", interrupt), ("POST", "skip", shared.state.skip), ("GET", "sd-models", list_checkpoints),
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
