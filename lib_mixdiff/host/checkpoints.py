"""The checkpoints that a plan names: whether this job can have them, and their weights for the loaded model's networks."""
from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import yaml
from modules import devices, sd_models, shared

from lib_mixdiff.checkpoint import Checkpoint, Unreadable, schedule
from lib_mixdiff.errors import NOT_YET, PlanError, inside, within
from lib_mixdiff.experts import Pair, pairs
from lib_mixdiff.fields import nearest
from lib_mixdiff.host.protocols import Job
from lib_mixdiff.host.settings import setting
from lib_mixdiff.host.vae import free
from lib_mixdiff.models import Afa, Experts, Model
from lib_mixdiff.parameterizations import converted, log_sigmas_of
from lib_mixdiff.residency import Residency, Streamed, Transfers
from lib_mixdiff.weights import OtherNetwork, WeightSet, own_name

TITLE = re.compile(r"(.+) \[[0-9a-f]{8,}\]")
UNUSED = "logit_scale"      # of SD2's and SDXL's text encoders: files leave it out


def refuse_model(model: Model, p: Job) -> None:
    """PlanError where a plan's `model` cannot be had in this job; reads no file."""
    if model is None:
        return
    with inside("model"):
        refuse_other_networks("other checkpoints", "leave the model out", p)
        _refuse_unknown(model)


def refuse_other_networks(what: str, otherwise: str, p: Job) -> None:
    """PlanError where the network at work is not, or not to the end, the loaded checkpoint's as it is."""
    for found, network, remedy in (
            (getattr(p, "refiner_checkpoint", None) not in (None, "", "None", "none"), "the refiner", "switch it off"),
            (getattr(sys.modules.get("modules.sd_unet"), "current_unet", None), "another U-Net than the checkpoint's",
             "choose None as SD Unet in the settings"),
            (getattr(devices, "fp8", False), "FP8 weights", "switch them off in the settings")):
        if found:
            raise PlanError("", network, f"{remedy}, or {otherwise}", f"{what} do not go together with {{value}}")


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
    """The checkpoint of this title, name or hash; PlanError. A hash in a title counts once the host knows the file's: it comes with its
    first use."""
    known = sd_models.checkpoint_aliases
    info = known.get(name)
    if info is None and (title := TITLE.fullmatch(name)) and (found := known.get(title[1])) and found.shorthash is None:
        info = found
    if info is None:
        titles = [each.title for each in sd_models.checkpoints_list.values()]
        near = nearest(name, titles)
        raise PlanError("", name, f"use {near}" if near else f"there are {', '.join(titles)}", "there is no checkpoint {value}")
    return info


class Checkpoints:
    """Of one job: what of which checkpoint was read for the model that is loaded."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}         # by name: the host's list may be read anew in mid-run
        self.kept: dict[tuple[str, int], WeightSet] = {}

    @classmethod
    def of(cls, p: Job) -> Checkpoints:
        if not hasattr(p, "_mixdiff_checkpoints"):
            p._mixdiff_checkpoints = cls()
        return p._mixdiff_checkpoints

    @cached_property
    def residency(self) -> Residency:
        device = next(shared.sd_model.model.parameters()).device
        in_ram = 1e9 * setting("mixdiff_weights_ram") or free(torch.device("cpu")) / 2
        if getattr(shared.sd_model, "lowvram", False):      # the host moves modules, with whatever parameters are in them
            return Residency(Transfers(), in_ram, 0, sys.modules["modules.lowvram"].send_everything_to_cpu)
        if device.type == "cpu":
            return Residency(Transfers(), in_ram, 0)
        return Residency(Streamed(device), 1e9 * setting("mixdiff_weights_gpu") or free(device) / 2, in_ram)

    def read(self, model: Model) -> None:
        """All that the model may need; PlanError where something does not fit the loaded checkpoint."""
        for path, pair in pairs(model):
            with within(path):
                self.unet(pair.unet), self.text(pair.text)

    def expect(self, rounds: Iterable[Iterable[Pair]]) -> None:
        """Whose U-Nets will be wanted, in this call of the host's and in later ones."""
        sets = (self.unet(pair.unet) for each in rounds for pair in each)
        self.residency.expect([each for each in sets if each is not None])

    def unet(self, name: str | None) -> WeightSet | None:
        """None: as it is loaded."""
        return self._part(name, shared.sd_model.model.diffusion_model, _unet)

    def text(self, name: str | None) -> WeightSet | None:
        model = shared.sd_model
        return self._part(name, model.conditioner if hasattr(model, "conditioner") else model.cond_stage_model, _text)

    def _part(self, name: str | None, network: Any, read: Any) -> WeightSet | None:
        if name is None:
            return None
        if name not in self.found:
            self.found[name] = found_by(name)
        if (info := self.found[name]).filename == shared.sd_model.sd_checkpoint_info.filename:
            return None
        if (key := (info.filename, id(network))) not in self.kept:      # which holds the network, too
            self.residency.settle()
            told, shared.state.textinfo = shared.state.textinfo, f"Reading {info.name}"
            try:
                self.kept[key] = read(opened(info), info, network, self.residency)
            except OtherNetwork as error:
                remedy = "use one of the loaded checkpoint's architecture"
                raise PlanError("", info.title, remedy, f"{{value}} is of another: {error}") from None
            finally:
                shared.state.textinfo = told
        return self.kept[key]


