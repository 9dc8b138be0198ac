"""A host with a checkpoint loaded, and beside it two others."""
from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from bench.refiner import disturbed, keep_beside
from minihost.client import ROOT, served
from minihost.models import assembled
from tests.host.client import Host
from tests.host.jobs import LAWFUL

# beside the loaded one: with another text encoder, too, with its own, and with what the first one predicts said to be the other kind
NAME, UNET_ONLY, CONVERTED = "mixdiff-test-other", "mixdiff-test-unet", "mixdiff-test-converted"
MERGED = "mixdiff-test-merged"      # the mean of the loaded one and NAME
TEXT = ("cond_stage_model.", "conditioner.")


def as_long_as_it_may(fixture_name: str, config: pytest.Config) -> str:
    """On a WebUI other files' tests are without the two."""
    return "module" if os.environ.get("MIXDIFF_WEBUI_URL") else "session"


@pytest.fixture(scope=as_long_as_it_may)
def pair(tmp_path_factory):
    """A host with a checkpoint loaded, and beside it the two others, with the same VAE."""
    if url := os.environ.get("MIXDIFF_WEBUI_URL"):
        host = Host(url)
        loaded = host.get("/sdapi/v1/options")["sd_model_checkpoint"]
        path = next(Path(model["filename"]) for model in host.get("/sdapi/v1/sd-models") if model["title"] == loaded)
        others(path)
        host.post("/sdapi/v1/refresh-checkpoints", {})
        yield host
        host.txt2img(override_settings={"sd_model_checkpoint": loaded}, steps=1)
        for name in (NAME, UNET_ONLY, CONVERTED, MERGED):
            for suffix in (".safetensors", ".yaml"):
                path.with_name(name + suffix).unlink(missing_ok=True)
        host.post("/sdapi/v1/refresh-checkpoints", {})
    else:
        folder = tmp_path_factory.mktemp("models")
        shutil.copytree(assembled(), folder, dirs_exist_ok=True)
        others(folder / "shapes.safetensors")
        with served("--models", str(folder), "--ckpt", "shapes", "--extension", str(ROOT), "--extension",
                    str(ROOT / "tests" / "host" / "probe")) as host:
            yield Host(host.url)


def others(path: Path) -> None:
    unet = disturbed(loaded := load_file(path), "model.diffusion_model.")
    keep_beside(path, UNET_ONLY, unet)
    keep_beside(path, NAME, both := disturbed(unet, *TEXT))
    keep_beside(path, MERGED, {name: ((each.float() + both[name].float()) / 2).to(each.dtype) for name, each in loaded.items()})
    config, v = path.with_suffix(".yaml"), "parameterization: v"
    if config.exists() and v in (said := config.read_text(encoding="utf-8")):
        keep_beside(path, CONVERTED, both)
        path.with_name(f"{CONVERTED}.yaml").write_text(said.replace(v, "parameterization: eps"), encoding="utf-8")


def going(host: Host) -> Callable[..., np.ndarray]:
    """Latents of a job by name or by its fields, with a plan; skips with the embedded host's own sentence where that has not what it
    needs."""
    def run(job: str | tuple[str, dict], plan: object = None, probe: dict | None = None, **fields: Any) -> np.ndarray:
        route, own = LAWFUL[job] if isinstance(job, str) else job
        answer = host.run(route, plan, {"steady": True, **(probe or {})}, **{**own, **fields})
        if answer.status == 501:
            pytest.skip(answer.error)
        assert answer.status == 200, answer.error
        return host.latents()
    return run
