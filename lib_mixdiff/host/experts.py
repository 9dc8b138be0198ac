"""The expert stack of a pass (eDiff-I, section 4.1): which checkpoint's U-Net works at which noise level."""
from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml
from modules import devices, sd_models, shared
from safetensors import SafetensorError, safe_open

from lib_mixdiff.errors import NOT_YET, PlanError, inside
from lib_mixdiff.fields import nearest
from lib_mixdiff.host.protocols import Job
from lib_mixdiff.models import Experts, Model
from lib_mixdiff.ranges import Range
from lib_mixdiff.weights import OtherNetwork, WeightSet

UNET = "model.diffusion_model."


def refuse_stack(model: Model, p: Job) -> None:
    """PlanError where a plan's `model` cannot be had in this job; reads no file."""
    if model is None:
        return
    with inside("model"):
        if not isinstance(model, Experts):
            value = model if isinstance(model, str) else model.to_dict()
            raise PlanError("", value, 'use {"experts": [{"model": ..., "text_encoder": "loaded"}]}, or leave the key out', NOT_YET)
        for found, what, remedy in (
                (getattr(p, "refiner_checkpoint", None) not in (None, "", "None", "none"), "the refiner", "switch it off"),
                (any(getattr(shared.cmd_opts, name, False) for name in ("lowvram", "medvram", "medvram_sdxl")), "--medvram or --lowvram",
                 "start the WebUI without it"),
                (getattr(sys.modules.get("modules.sd_unet"), "current_unet", None), "another U-Net than the checkpoint's",
                 "choose None as SD Unet in the settings"),
                (getattr(devices, "fp8", False), "FP8 weights", "switch them off in the settings")):
            if found:
                raise PlanError("", what, f"{remedy}, or leave the stack out", "an expert stack does not go together with {value}")
        for index, expert in enumerate(model.experts):
            with inside("experts"), inside(index):
                if expert.model is None:
                    continue
                with inside("model"):
                    if not isinstance(expert.model, str):
                        raise PlanError("", expert.model.to_dict(), "name a checkpoint", NOT_YET)
                    found_by(expert.model)
                if expert.text_encoder != "loaded":
                    raise PlanError("text_encoder", expert.text_encoder, 'use "loaded"', NOT_YET)


def stack_of(model: Model, p: Job) -> list[tuple[Range | None, WeightSet | None]]:
    """When (None: always), and which weights (None: those that are loaded). Read from the files, once a job; PlanError where one does
    not fit the loaded checkpoint."""
    if not isinstance(model, Experts):
        return []
    network, kept = shared.sd_model.model.diffusion_model, vars(p).setdefault("_mixdiff_weights", {})
    stack = []
    for index, expert in enumerate(model.experts):
        info = None if expert.model is None else found_by(str(expert.model))
        weights = None
        if info is not None and info.filename != shared.sd_model.sd_checkpoint_info.filename:
            if (key := (info.filename, id(network))) not in kept:
                with inside("model"), inside("experts"), inside(index), inside("model"):
                    kept[key] = _read(info, network)
            weights = kept[key]
        stack.append((expert.range, weights))
    return stack


def found_by(name: str) -> Any:
    """The checkpoint of this title, name or hash; PlanError."""
    info = sd_models.checkpoint_aliases.get(name)
    if info is None:
        known = [each.title for each in sd_models.checkpoints_list.values()]
        near = nearest(name, known)
        raise PlanError("", name, f"use {near}" if near else f"there are {', '.join(known)}", "there is no checkpoint {value}")
    return info


def _read(info: Any, network: Any) -> WeightSet:
    path = Path(info.filename)
    if path.suffix != ".safetensors":
        raise PlanError("", path.name, "convert it to .safetensors", "{value} is understood, but other files are not read yet")
    mine, theirs = getattr(shared.sd_model, "parameterization", None), _parameterization(path)
    if mine and theirs and mine != theirs:
        raise PlanError("", info.title, "use one that predicts the same", f"{{value}} predicts {theirs}, the loaded checkpoint {mine}")
    try:
        with safe_open(path, "pt") as opened:
            tensors = {name[len(UNET):]: opened.get_tensor(name) for name in opened.keys() if name.startswith(UNET)}    # noqa: SIM118
        return WeightSet(network, tensors)
    except FileNotFoundError:
        raise PlanError("", info.title, "refresh the list of checkpoints", "the file of {value} is gone") from None
    except SafetensorError as error:
        raise PlanError("", info.title, "download it again", f"the file of {{value}} is damaged ({error})") from None
    except OtherNetwork as error:
        raise PlanError("", info.title, "use one of the loaded checkpoint's architecture", f"{{value}} is of another: {error}") from None


def _parameterization(path: Path) -> str | None:
    """What its yaml says, None where it has none: then it is of the common kind."""
    if not (config := path.with_suffix(".yaml")).exists():
        return None
    return yaml.safe_load(config.read_text(encoding="utf-8"))["model"]["params"].get("parameterization", "eps")
