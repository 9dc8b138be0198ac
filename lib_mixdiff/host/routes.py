"""The HTTP routes under /mixdiff/v1: schema, version, check, preview, assets, read, presets, settings, aggregators and train."""
from __future__ import annotations

from collections.abc import Callable
from secrets import compare_digest
from types import SimpleNamespace
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, Response
from fastapi.security import HTTPBasic
from modules import shared
from starlette.concurrency import run_in_threadpool

from lib_mixdiff import __version__, assets
from lib_mixdiff.errors import PlanError, shown
from lib_mixdiff.host import aggregation, shelf, trainings
from lib_mixdiff.host.dataset import look
from lib_mixdiff.host.estimate import estimate, job_of
from lib_mixdiff.host.images import folder, kept
from lib_mixdiff.host.preview import preview
from lib_mixdiff.host.prompts import chosen, lengths, styled
from lib_mixdiff.host.settings import choose, of_choices
from lib_mixdiff.host.travel import read
from lib_mixdiff.influence import COLORS
from lib_mixdiff.plan import VERSION, Plan, schema
from lib_mixdiff.turns import PAUSE, STOP


def add_routes(app: FastAPI) -> None:
    """For `on_app_started`. All ask for the same login as the host's own routes and its page."""
    for method, name, answer in (("GET", "schema", _schema), ("GET", "version", _version), ("POST", "check", _check),
                                 ("POST", "preview", _preview), ("PUT", "assets", _assets), ("GET", "assets/{digest}", _asset),
                                 ("POST", "read", _read), ("GET", "presets", _presets),
                                 *((method, "presets/{name}", _preset) for method in shelf.OF_ONE),
                                 ("GET", "presets/{name}/picture", _picture),
                                 *(("POST", f"train/{name}", _train) for name in TRAIN), ("GET", "train/status", _training),
                                 ("DELETE", "train/{name}", _forget), ("GET", "train/{name}/{sample}", _sample),
                                 ("GET", "aggregators", _aggregators), ("GET", "settings", _settings), ("PUT", "settings", _settings)):
        app.add_api_route(f"/mixdiff/v1/{name}", _route(answer), methods=[method], include_in_schema=False)


async def _schema(request: Request) -> dict[str, Any]:
    """JSON Schema, and how regions are coloured, by their index."""
    return schema() | {"x-colors": COLORS}


async def _version(request: Request) -> dict[str, Any]:
    return {"mixdiff": __version__, "plan": VERSION}


async def _check(request: Request) -> dict[str, Any]:
    """{"plan": PLAN, "job": fields of a txt2img or img2img request} to the normalised plan, its cost, and the tokens
    of its regions' prompts."""
    plan, job = await _plan_and_job(request)
    said = await run_in_threadpool(lambda: chosen(styled(plan, job.styles), seed=0))
    return {"plan": plan.to_dict(), "cost": await run_in_threadpool(estimate, said, job),
            "tokens": await run_in_threadpool(lengths, said, job.steps)}


async def _preview(request: Request) -> Response:
    """What `check` takes to a PNG of the regions' influence."""
    return Response(await run_in_threadpool(preview, *await _plan_and_job(request)), media_type="image/png")


async def _assets(request: Request) -> dict[str, Any]:
    """The bytes of an image to the name by which plans call it."""
    digest, (width, height) = await run_in_threadpool(assets.store, folder(), await _bytes(request))
    return {"sha256": digest, "width": width, "height": height}


async def _asset(request: Request) -> Response:
    """An image that was stored, as it came."""
    if (found := await run_in_threadpool(kept, request.path_params["digest"])) is None:
        raise HTTPException(404, "there is no such image here")
    return Response(found[0], media_type=found[1],
                    headers={"Cache-Control": "private, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"})


async def _read(request: Request) -> dict[str, Any]:
    """The bytes of a picture, of a plan or preset in JSON, or of an infotext to what is understood of the plan in it."""
    if (sent := request.headers.get("content-type", "")) != "application/octet-stream":     # so that no other site's page can send it
        raise PlanError("body", sent, "send the file's bytes as application/octet-stream", "{value} is not read")
    if len(data := await _bytes(request)) > assets.LARGEST:
        raise PlanError("body", len(data), f"send a file of at most {assets.LARGEST >> 20} MB", "these {value} bytes are too many")
    return await run_in_threadpool(read, data)


