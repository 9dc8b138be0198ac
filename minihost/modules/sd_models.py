"""Checkpoints: NAME.safetensors with NAME.yaml beside it."""
import hashlib
from pathlib import Path

import safetensors.torch
import yaml
from modules import shared

from minihost.diffusion import LatentDiffusion


class CheckpointInfo:
    def __init__(self, path: Path) -> None:
        self.filename, self.name, self.config = str(path), path.name, str(path.with_suffix(".yaml"))
        self.model_name, self.sha256 = path.stem, hashlib.sha256(path.read_bytes()).hexdigest()
        self.shorthash, self.title = self.sha256[:10], f"{self.name} [{self.sha256[:10]}]"
        self.ids = [self.model_name, self.title, self.name, f"{path.stem} [{self.shorthash}]", self.shorthash, self.sha256]


checkpoints_list: dict[str, CheckpointInfo] = {}
checkpoint_aliases: dict[str, CheckpointInfo] = {}
model_data = shared         # where the loaded one is


def list_models() -> None:
    checkpoints_list.clear()
    checkpoint_aliases.clear()
    found = (path for path in Path(shared.models_path).glob("*.safetensors") if path.with_suffix(".yaml").is_file())
    for info in map(CheckpointInfo, sorted(found, key=lambda path: path.stem)):
        checkpoints_list[info.title] = info
        checkpoint_aliases.update(dict.fromkeys(info.ids, info))


def reload_model_weights() -> None:
    """Loads what the settings name, unless it is loaded already. Each load makes a new module."""
    info = checkpoint_aliases.get(shared.opts.sd_model_checkpoint) or next(iter(checkpoints_list.values()))
    if shared.sd_model is None or shared.sd_model.sd_checkpoint_info != info:
        config = Path(info.config)
        model = LatentDiffusion(yaml.safe_load(config.read_text(encoding="utf-8"))["model"]["params"], config.parent)
        model.load_checkpoint(safetensors.torch.load_file(info.filename))
        model.sd_checkpoint_info, model.sd_model_hash = info, info.shorthash
        shared.sd_model = model
