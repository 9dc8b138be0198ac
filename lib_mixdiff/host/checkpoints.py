"""The checkpoints that a plan names: whether this job can have them, and their weights for the loaded model's networks."""
from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import yaml
from modules import devices, sd_models, shared

from lib_mixdiff.checkpoint import Checkpoint, Unreadable
from lib_mixdiff.errors import NOT_YET, PlanError, inside, within
from lib_mixdiff.experts import pairs
from lib_mixdiff.fields import nearest
from lib_mixdiff.host.protocols import Job
from lib_mixdiff.models import Afa, Experts, Model
from lib_mixdiff.weights import OtherNetwork, WeightSet, own_name

CHECKPOINTS, NOT_TOGETHER = "other checkpoints", "{} do not go together with {{value}}"
UNUSED = "logit_scale"      # of SD2's and SDXL's text encoders: files leave it out


def refuse_model(model: Model, p: Job) -> None:
    """PlanError where a plan's `model` cannot be had in this job; reads no file."""
    if model is None:
        return
    with inside("model"):
        if any(getattr(shared.cmd_opts, name, False) for name in ("lowvram", "medvram", "medvram_sdxl")):
            raise PlanError("", "--medvram or --lowvram", "start the WebUI without it, or leave the model out",
                            NOT_TOGETHER.format(CHECKPOINTS))
        refuse_other_networks(CHECKPOINTS, "leave the model out", p)
        _refuse_unknown(model)


def refuse_other_networks(what: str, otherwise: str, p: Job) -> None:
    """PlanError where the network at work is not, or not to the end, the loaded checkpoint's as it is."""
    for found, network, remedy in (
            (getattr(p, "refiner_checkpoint", None) not in (None, "", "None", "none"), "the refiner", "switch it off"),
            (getattr(sys.modules.get("modules.sd_unet"), "current_unet", None), "another U-Net than the checkpoint's",
             "choose None as SD Unet in the settings"),
            (getattr(devices, "fp8", False), "FP8 weights", "switch them off in the settings")):
        if found:
            raise PlanError("", network, f"{remedy}, or {otherwise}", NOT_TOGETHER.format(what))


def _refuse_unknown(model: Model) -> None:
    if isinstance(model, Afa):
        raise PlanError("", model.to_dict(), 'name a checkpoint, or use {"experts": [...]}', NOT_YET)
    if isinstance(model, str):
        found_by(model)
    if isinstance(model, Experts):
        for index, expert in enumerate(model.experts):
            with inside("experts"), inside(index), inside("model"):
                _refuse_unknown(expert.model)


def found_by(name: str) -> Any:
    """The checkpoint of this title, name or hash; PlanError."""
    info = sd_models.checkpoint_aliases.get(name)
    if info is None:
        known = [each.title for each in sd_models.checkpoints_list.values()]
        near = nearest(name, known)
        raise PlanError("", name, f"use {near}" if near else f"there are {', '.join(known)}", "there is no checkpoint {value}")
    return info


class Checkpoints:
    """Of one job: what of which checkpoint was read for the model that is loaded."""

    def __init__(self, p: Job) -> None:
        self.kept: dict[tuple, WeightSet] = vars(p).setdefault("_mixdiff_weights", {})

    def read(self, model: Model) -> None:
        """All that the model may need; PlanError where something does not fit the loaded checkpoint."""
        for path, pair in pairs(model):
            with within(path):
                self.unet(pair.unet), self.text(pair.text)

    def unet(self, name: str | None) -> WeightSet | None:
        """None: as it is loaded."""
        return self._part(name, shared.sd_model.model.diffusion_model, _unet)

    def text(self, name: str | None) -> WeightSet | None:
        model = shared.sd_model
        return self._part(name, model.conditioner if hasattr(model, "conditioner") else model.cond_stage_model, _text)

    def _part(self, name: str | None, network: Any, read: Any) -> WeightSet | None:
        if name is None or (info := found_by(name)).filename == shared.sd_model.sd_checkpoint_info.filename:
            return None
        if (key := (info.filename, id(network))) not in self.kept:
            try:
                self.kept[key] = read(opened(info), info, network)
            except OtherNetwork as error:
                remedy = "use one of the loaded checkpoint's architecture"
                raise PlanError("", info.title, remedy, f"{{value}} is of another: {error}") from None
        return self.kept[key]


def opened(info: Any) -> Checkpoint:
    """PlanError where the file cannot be read."""
    safe = sys.modules.get("modules.safe")      # it looks for code, allows what old files need, and then loads
    try:
        return Checkpoint(Path(info.filename), *([] if safe is None else [safe.load]))
    except Unreadable as error:
        remedy = "refresh the list of checkpoints" if "gone" in str(error) else "download it again, or use another one"
        raise PlanError("", info.title, remedy, f"the file of {{value}} {error}") from None


def _unet(file: Checkpoint, info: Any, network: Any) -> WeightSet:
    weights = WeightSet(network, file.part("model.diffusion_model."))
    mine, theirs = getattr(shared.sd_model, "parameterization", "eps"), _parameterization(Path(info.filename), network, weights)
    if mine != theirs:
        raise PlanError("", info.title, "use one that predicts the same", f"{{value}} predicts {theirs}, the loaded checkpoint {mine}")
    return weights


def _text(file: Checkpoint, info: Any, network: Any) -> WeightSet:
    prefixes = ["conditioner."] if hasattr(shared.sd_model, "conditioner") else ["cond_stage_model.", "conditioner.embedders.0."]
    there, live = file.part(*prefixes), {own_name(name): parameter for name, parameter in network.named_parameters()}
    return WeightSet(network, {name: there.get(name, parameter) for name, parameter in live.items()
                               if name in there or name.endswith(UNUSED)})


def _parameterization(path: Path, network: Any, weights: WeightSet) -> str:
    """What its yaml says; else the common one, or where it may be either found by trying, as in the WebUI's modules/sd_models_config.py."""
    if (config := path.with_suffix(".yaml")).exists():
        said = yaml.safe_load(config.read_text(encoding="utf-8"))["model"]["params"]
        return "v" if "VScaling" in str(said.get("denoiser_config")) else said.get("parameterization", "eps")
    if not getattr(shared.sd_model, "is_sd2", False):
        return "eps"
    first = next(network.parameters())
    with torch.no_grad(), devices.autocast(), weights.active():
        x, text = torch.ones(1, 4, 8, 8).to(first), torch.ones(1, 2, 1024).to(first)
        moved = network(x, torch.full((1,), 999, device=x.device), context=0.5 * text) - x
    return "v" if float(moved.mean()) < -1 else "eps"
