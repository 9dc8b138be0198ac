"""The WebUI's HTTP routes, as far as minihost has what is behind them."""
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
from modules.processing import StableDiffusionProcessingImg2Img, StableDiffusionProcessingTxt2Img, process_images
from PIL import Image, PngImagePlugin
from pydantic import BaseModel, create_model

NOT_HERE = ("script_name", "infotext", "save_images", "firstpass_image", "styles", "restore_faces", "tiling", "eta", "s_churn",
            "s_min_uncond", "subseed_strength", "seed_resize_from_h", "seed_resize_from_w", "hr_scheduler", "hr_checkpoint_name",
            "hr_resize_x", "hr_resize_y", "latent_mask", "disable_extra_networks")


def request_model(job: type) -> type[BaseModel]:
    """The job's fields, and what else a request may hold."""
    own = {f.name: (get_type_hints(job)[f.name] | None, f.default) for f in fields(job)}
    return create_model(job.__name__, **own, **dict.fromkeys(NOT_HERE, (Any, None)), sampler_index=(str, "Euler"), script_args=(list, []),
                        send_images=(bool, True), alwayson_scripts=(dict, {}))


Txt2ImgRequest, Img2ImgRequest = request_model(StableDiffusionProcessingTxt2Img), request_model(StableDiffusionProcessingImg2Img)


def error_response(request: Request, e: Exception) -> JSONResponse:
    """Any exception as the WebUI words it; the status is the instance attribute `status_code`, else 500."""
    described = dict(error=type(e).__name__, detail=vars(e).get("detail", ""), body=vars(e).get("body", ""), errors=str(e))
    if not isinstance(e, HTTPException):
        errors.report(f"API error: {request.method}: {request.url} {described}", exc_info=not isinstance(e, NotHere))
    return JSONResponse(status_code=vars(e).get("status_code", 500), content=jsonable_encoder(described))


def script_args(runner: scripts.ScriptRunner, alwayson_scripts: dict[str, Any]) -> tuple:
    """The defaults of all scripts with what the request says in their places."""
    args = [0, *[control.value for control in runner.inputs[1:]]]
    for name, of_script in alwayson_scripts.items():
        script = next((s for s in runner.scripts if s.title().lower() == name.lower()), None)
        if script is None:
            raise HTTPException(status_code=422, detail=f"Script '{name}' not found")
        given = of_script.get("args", [])[:script.args_to - script.args_from]
        args[script.args_from:script.args_from + len(given)] = given
    return tuple(args)


def png(image: Image.Image) -> str:
    """As base64, with the picture's texts."""
    chunks, file = PngImagePlugin.PngInfo(), io.BytesIO()
    for key, text in image.info.items():
        chunks.add_text(key, text)
    image.save(file, format="PNG", pnginfo=chunks)
    return base64.b64encode(file.getvalue()).decode()


def decoded(image: str) -> Image.Image:
    """The picture of a base64 text, which may be a data URL."""
    try:
        return Image.open(io.BytesIO(base64.b64decode(image.strip().split(",", 1)[-1])))
    except (OSError, binascii.Error) as e:
        raise HTTPException(status_code=500, detail="Invalid encoded image") from e


def run(request: BaseModel, job: type, runner: scripts.ScriptRunner, **pictures: Any) -> dict[str, Any]:
    """One job; `pictures` are those fields of it that are pictures."""
    errors.refuse({name: getattr(request, name) not in (None, False, 0, -1, "", []) for name in NOT_HERE})
    p = job(**{f.name: value for f in fields(job) if (value := getattr(request, f.name)) is not None} | pictures)
    p.scripts, p.script_args = runner, script_args(runner, request.alwayson_scripts)
    p.sampler_name = p.sampler_name or request.sampler_index
    with queue_lock:
        try:
            shared.state.begin(job=f"scripts_{'img2img' if runner is scripts.scripts_img2img else 'txt2img'}")
            processed = process_images(p)
        finally:
            shared.state.end()
    parameters = {**vars(request), **dict.fromkeys(pictures)}
    return dict(images=[png(image) for image in processed.images if request.send_images], parameters=parameters, info=processed.js())


def txt2img(request: Txt2ImgRequest) -> dict[str, Any]:
    return run(request, StableDiffusionProcessingTxt2Img, scripts.scripts_txt2img)


def img2img(request: Img2ImgRequest) -> dict[str, Any]:
    if not request.init_images:
        raise HTTPException(status_code=404, detail="Init image not found")
    return run(request, StableDiffusionProcessingImg2Img, scripts.scripts_img2img,
               init_images=[decoded(image) for image in request.init_images], mask=request.mask and decoded(request.mask))


def progress() -> dict[str, Any]:
    state = shared.state
    share = 0.01 + (state.job_no + state.sampling_step / max(state.sampling_steps, 1)) / state.job_count if state.job_count > 0 else 0.0
    elapsed = time.time() - state.time_start
    described = {name: value for name, value in vars(state).items() if name != "time_start"}
    return dict(progress=min(share, 1.0), eta_relative=elapsed / share - elapsed if share else 0.0, state=described, current_image=None)


def set_options(request: dict[str, Any] = Body()) -> None:      # noqa: B008
    if (name := request.get("sd_model_checkpoint")) is not None and name not in sd_models.checkpoint_aliases:
        raise RuntimeError(f"model {name!r} not found")
    with queue_lock:
        for key, value in request.items():
            shared.opts.set(key, value)
        sd_models.reload_model_weights()


def png_info(image: str = Body(embed=True)) -> dict[str, Any]:
    items = {key: value for key, value in decoded(image).info.items() if isinstance(value, str)}
    infotext = items.pop("parameters", "")
    return dict(info=infotext, items=items, parameters=infotext_utils.parse_generation_parameters(infotext))


def create_app() -> FastAPI:
    app, runners = FastAPI(title="minihost"), {"txt2img": scripts.scripts_txt2img, "img2img": scripts.scripts_img2img}
    get = {
        "progress": progress, "options": lambda: shared.opts.data,
        "sd-models": lambda: [{**vars(info), "hash": info.shorthash} for info in sd_models.checkpoints_list.values()],
        "samplers": lambda: [dict(name=s.name, aliases=s.aliases, options=s.options) for s in sd_samplers.all_samplers],
        "scripts": lambda: {tab: [s.name for s in runner.scripts if s.api_info] for tab, runner in runners.items()},
        "script-info": lambda: [s.api_info for runner in runners.values() for s in runner.scripts if s.api_info]}
    post = {"txt2img": txt2img, "img2img": img2img, "interrupt": shared.state.interrupt, "options": set_options,
            "png-info": png_info}
    for method, endpoints in (("GET", get), ("POST", post)):
        for name, endpoint in endpoints.items():
            app.add_api_route(f"/sdapi/v1/{name}", endpoint, methods=[method])
    app.add_exception_handler(HTTPException, error_response)

    @app.middleware("http")
    async def exceptions(request: Request, call_next: Any) -> Any:
        try:
            return await call_next(request)
        except Exception as e:
            return error_response(request, e)

    return app
