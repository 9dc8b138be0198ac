"""The shapes checkpoints: kept in parts, what they share once, and put together for a host on first use."""
from __future__ import annotations

import shutil
from pathlib import Path

import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from minihost.shapes import parts

HERE = Path(__file__).resolve().parent
UNETS, TOKENIZER, AGGREGATORS = HERE / "unets", HERE / "clip-shapes", HERE / "aggregators"
SHARED = (HERE / "vae.safetensors", HERE / "text.safetensors")
ASSEMBLED = HERE.parent.parent / "out" / "models"


def names() -> list[str]:
    return sorted(path.stem for path in UNETS.glob("*.safetensors"))


def assembled(into: Path = ASSEMBLED) -> Path:
    """The folder `into` with every checkpoint as NAME.safetensors and NAME.yaml, and the ensembles' aggregators where a host looks for
    them, written where missing or older than its parts."""
    into.mkdir(parents=True, exist_ok=True)
    for name in names():
        newest = max(path.stat().st_mtime for path in (UNETS / f"{name}.safetensors", *SHARED, HERE / "__init__.py"))
        if not (done := into / f"{name}.yaml").exists() or done.stat().st_mtime < newest:
            assemble(name, into)
    (there := aggregators(into)).mkdir(exist_ok=True)
    for path in AGGREGATORS.glob("*.safetensors"):
        if not (copy := there / path.name).exists() or copy.stat().st_mtime < path.stat().st_mtime:
            shutil.copyfile(path, copy)
    return into


def aggregators(folder: Path) -> Path:
    """Where a host with this folder of checkpoints looks for AFA's aggregators."""
    return (folder.parent if folder.name == "Stable-diffusion" else folder) / "AFA"


def assemble(name: str, into: Path) -> None:
    """One checkpoint. The yaml names the tokenizer's folder by its absolute path: the WebUI reads it from elsewhere."""
    tokenizer = into / TOKENIZER.name
    shutil.copytree(TOKENIZER, tokenizer, dirs_exist_ok=True)
    unet_file = UNETS / f"{name}.safetensors"
    with safe_open(unet_file, "pt") as opened:
        made = opened.metadata()
    unet = {f"model.diffusion_model.{key}": value for key, value in load_file(unet_file).items()}
    save_file({**load_file(SHARED[0]), **load_file(SHARED[1]), **unet}, into / f"{name}.safetensors", metadata={"format": "pt"})
    text = yaml.safe_dump(config(made["parameterization"], float(made["scale_factor"]), tokenizer.resolve()), sort_keys=False)
    (into / f"{name}.yaml").write_text(text, encoding="utf-8")


def config(parameterization: str, scale_factor: float, tokenizer: Path) -> dict:
    """What a WebUI reads beside the checkpoint: `ldm`'s own configuration."""
    return {"model": {"target": "ldm.models.diffusion.ddpm.LatentDiffusion", "params": {
        "parameterization": parameterization, "linear_start": parts.LINEAR_START, "linear_end": parts.LINEAR_END[parameterization],
        "timesteps": parts.TIMESTEPS, "num_timesteps_cond": 1, "log_every_t": 200, "first_stage_key": "jpg", "cond_stage_key": "txt",
        "image_size": 8, "channels": 4, "cond_stage_trainable": False, "conditioning_key": "crossattn", "monitor": "val/loss",
        "scale_factor": scale_factor, "use_ema": False,
        "unet_config": {"target": "ldm.modules.diffusionmodules.openaimodel.UNetModel", "params": parts.UNET},
        "first_stage_config": {"target": "ldm.models.autoencoder.AutoencoderKL", "params": {
            "embed_dim": 4, "monitor": "val/rec_loss", "ddconfig": parts.VAE, "lossconfig": {"target": "torch.nn.Identity"}}},
        "cond_stage_config": {"target": "ldm.modules.encoders.modules.FrozenCLIPEmbedder", "params": {"version": str(tokenizer)}}}}}


def keep(work: Path, name: str, parameterization: str) -> None:
    """Takes what `minihost.shapes.train` has left in `work` into this folder, in float16."""
    trained = torch.load(work / f"unet-{parameterization}.pt")
    vae = torch.load(work / "vae.pt")
    text = {key: value for key, value in trained["text"].items() if not key.endswith("position_ids")}
    shared = ({f"first_stage_model.{key}": value for key, value in vae.items()},
              {f"cond_stage_model.transformer.{key}": value for key, value in text.items()})
    UNETS.mkdir(exist_ok=True)
    for part, file in zip(shared, SHARED):
        save_file({key: value.half().contiguous() for key, value in part.items()}, file)
    save_file({key: value.half().contiguous() for key, value in trained["unet"].items()}, UNETS / f"{name}.safetensors", metadata={
        "parameterization": parameterization, "scale_factor": repr(trained["scale_factor"]), "steps": str(trained["done"])})
    shutil.copytree(work / "clip-shapes", TOKENIZER, dirs_exist_ok=True)


def keep_unet(checkpoint: Path) -> None:
    """Takes the U-Net of a checkpoint that `lib_mixdiff.train` made of one of ours, under its name."""
    params = yaml.safe_load(checkpoint.with_suffix(".yaml").read_text(encoding="utf-8"))["model"]["params"]
    with safe_open(checkpoint, "pt") as opened:
        about = opened.metadata()
    prefix = "model.diffusion_model."
    unet = {key[len(prefix):]: value.half().contiguous() for key, value in load_file(checkpoint).items() if key.startswith(prefix)}
    save_file(unet, UNETS / checkpoint.name, metadata={
        "parameterization": params["parameterization"], "scale_factor": repr(params["scale_factor"]), "trained": about["mixdiff"]})
