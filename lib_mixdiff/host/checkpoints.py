"""The checkpoints that a plan names: whether this job can have them, and their weights for the loaded model's networks."""
from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import yaml
from modules import devices, sd_models, shared
from torch import Tensor

from lib_mixdiff.aggregator import Aggregators
from lib_mixdiff.checkpoint import Checkpoint, Unreadable, schedule
from lib_mixdiff.errors import PlanError, inside
from lib_mixdiff.fields import nearest
from lib_mixdiff.host.aggregation import aggregators, refuse_aggregation
from lib_mixdiff.host.protocols import Job
from lib_mixdiff.host.settings import setting
from lib_mixdiff.host.vae import free
from lib_mixdiff.models import Afa, Aggregation, Experts, Model
from lib_mixdiff.parameterizations import converted, log_sigmas_of
from lib_mixdiff.parts import Parts
from lib_mixdiff.residency import Residency, Streamed, Transfers
from lib_mixdiff.weights import Mean, OtherNetwork, WeightSet, own_name

TITLE = re.compile(r"(.+) \[[0-9a-f]{8,}\]")
UNET = "model.diffusion_model."
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
        with inside("afa"):
            for index, name in enumerate(model.afa.models):
                with inside("models"), inside(index):
                    found_by(name)
            refuse_aggregation(model.afa, [found_by(name) for name in model.afa.models])
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
        self.kept: dict[tuple, Any] = {}        # weight sets, by file, kind and network, which they hold, too
        self.aggregating: dict[Aggregation, tuple[Aggregators, list[int]]] = {}

    @classmethod
    def of(cls, p: Job) -> Checkpoints:
        if not hasattr(p, "_mixdiff_checkpoints"):
            p._mixdiff_checkpoints = cls()
        return p._mixdiff_checkpoints

    @cached_property
    def residency(self) -> Residency:
        if getattr(shared.sd_model, "lowvram", False):      # the host moves modules, with whatever parameters are in them
            return Residency(Transfers(), _in_ram(), 0, sys.modules["modules.lowvram"].send_everything_to_cpu)
        return self.beside

    @cached_property
    def beside(self) -> Residency:
        """Of weights that come and go inside a call of the network, which is where it works by then."""
        if devices.device.type == "cpu":
            return Residency(Transfers(), _in_ram(), 0)
        return Residency(Streamed(devices.device), 1e9 * setting("mixdiff_weights_gpu") or free(devices.device) / 2, _in_ram())

    def info(self, name: str) -> Any:
        if name not in self.found:
            self.found[name] = found_by(name)
        return self.found[name]

    def unet(self, name: str | None) -> WeightSet | None:
        """None: as it is loaded."""
        return self._unet(WeightSet, name, self.residency)

    def parts(self, name: str | None) -> Parts | None:
        """The same for an ensemble; None: as it is loaded."""
        return self._unet(Parts, name, self.beside, devices.device)

    def text(self, name: str | None) -> WeightSet | None:
        return self._of_file(name, _text_encoder(), WeightSet, lambda file, info, network: WeightSet(
            network, _of_text(file, network), self.residency))

    def mean(self, names: tuple[str, ...], text: bool) -> WeightSet:
        """Of several checkpoints' U-Nets, or text encoders."""
        network = _text_encoder() if text else _network()
        if (key := (names, id(network))) not in self.kept:
            self.residency.settle()
            files = [opened(self.info(name)) for name in names]
            parts = [_of_text(file, network) if text else file.part(UNET) for file in files]
            alone = []
            for index, (name, part) in enumerate(zip(names, parts)):
                with inside("models"), inside(index), _fitting(self.info(name)):
                    alone.append(WeightSet(network, part))
                    refuse_other_latents(self.info(name))
            self.kept[key] = WeightSet(network, Mean(parts), self.residency)
            if not text:
                self.kept[key].around = self.around(names, alone)
        return self.kept[key]

    def around(self, names: tuple[str, ...], weights: Sequence[Any]) -> Callable[[], AbstractContextManager[None]]:
        """What an ensemble's models all need; PlanError where they predict different things."""
        predict = [_predicts(self.info(name), each) for name, each in zip(names, weights)]
        for index, each in enumerate(predict):
            if each != predict[0]:
                raise PlanError("", names[index], "use models that predict the same",
                                f"{{value}} predicts {each}, where {names[0]} predicts {predict[0]}").within(index).within("models")
        return _around(predict[0])

    def aggregators(self, asked: Aggregation) -> tuple[Aggregators, list[int]]:
        """With the network's type, on its device, and which of the models comes when; PlanError where they are for other checkpoints."""
        if asked not in self.aggregating:
            self.aggregating[asked] = aggregators(asked, [self.info(name) for name in asked.models], _network())
        return self.aggregating[asked]

    def _unet(self, kind: Any, name: str | None, *arguments: Any) -> Any:
        def made(file: Checkpoint, info: Any, network: Any) -> Any:
            weights = kind(network, file.part(UNET), *arguments)
            refuse_other_latents(info)
            weights.around = _around(_predicts(info, weights))
            return weights

        return self._of_file(name, _network(), kind, made)

    def _of_file(self, name: str | None, network: Any, kind: Any, made: Callable[[Checkpoint, Any, Any], Any]) -> Any:
        if name is None or (info := self.info(name)).filename == shared.sd_model.sd_checkpoint_info.filename:
            return None
        if (key := (info.filename, kind, id(network))) not in self.kept:
            self.residency.settle()
            told, shared.state.textinfo = shared.state.textinfo, f"Reading {info.name}"
            try:
                with _fitting(info):
                    self.kept[key] = made(opened(info), info, network)
            finally:
                shared.state.textinfo = told
        return self.kept[key]


