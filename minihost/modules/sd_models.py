"""Checkpoints: NAME.safetensors with NAME.yaml beside it."""
from __future__ import annotations

import hashlib
from pathlib import Path

import safetensors.torch
from modules import paths, script_callbacks, shared
from omegaconf import OmegaConf

from minihost.diffusion import LatentDiffusion


class CheckpointInfo:
    def __init__(self, filename: str) -> None:
        path = Path(filename)
        self.filename, self.name, self.config = filename, path.name, str(path.with_suffix(".yaml"))
        self.model_name = self.name_for_extra = path.stem
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        self.shorthash = self.hash = self.sha256[:10]
        self.title, self.short_title = f"{self.name} [{self.shorthash}]", f"{path.stem} [{self.shorthash}]"
        self.ids = [self.model_name, self.title, self.name, self.short_title, self.shorthash, self.sha256]


checkpoints_list: dict[str, CheckpointInfo] = {}
checkpoint_aliases: dict[str, CheckpointInfo] = {}


def list_models() -> None:
    checkpoints_list.clear()
    checkpoint_aliases.clear()
    for path in sorted(Path(paths.models_path).glob("*.safetensors"), key=lambda path: path.stem):
        if path.with_suffix(".yaml").is_file():
            info = CheckpointInfo(str(path))
            checkpoints_list[info.title] = info
            checkpoint_aliases.update(dict.fromkeys(info.ids, info))


def get_closet_checkpoint_match(search_string: str | None) -> CheckpointInfo | None:
    """By any of its names, else the shortest title that contains the string."""
    if not search_string:
        return None
    found = [info for info in checkpoints_list.values() if search_string.split(" [")[0] in info.title]
    return checkpoint_aliases.get(search_string) or min(found, key=lambda info: len(info.title), default=None)


def select_checkpoint() -> CheckpointInfo:
    info = checkpoint_aliases.get(shared.opts.sd_model_checkpoint) or next(iter(checkpoints_list.values()), None)
    if info is None:
        raise FileNotFoundError(f"no checkpoint in {paths.models_path}: NAME.safetensors with NAME.yaml; "
                                "`python -m minihost.tiny DIR` makes one with random weights")
    return info


def reload_model_weights(sd_model: LatentDiffusion | None = None, info: CheckpointInfo | None = None,
                         forced_reload: bool = False) -> LatentDiffusion:
    """Loads `info`, or what the settings name, unless it is loaded already. Each load makes a new module."""
    info = info or select_checkpoint()
    if shared.sd_model is None or shared.sd_model.sd_checkpoint_info != info or forced_reload:
        params = OmegaConf.to_container(OmegaConf.load(info.config))["model"]["params"]
        model = LatentDiffusion(params, Path(info.config).parent)
        model.load_checkpoint(safetensors.torch.load_file(info.filename))
        model.sd_checkpoint_info, model.sd_model_hash = info, info.shorthash
        model.used_config, model.filename = info.config, info.filename
        shared.sd_model = model
        script_callbacks.model_loaded_callback(model)
    return shared.sd_model


shared.opts.data_labels["sd_model_checkpoint"].onchange = reload_model_weights
