"""The LoRAs that regions' prompts call: found, and their files read, by the WebUI's own built-in extension."""
from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from math import isfinite
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from modules import devices, shared
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from lib_mixdiff.errors import PlanError
from lib_mixdiff.fields import nearest
from lib_mixdiff.host.checkpoints import refuse_other_networks
from lib_mixdiff.host.prompts import NETWORK, without_comments
from lib_mixdiff.host.protocols import Job
from lib_mixdiff.lora import LAYERS, Both, Change, Delta, Deltas, LowRank, Projections, fits
from lib_mixdiff.mosaic import Model
from lib_mixdiff.parts import Parts
from lib_mixdiff.weights import OtherNetwork, WeightSet

TAKEN = "put it into the job's own prompt, where it acts on the whole picture"


class Call(NamedTuple):
    """`<lora:NAME:TEXT:UNET:RANK>`: a file, its multipliers for text encoder and U-Net, and of what ranks it takes the first."""
    name: str
    text: float = 1.0
    unet: float = 1.0
    rank: int | None = None


Calls = tuple[Call, ...]


def calls_in(prompt: str | None, p: Job) -> Calls:
    """Of a region's prompt, as the host reads them (extensions-builtin/Lora/extra_networks_lora.py). PlanError where one is not a LoRA that
    is known here; reads no file."""
    if prompt is None or getattr(p, "disable_extra_networks", False) or not NETWORK.search(prompt := without_comments(prompt)):
        return ()
    called, calls = NETWORK.search(prompt), []
    parser: Any = sys.modules.get("modules.extra_networks")
    for kind, several in parser.parse_prompt(prompt)[1].items() if parser else ():
        known = parser.extra_network_registry.get(kind) or parser.extra_network_aliases.get(kind)
        for each in several:
            text = f"<{kind}:{':'.join(each.items)}>"
            if kind not in ("lora", "lyco") or (known is not None and known.name != "lora"):
                raise PlanError("", text, TAKEN, "{value} would have to act in one region only, which is built for LoRAs alone")
            if known is not None:
                calls.append(_read(text, each))
    if not calls:
        raise PlanError("", called and called.group(), "enable the built-in extension Lora, or leave it out", "nothing here knows {value}")
    refuse_other_networks("LoRAs of regions", "take it out", p)
    for call in calls:
        found_by(call.name)
    return tuple(calls)


def _read(text: str, given: Any) -> Call:
    try:
        name, *numbers = given.positional
        te = float(given.named.get("te", numbers[0] if numbers else 1.0))
        unet = float(given.named.get("unet", numbers[1] if len(numbers) > 1 else te))
        rank = given.named.get("dyn", numbers[2] if len(numbers) > 2 else None)
        call = Call(name, te, unet, None if rank is None else int(rank))
    except ValueError:
        raise PlanError("", text, "write <lora:NAME:0.8>, or <lora:NAME:te=0.5:unet=1>", "{value} is not understood") from None
    if not isfinite(te) or not isfinite(unet):
        raise PlanError("", text, "use numbers")
    return call


def found_by(name: str) -> Any:
    """The file of this name or alias, as networks.load_networks finds it; PlanError."""
    networks: Any = sys.modules["networks"]
    for attempt in range(2):
        known = networks.available_networks if name.lower() in networks.forbidden_network_aliases else networks.available_network_aliases
        if name in known:
            return known[name]
        if not attempt:
            networks.update_available_networks_by_names([name])
    near = nearest(name, list(known))
    raise PlanError("", name, f"use {near}" if near else f"put its file into {shared.cmd_opts.lora_dir}", "there is no LoRA {value}")