def forget(p: Job) -> None:
    """Frees what the job's checkpoints and LoRAs hold, whoever still holds the job."""
    vars(p).pop("_mixdiff_loras", None)
    if (found := vars(p).pop("_mixdiff_checkpoints", None)) is not None:
        for weights in found.kept.values():
            weights.close()


def opened(info: Any) -> Checkpoint:
    """PlanError where the file cannot be read."""
    safe = sys.modules.get("modules.safe")      # it looks for code, allows what old files need, and then loads
    try:
        return Checkpoint(Path(info.filename), *([] if safe is None else [safe.load]))
    except Unreadable as error:
        remedy = "refresh the list of checkpoints" if "gone" in str(error) else "download it again, or use another one"
        raise PlanError("", info.title, remedy, f"the file of {{value}} {error}") from None


def _unet(file: Checkpoint, info: Any, network: Any, residency: Residency) -> WeightSet:
    weights = WeightSet(network, file.part("model.diffusion_model."), residency)
    config = Path(info.filename).with_suffix(".yaml")
    said = yaml.safe_load(config.read_text(encoding="utf-8"))["model"]["params"] if config.exists() else None
    if (theirs := _parameterization(said, network, weights)) != getattr(shared.sd_model, "parameterization", "eps"):
        log_sigmas = log_sigmas_of(shared.sd_model.alphas_cumprod).float().to(next(network.parameters()).device)
        weights.around = lambda: converted(network, theirs, log_sigmas)
    if said is not None and abs(said.get("scale_factor", 1.0) - float(shared.sd_model.scale_factor)) > 1e-5:
        raise PlanError("", info.title, "use one with the loaded checkpoint's VAE", "the latents of {value} are of another scale")
    noise = getattr(shared.sd_model, "alphas_cumprod_original", shared.sd_model.alphas_cumprod).double().cpu()
    abar = None if said is None else schedule(said)
    if abar is not None and (abar.shape != noise.shape or (abar - noise).abs().max() > 1e-3):
        raise PlanError("", info.title, "use one of the loaded checkpoint's schedule", "{value} was trained with another noise schedule")
    return weights


def _text(file: Checkpoint, info: Any, network: Any, residency: Residency) -> WeightSet:
    prefixes = ["conditioner."] if hasattr(shared.sd_model, "conditioner") else ["cond_stage_model.", "conditioner.embedders.0."]
    there, live = file.part(*prefixes), {own_name(name): parameter for name, parameter in network.named_parameters()}
    return WeightSet(network, {name: there.get(name, parameter) for name, parameter in live.items()
                               if name in there or name.endswith(UNUSED)}, residency)


def _parameterization(said: dict[str, Any] | None, network: Any, weights: WeightSet) -> str:
    """As its yaml says; else the common one, or where it may be either found by trying, as in the WebUI's modules/sd_models_config.py."""
    if said is not None:
        return "v" if "VScaling" in str(said.get("denoiser_config")) else said.get("parameterization", "eps")
    if not getattr(shared.sd_model, "is_sd2", False) or network.in_channels != 4 or hasattr(network, "label_emb"):
        return "eps"
    x, text = (torch.full(size, 0.5, device=devices.device, dtype=devices.dtype_unet) for size in ((1, 4, 8, 8), (1, 2, 1024)))
    with torch.no_grad(), devices.autocast(), weights.active():
        moved = shared.sd_model.apply_model(x, torch.full((1,), 999, device=x.device), {"c_crossattn": [text]}) - x
    return "v" if float(moved.mean()) < -1 else "eps"
