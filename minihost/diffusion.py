"""The live model under the names that it has in the WebUI: genuine `ldm` U-Net and VAE decoder, CLIP, and little around them."""
from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from ldm.modules.diffusionmodules.model import Decoder
from ldm.modules.diffusionmodules.openaimodel import UNetModel
from modules.errors import NotHere
from modules.sd_hijack_clip import FrozenCLIPEmbedderWithCustomWords
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer


class AutoencoderKL(nn.Module):
    """The half that minihost needs of it."""

    def __init__(self, embed_dim: int, ddconfig: dict[str, Any]) -> None:
        super().__init__()
        with contextlib.redirect_stdout(io.StringIO()):         # it prints its shapes
            self.decoder = Decoder(**ddconfig)
        self.post_quant_conv = nn.Conv2d(embed_dim, ddconfig["z_channels"], 1)

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(self.post_quant_conv(z))


class FrozenCLIPEmbedder(nn.Module):
    """Tokenizer and text model from a folder that holds their configuration."""

    def __init__(self, version: str) -> None:
        super().__init__()
        self.tokenizer = CLIPTokenizer.from_pretrained(version)
        self.transformer = CLIPTextModel(CLIPTextConfig.from_pretrained(version))


class DiffusionWrapper(nn.Module):
    def __init__(self, unet_config: dict[str, Any]) -> None:
        super().__init__()
        self.diffusion_model = UNetModel(**unet_config)

    def forward(self, x: Tensor, t: Tensor, c_concat: list[Tensor] | None = None,
                c_crossattn: list[Tensor] | None = None) -> Tensor:
        return self.diffusion_model(x, t, context=torch.cat(c_crossattn, 1))


class LatentDiffusion(nn.Module):
    """`shared.sd_model`. `params` are those of the WebUI's yaml, `model.params`."""

    sd_checkpoint_info = sd_model_hash = None           # set by modules.sd_models

    def __init__(self, params: dict[str, Any], base: Path) -> None:
        super().__init__()
        if params.get("conditioning_key", "crossattn") != "crossattn":
            raise NotHere(f"minihost loads text-to-image models only, not conditioning_key {params['conditioning_key']!r}.")
        for part, name in dict(unet_config="UNetModel", first_stage_config="AutoencoderKL", cond_stage_config="FrozenCLIPEmbedder").items():
            if params[part]["target"].split(".")[-1] != name:
                raise NotHere(f"minihost loads Stable Diffusion 1 only: {part} must be {name}, not {params[part]['target']}.")
        self.parameterization = params.get("parameterization", "eps")
        self.scale_factor, self.latent_channels = float(params.get("scale_factor", 1.0)), params.get("channels", 4)
        start, end = float(params["linear_start"]), float(params["linear_end"])
        betas = torch.linspace(start**0.5, end**0.5, int(params.get("timesteps", 1000)), dtype=torch.float64) ** 2
        self.register_buffer("alphas_cumprod", torch.cumprod(1.0 - betas, 0).float(), persistent=False)
        self.model = DiffusionWrapper(params["unet_config"]["params"])
        first_stage = params["first_stage_config"]["params"]
        self.first_stage_model = AutoencoderKL(first_stage["embed_dim"], first_stage["ddconfig"])
        version = str(base / params["cond_stage_config"]["params"]["version"])      # a relative folder lies beside the yaml
        self.cond_stage_model = FrozenCLIPEmbedderWithCustomWords(FrozenCLIPEmbedder(version))

    def load_checkpoint(self, state_dict: dict[str, Tensor]) -> None:
        live = {key.replace("cond_stage_model.", "cond_stage_model.wrapped.", 1): value for key, value in state_dict.items()}
        if absent := [key for key in self.load_state_dict(live, strict=False).missing_keys if not key.endswith("position_ids")]:
            raise NotHere(f"the checkpoint does not fit its yaml: {len(absent)} tensors are missing, the first is {absent[0]}.")
        self.eval().requires_grad_(False)
        self.cond_stage_model_empty_prompt = self.cond_stage_model([""])

    def apply_model(self, x_noisy: Tensor, t: Tensor, cond: dict[str, list[Tensor]]) -> Tensor:
        return self.model(x_noisy, t, **cond)

    def get_learned_conditioning(self, c: Sequence[str]) -> Tensor:
        return self.cond_stage_model(c)

    def decode_first_stage(self, z: Tensor) -> Tensor:
        return self.first_stage_model.decode(z / self.scale_factor)