def _route(answer: Callable) -> Callable:
    """What is wrong is said as for a job: status 422 (of a preset's name also 404 and 409), the sentence in `errors`; here with its
    parts, too."""
    async def route(request: Request) -> Response:
        await _authorised(request)
        try:
            found = await answer(request)
            return found if isinstance(found, Response) else JSONResponse(found)
        except PlanError as error:
            described = {"error": type(error).__name__, "detail": "", "body": "", "errors": str(error), "field": error.field,
                         "value": shown(error.value), "remedy": error.remedy}
            return JSONResponse(described, status_code=error.status_code)

    route.__annotations__ = {"request": Request}    # FastAPI reads them, and not as text
    return route


async def _presets(request: Request) -> dict[str, Any]:
    return await run_in_threadpool(shelf.listed)


async def _preset(request: Request) -> Any:
    body = await _json(request) if request.method in ("PUT", "PATCH") else {}
    return await run_in_threadpool(shelf.OF_ONE[request.method], request.path_params["name"], body)


async def _picture(request: Request) -> Response:
    """Of a preset that comes with mixdiff."""
    if (file := shelf.picture(request.path_params["name"])) is None:
        raise HTTPException(404, "there is no such picture")
    return Response(file.read_bytes(), media_type="image/webp", headers={"Cache-Control": "private, max-age=86400"})


TRAIN = {"look": lambda body: look(body.get("data"), body.get("resolution")), "start": trainings.start,
         "measure": trainings.measured,
         "pause": lambda body: trainings.end(body.get("name"), PAUSE, body.get("now") is True),
         "stop": lambda body: trainings.end(body.get("name"), STOP, body.get("now") is True)}       # what a request for /train/... does


async def _train(request: Request) -> dict[str, Any]:
    return await run_in_threadpool(TRAIN[request.url.path.rpartition("/")[2]], await _json(request))


async def _training(request: Request) -> dict[str, Any]:
    return await run_in_threadpool(trainings.status, request.query_params.get("name"))


async def _aggregators(request: Request) -> dict[str, Any]:
    return {"aggregators": await run_in_threadpool(aggregation.listed)}


async def _settings(request: Request) -> dict[str, Any]:
    return await run_in_threadpool(choose, await _json(request)) if request.method == "PUT" else of_choices()


async def _forget(request: Request) -> dict[str, Any]:
    return await run_in_threadpool(trainings.delete, request.path_params["name"])


async def _sample(request: Request) -> Response:
    """A sheet of sample pictures."""
    if (file := trainings.named(request.path_params["name"]).sample(request.path_params["sample"])) is None:
        raise HTTPException(404, "there is no such picture")
    return Response(file.read_bytes(), media_type="image/png")


async def _bytes(request: Request) -> bytes:
    """The body, or so much of it that it is seen to be too large."""
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > assets.LARGEST:
            break
    return bytes(data)


async def _plan_and_job(request: Request) -> tuple[Plan, SimpleNamespace]:
    body = await _json(request)
    return Plan.from_dict(body.get("plan", {})), job_of(body.get("job") or {})


async def _json(request: Request) -> dict[str, Any]:
    if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":      # so that no other site's page can ask
        raise PlanError("body", request.headers.get("content-type"), "send application/json", "{value} is not read")
    try:
        body = await request.json()
    except (ValueError, RecursionError) as error:
        raise PlanError("body", str(error), 'send {"plan": ..., "job": ...}', "{value}: this is not JSON") from error
    if not isinstance(body, dict) or not isinstance(body.get("job") or {}, dict):
        raise PlanError("body", body, 'send {"plan": ..., "job": ...}')
    return body


async def _authorised(request: Request) -> None:
    """By --api-auth as /sdapi is (modules/api/api.py), or by the page's login where there is one (gradio's App)."""
    accounts = [entry.split(":", 1) for entry in (getattr(shared.cmd_opts, "api_auth", None) or "").split(",") if ":" in entry]
    page = getattr(request.app, "auth", None)
    if not accounts and page is None:
        return
    cookie = request.cookies.get("access-token") or request.cookies.get("access-token-unsecure")
    if page is not None and cookie is not None and cookie in request.app.tokens:
        return
    given = await HTTPBasic(auto_error=False)(request)
    for user, word in accounts:
        if given is not None and compare_digest(f"{given.username}:{given.password}".encode(), f"{user}:{word}".encode()):
            return
    raise HTTPException(401, "Incorrect username or password", {"WWW-Authenticate": "Basic"} if accounts else None)