class Loras:
    """Of one pass: what the LoRAs of its regions make of the loaded model's networks. Files are read once a job."""

    def __init__(self, p: Job) -> None:
        self.p = p
        self.files: dict[str, tuple[Any, Any]] = vars(p).setdefault("_mixdiff_loras", {})       # the model, and the file for it
        self.made: dict[tuple, Model | None] = {}

    def unet(self, calls: Calls, weights: WeightSet | Parts | None) -> Model | None:
        """The U-Net with these weights (None: its own) under these LoRAs; None: as it is. The same for the same. PlanError."""
        return self._model(False, calls, weights)

    def text(self, calls: Calls, weights: WeightSet | None) -> Model | None:
        """Likewise the text encoder."""
        return self._model(True, calls, weights)

    def _model(self, text: bool, calls: Calls, weights: WeightSet | Parts | None) -> Model | None:
        if not calls:
            return weights
        if (key := (text, calls, weights)) not in self.made:
            with weights.active() if weights else nullcontext(), torch.inference_mode(False), torch.no_grad():
                deltas = Deltas([pair for call in calls for pair in self._deltas(text, call)])
            self.made[key] = weights if not deltas else deltas if weights is None else Both(weights, deltas)
        return self.made[key]

    def note(self, several: Sequence[Calls]) -> None:
        """For the infotext, beside the LoRAs of the job's own prompt."""
        calls = list(dict.fromkeys(call.name for calls in several for call in calls))
        if calls and shared.opts.lora_add_hashes_to_infotext:
            names: Any = sys.modules["networks"].extra_network_lora.remove_symbols
            hashes = vars(self.p).setdefault("lora_hashes", {})
            hashes.update({name.translate(names): found_by(name).shorthash for name in calls})
            self.p.extra_generation_params["Lora hashes"] = ", ".join(f"{name}: {value}" for name, value in hashes.items())

    def _deltas(self, text: bool, call: Call) -> Iterator[tuple[nn.Module, Delta]]:
        network = self._file(call.name)
        network.te_multiplier, network.unet_multiplier, network.dyn_dim = call.text, call.unet, call.rank
        if call.text if text else call.unet:
            try:
                yield from _of_layers({key: part for key, part in network.modules.items() if ("transformer" in key[:20]) == text})
            except OtherNetwork as error:
                raise PlanError("", call.name, "use one that was made for its architecture",
                                f"{{value}} is not for the loaded checkpoint: its {error}") from None

    def _file(self, name: str) -> Any:
        model, network = self.files.get(name, (None, None))
        if model is not shared.sd_model:
            try:
                network = sys.modules["networks"].load_network(name, found_by(name))
            except PlanError:
                raise
            except Exception as error:
                raise PlanError("", name, "download it again, or use another one",
                                f"the file of {{value}} cannot be read ({error})") from None
            self.files[name] = shared.sd_model, network
        if network.bundle_embeddings:
            raise PlanError("", name, "put it into the job's own prompt, where every prompt may use them",
                            f"{{value}} brings embeddings ({', '.join(network.bundle_embeddings)}), which cannot be for one region")
        if not network.modules:
            raise PlanError("", name, "use one that was made for its architecture", "{value} has no layer of the loaded checkpoint")
        return network


def _of_layers(modules: dict[str, Any]) -> Iterator[tuple[nn.Module, Delta]]:
    """What the host's modules, by their layers' names, would add there; OtherNetwork."""
    attentions: dict[str, dict[str, Any]] = {}
    for key, module in modules.items():
        if isinstance(module.sd_module, (nn.MultiheadAttention, NonDynamicallyQuantizableLinear)):      # this one is its way out
            name, part, _ = key.rsplit("_", 2)      # NAME_q_proj
            attentions.setdefault(name, {})[part] = module
    layers = {key: module for key, module in modules.items() if key.rsplit("_", 2)[0] not in attentions} | attentions
    for key, module in layers.items():
        try:
            if key in attentions:
                layer = shared.sd_model.network_layer_mapping[key]
                delta = _of_attention(module, layer)
            else:
                layer = module.sd_module
                delta = _of_layer(module, layer)
            fits(layer, delta)
        except (OtherNetwork, RuntimeError) as error:
            raise OtherNetwork(f"{key} {str(error).splitlines()[0]}") from None
        yield layer, delta


def _of_layer(module: Any, layer: Any) -> Delta:
    """`module`: a network.NetworkModule."""
    if not isinstance(layer, LAYERS):
        raise OtherNetwork(f"changes a {type(layer).__name__}")
    if hasattr(module, "up_model") and module.dora_scale is None and module.bias is None:
        mid, rank = module.mid_model, module.network.dyn_dim if module.mid_model is None else None
        down, up = module.down_model.weight[:rank], module.up_model.weight.flatten(1)[:, :rank]
        down, up, mid = _as(layer.weight, down, up.float() * module.calc_scale() * module.multiplier(), mid and mid.weight)
        return LowRank(_widened(down, layer), up, mid)
    weight, bias = _as(layer.weight, *module.calc_updown(_settled(layer).weight))
    return Change(_widened(weight, layer), bias)


def _of_attention(parts: dict[str, Any], layer: Any) -> Delta:
    own = dict(zip("qkv", _settled(layer).in_proj_weight.chunk(3))) | {"out": layer.out_proj.weight}
    changes = {name: parts[name].calc_updown(weight) if name in parts else (torch.zeros_like(weight), None) for name, weight in own.items()}
    if any(bias is not None for _, bias in changes.values()):
        raise OtherNetwork("changes the bias of an attention")
    q, k, v, out = _as(layer.in_proj_weight, *(weight for weight, _ in changes.values()))
    return Projections(torch.cat([q, k, v]), out)


def _settled(layer: Any) -> Any:
    """With weights that are the job's own: its LoRAs are merged into a layer, or taken out again, when that is next called."""
    networks: Any = sys.modules["networks"]
    if not shared.opts.lora_functional:
        networks.network_apply_weights(layer)
    elif networks.loaded_networks:
        networks.network_restore_weights_from_backup(layer)
        networks.network_reset_cached_weight(layer)
    return layer


def _as(like: Tensor, *given: Tensor | None) -> list[Any]:
    return [None if each is None else each.detach().to(devices.device, like.dtype) for each in given]


def _widened(weight: Tensor, layer: Any) -> Tensor:
    """What was made for a U-Net of 4 channels in one for inpainting, of 9; as networks.network_apply_weights does it."""
    if layer.weight.ndim == 4 and layer.weight.shape[1] == 9 and weight.shape[1] == 4:
        return F.pad(weight, (0, 0, 0, 0, 0, 5))
    return weight