def forget(p: Job) -> None:
    """Frees what the job's checkpoints and LoRAs hold, whoever still holds the job."""
    vars(p).pop("_mixdiff_loras", None)
    if (found := vars(p).pop("_mixdiff_checkpoints", None)) is not None:
        for weights in found.kept.values():
            weights.close()
        for aggregators, _ in found.aggregating.values():       # which the finished job still holds
            aggregators.to("meta")
        found.aggregating.clear()


def opened(info: Any) -> Checkpoint:
    """PlanError where the file cannot be read."""
    safe = sys.modules.get("modules.safe")      # it looks for code, allows what old files need, and then loads
    try:
        return Checkpoint(Path(info.filename), *([] if safe is None else [safe.load]))
    except Unreadable as error:
        remedy = "refresh the list of checkpoints" if "gone" in str(error) else "download it again, or use another one"
        raise PlanError("", info.title, remedy, f"the file of {{value}} {error}") from None


@contextmanager
def _fitting(info: Any) -> Iterator[None]:
    try:
        yield
    except OtherNetwork as error:
        remedy = "use one of the loaded checkpoint's architecture"
        raise PlanError("", info.title, remedy, f"{{value}} is of another: {error}") from None


def _in_ram() -> float:
    return 1e9 * setting("mixdiff_weights_ram") or free(torch.device("cpu")) / 2


def _text_encoder() -> Any:
    model = shared.sd_model
    return model.conditioner if hasattr(model, "conditioner") else model.cond_stage_model


def _of_text(file: Checkpoint, network: Any) -> dict[str, Tensor]:
    prefixes = ["conditioner."] if hasattr(shared.sd_model, "conditioner") else ["cond_stage_model.", "conditioner.embedders.0."]
    there, live = file.part(*prefixes), {own_name(name): parameter for name, parameter in network.named_parameters()}
    return {name: there.get(name, parameter) for name, parameter in live.items() if name in there or name.endswith(UNUSED)}


def _said(info: Any) -> dict[str, Any] | None:
    """What the yaml beside it says."""
    config = Path(info.filename).with_suffix(".yaml")
    return yaml.safe_load(config.read_text(encoding="utf-8"))["model"]["params"] if config.exists() else None


def refuse_other_latents(info: Any) -> None:
    """PlanError where its latents or its noise are not the loaded checkpoint's."""
    if (said := _said(info)) is None:
        return
    if abs(said.get("scale_factor", 1.0) - float(shared.sd_model.scale_factor)) > 1e-5:
        raise PlanError("", info.title, "use one with the loaded checkpoint's VAE", "the latents of {value} are of another scale")
    noise = getattr(shared.sd_model, "alphas_cumprod_original", shared.sd_model.alphas_cumprod).double().cpu()
    abar = schedule(said)
    if abar is not None and (abar.shape != noise.shape or (abar - noise).abs().max() > 1e-3):
        raise PlanError("", info.title, "use one of the loaded checkpoint's schedule", "{value} was trained with another noise schedule")


def _around(predicts: str) -> Callable[[], AbstractContextManager[None]]:
    """The network, which predicts this with other weights, gives what the loaded checkpoint's does."""
    if predicts == _loaded_predicts():
        return nullcontext
    network, log_sigmas = _network(), log_sigmas_of(shared.sd_model.alphas_cumprod).float().to(devices.device)
    return lambda: converted(network, predicts, log_sigmas)


def _loaded_predicts() -> str:
    return getattr(shared.sd_model, "parameterization", "eps")


def _network() -> Any:
    return shared.sd_model.model.diffusion_model


def _predicts(info: Any, weights: Any) -> str:
    """As its yaml says; else the common one, or where it may be either found by trying, as in the WebUI's modules/sd_models_config.py."""
    if weights is None:
        return _loaded_predicts()
    if (said := _said(info)) is not None:
        return "v" if "VScaling" in str(said.get("denoiser_config")) else said.get("parameterization", "eps")
    if not getattr(shared.sd_model, "is_sd2", False) or _network().in_channels != 4 or hasattr(_network(), "label_emb"):
        return "eps"
    x, text = (torch.full(size, 0.5, device=devices.device, dtype=devices.dtype_unet) for size in ((1, 4, 8, 8), (1, 2, 1024)))
    with torch.no_grad(), devices.autocast(), weights.active():
        moved = shared.sd_model.apply_model(x, torch.full((1,), 999, device=x.device), {"c_crossattn": [text]}) - x
    return "v" if float(moved.mean()) < -1 else "eps"
