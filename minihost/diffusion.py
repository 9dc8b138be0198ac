"""The live model under the names that it has in the WebUI: genuine `ldm` U-Net and VAE parts, CLIP, and little around them."""
from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from modules.errors import NotHere
from modules.sd_hijack_clip import EmbeddingsWithFixes, FrozenCLIPEmbedderWithCustomWords
from torch import Tensor, nn


class Module(nn.Module):
    """A module that knows where its weights are."""

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device


class AutoencoderKL(Module):
    def __init__(self, embed_dim: int, ddconfig: dict[str, Any]) -> None:
        super().__init__()
        from ldm.modules.diffusionmodules.model import Decoder, Encoder
        with contextlib.redirect_stdout(io.StringIO()):         # they print their shapes
            self.encoder, self.decoder = Encoder(**ddconfig), Decoder(**ddconfig)
        self.quant_conv = nn.Conv2d(2 * ddconfig["z_channels"], 2 * embed_dim, 1)
        self.post_quant_conv = nn.Conv2d(embed_dim, ddconfig["z_channels"], 1)

    def encode(self, x: Tensor) -> Any:
        """The posterior of pixels (b, 3, h, w) in -1..1: an `ldm` DiagonalGaussianDistribution."""
        from ldm.modules.distributions.distributions import DiagonalGaussianDistribution
        return DiagonalGaussianDistribution(self.quant_conv(self.encoder(x)))

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(self.post_quant_conv(z))


class FrozenCLIPEmbedder(Module):
    """Tokenizer and text model from a folder that holds their configuration."""

    def __init__(self, version: str) -> None:
        super().__init__()
        from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
        self.tokenizer = CLIPTokenizer.from_pretrained(version)
        self.transformer = CLIPTextModel(CLIPTextConfig.from_pretrained(version))


class DiffusionWrapper(Module):
    def __init__(self, unet_config: dict[str, Any]) -> None:
        super().__init__()
        from ldm.modules.diffusionmodules.openaimodel import UNetModel
        self.diffusion_model, self.conditioning_key = UNetModel(**unet_config), "crossattn"

    def forward(self, x: Tensor, t: Tensor, c_concat: list[Tensor] | None = None,
                c_crossattn: list[Tensor] | None = None) -> Tensor:
        return self.diffusion_model(x, t, context=torch.cat(c_crossattn, 1))


class LatentDiffusion(Module):
    """`shared.sd_model`. `params` are those of the WebUI's yaml, `model.params`."""

    is_sdxl = is_sd2 = is_sd3 = is_sdxl_inpaint = is_ssd = False
    is_sd1 = True
    cond_stage_key, sd_checkpoint_info, sd_model_hash, used_config, filename = "txt", None, None, None, None

    def __init__(self, params: dict[str, Any], base: Path) -> None:
        super().__init__()
        if params.get("conditioning_key", "crossattn") != "crossattn":
            raise NotHere(f"minihost loads text-to-image models only, not conditioning_key {params['conditioning_key']!r}.")
        kinds = dict(unet_config="UNetModel", first_stage_config="AutoencoderKL", cond_stage_config="FrozenCLIPEmbedder")
        for part, name in kinds.items():
            if params[part]["target"].split(".")[-1] != name:
                raise NotHere(f"minihost loads Stable Diffusion 1 only: {part} must be {name}, not {params[part]['target']}.")
        self.parameterization = params.get("parameterization", "eps")
        self.scale_factor, self.latent_channels = float(params.get("scale_factor", 1.0)), params.get("channels", 4)
        self.num_timesteps = int(params.get("timesteps", 1000))
        start, end = float(params["linear_start"]), float(params["linear_end"])
        betas = torch.linspace(start**0.5, end**0.5, self.num_timesteps, dtype=torch.float64) ** 2
        self.register_buffer("betas", betas.float())
        self.register_buffer("alphas_cumprod", torch.cumprod(1.0 - betas, 0).float())
        self.model = DiffusionWrapper(params["unet_config"]["params"])
        first_stage = params["first_stage_config"]["params"]
        self.first_stage_model = AutoencoderKL(first_stage["embed_dim"], first_stage["ddconfig"])
        version = str(base / params["cond_stage_config"]["params"]["version"])      # a relative folder lies beside the yaml
        self.cond_stage_model = FrozenCLIPEmbedderWithCustomWords(FrozenCLIPEmbedder(version))
        embeddings = self.cond_stage_model.wrapped.transformer.text_model.embeddings
        embeddings.token_embedding = EmbeddingsWithFixes(embeddings.token_embedding)

    @staticmethod
    def live_name(key: str) -> str:
        """A checkpoint's key as a name in this module."""
        if key.startswith("cond_stage_model."):
            key = key.replace("cond_stage_model.", "cond_stage_model.wrapped.", 1)
            key = key.replace("token_embedding.weight", "token_embedding.wrapped.weight")
        return key

    def load_checkpoint(self, state_dict: dict[str, Tensor]) -> None:
        renamed = {self.live_name(key): value for key, value in state_dict.items()}
        missing = [key for key in self.load_state_dict(renamed, strict=False).missing_keys if not key.endswith("position_ids")]
        if absent := [key for key in missing if key not in ("betas", "alphas_cumprod")]:
            raise NotHere(f"the checkpoint does not fit its yaml: {len(absent)} tensors are missing, the first is {absent[0]}.")
        self.eval().requires_grad_(False)
        with torch.no_grad():
            self.cond_stage_model_empty_prompt = self.cond_stage_model([""])

    def apply_model(self, x_noisy: Tensor, t: Tensor, cond: dict[str, list[Tensor]]) -> Tensor:
        return self.model(x_noisy, t, **cond)

    def get_learned_conditioning(self, c: Sequence[str]) -> Tensor:
        return self.cond_stage_model(c)

    def encode_first_stage(self, x: Tensor) -> Any:
        return self.first_stage_model.encode(x)

    def get_first_stage_encoding(self, encoder_posterior: Any) -> Tensor:
        sample = encoder_posterior if isinstance(encoder_posterior, Tensor) else encoder_posterior.sample()
        return self.scale_factor * sample

    def decode_first_stage(self, z: Tensor) -> Tensor:
        return self.first_stage_model.decode(z / self.scale_factor)
