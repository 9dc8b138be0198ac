"""`python -m tests.tiny DIR`: Stable Diffusion 1's architecture, small and with random weights, for tests."""
from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path

import safetensors.torch
import torch
import yaml
from torch import Tensor, nn

CONTEXT = 64
# 128 channels at the lowest level: with 64, GroupNorm(32) at 1x1 has two numbers a group and knows their sign only.
UNET = dict(image_size=8, in_channels=4, out_channels=4, model_channels=32, attention_resolutions=[4, 2, 1], num_res_blocks=2,
            channel_mult=[1, 1, 2, 4], num_heads=4, use_spatial_transformer=True, transformer_depth=1, context_dim=CONTEXT,
            use_checkpoint=False, legacy=False)
VAE = dict(double_z=True, z_channels=4, resolution=64, in_channels=3, out_ch=3, ch=32, ch_mult=[1, 1, 1, 1], num_res_blocks=1,
           attn_resolutions=[], dropout=0.0)
TEXT = dict(hidden_size=CONTEXT, intermediate_size=2 * CONTEXT, num_hidden_layers=3, num_attention_heads=4)


def parts() -> dict[str, nn.Module]:
    """The networks under their prefixes in a checkpoint."""
    from ldm.modules.diffusionmodules.model import Decoder, Encoder
    from ldm.modules.diffusionmodules.openaimodel import UNetModel
    with contextlib.redirect_stdout(io.StringIO()):
        return {"model.diffusion_model": UNetModel(**UNET), "first_stage_model.encoder": Encoder(**VAE),
                "first_stage_model.decoder": Decoder(**VAE), "first_stage_model.quant_conv": nn.Conv2d(8, 8, 1),
                "first_stage_model.post_quant_conv": nn.Conv2d(4, 4, 1)}


def unet() -> nn.Module:
    """With random weights, in which every block has a say."""
    from ldm.modules.diffusionmodules.openaimodel import UNetModel
    torch.manual_seed(0)
    with contextlib.redirect_stdout(io.StringIO()):
        made = UNetModel(**UNET).eval().requires_grad_(False)
    for name, parameter in made.named_parameters():
        if not parameter.any() and name.endswith("weight"):     # zero at the start of training
            nn.init.normal_(parameter, 0, 0.1)
    return made


def make(into: Path | str, name: str = "tiny", parameterization: str = "v", seed: int = 0) -> Path:
    """Writes NAME.safetensors, NAME.yaml and the tokenizer's folder `clip-tiny` into a folder; the checkpoint's path."""
    from transformers import CLIPTextConfig, CLIPTextModel

    from minihost.shapes.parts import write_tokenizer
    into = Path(into).resolve()
    clip = into / "clip-tiny"
    if not clip.exists():
        write_tokenizer(clip)
        config = json.loads((clip / "config.json").read_text())
        (clip / "config.json").write_text(json.dumps({**config, **TEXT, "projection_dim": CONTEXT}, indent=1))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        networks = parts()
        for key, weight in networks["model.diffusion_model"].named_parameters():
            if not weight.any():                    # zero at the start of training: every block should have a say
                weight.normal_(0, 0.1)
            elif ".attn2.to_" in key:           # and so should the prompt
                weight.mul_(3.0)
        text = CLIPTextModel(CLIPTextConfig.from_pretrained(clip))
        text.text_model.final_layer_norm.bias.normal_(-0.1, 0.1)        # emphasis divides by the output's mean
        text.text_model.embeddings.token_embedding.weight.normal_(0, 0.3)
        text.text_model.embeddings.position_embedding.weight.normal_(0, 0.1)
    networks["cond_stage_model.transformer"] = text
    state: dict[str, Tensor] = {f"{prefix}.{key}": value.contiguous() for prefix, network in networks.items()
                                for key, value in network.state_dict().items()}
    safetensors.torch.save_file(state, into / f"{name}.safetensors", metadata={"format": "pt"})
    config = dict(target="ldm.models.diffusion.ddpm.LatentDiffusion", params=dict(
        parameterization=parameterization, linear_start=0.00085, linear_end=0.03 if parameterization == "v" else 0.012,
        num_timesteps_cond=1, log_every_t=200, timesteps=1000, first_stage_key="jpg", cond_stage_key="txt", image_size=8,
        channels=4, cond_stage_trainable=False,
        conditioning_key="crossattn", monitor="val/loss_simple_ema", scale_factor=0.5, use_ema=False,
        unet_config=dict(target="ldm.modules.diffusionmodules.openaimodel.UNetModel", params=UNET),
        first_stage_config=dict(target="ldm.models.autoencoder.AutoencoderKL", params=dict(
            embed_dim=4, monitor="val/rec_loss", ddconfig=VAE, lossconfig=dict(target="torch.nn.Identity"))),
        cond_stage_config=dict(target="ldm.modules.encoders.modules.FrozenCLIPEmbedder", params=dict(version=str(clip)))))
    (into / f"{name}.yaml").write_text(yaml.safe_dump({"model": config}, sort_keys=False))
    return into / f"{name}.safetensors"


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    print(make(folder, "tiny", "v"), make(folder, "tiny-eps", "eps", seed=1), sep="\n")
