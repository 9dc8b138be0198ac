"""The live model under the names that it has in the WebUI: genuine `ldm` U-Net and VAE, CLIP, and little around them."""
import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from ldm.modules.diffusionmodules.model import Decoder, Encoder
from ldm.modules.diffusionmodules.openaimodel import UNetModel
from ldm.modules.diffusionmodules.util import timestep_embedding
from modules.errors import NotHere, refuse
from modules.sd_hijack_clip import FrozenCLIPEmbedderWithCustomWords
from torch import Tensor, nn


class AutoencoderKL(nn.Module):
    def __init__(self, embed_dim: int, ddconfig: dict[str, Any]) -> None:
        super().__init__()
        with contextlib.redirect_stdout(io.StringIO()):         # it prints its shapes
            self.encoder, self.decoder = Encoder(**ddconfig), Decoder(**ddconfig)
        self.quant_conv = nn.Conv2d(2 * ddconfig["z_channels"], 2 * embed_dim, 1)
        self.post_quant_conv = nn.Conv2d(embed_dim, ddconfig["z_channels"], 1)

    def encode(self, x: Tensor) -> Tensor:
        """A sample of the posterior, with noise from torch's global generator."""
        mean, logvar = self.quant_conv(self.encoder(x)).chunk(2, dim=1)
        return mean + (0.5 * logvar.clamp(-30.0, 20.0)).exp() * torch.randn(mean.shape)

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(self.post_quant_conv(z))


class UNet(UNetModel):
    """For pictures whose sides are no multiples of 64 px too: what is upsampled too small grows to its skip connection's size."""

    def forward(self, x: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
        embedding = self.time_embed(timestep_embedding(timesteps, self.model_channels))
        skips = []
        for block in self.input_blocks:
            x = block(x, embedding, context)
            skips.append(x)
        x = self.middle_block(x, embedding, context)
        for block in self.output_blocks:
            skip = skips.pop()
            x = block(torch.cat([nn.functional.interpolate(x, skip.shape[-2:]), skip], dim=1), embedding, context)
        return self.out(x)


class LatentDiffusion(nn.Module):
    """`shared.sd_model`. `params` are those of the WebUI's yaml, `model.params`."""

    sd_checkpoint_info = sd_model_hash = None           # set by modules.sd_models

    def __init__(self, params: dict[str, Any], base: Path) -> None:
        super().__init__()
        kinds = dict(unet_config="UNetModel", first_stage_config="AutoencoderKL", cond_stage_config="FrozenCLIPEmbedder")
        refuse({f"{part} {params[part]['target']}": not params[part]["target"].endswith(kind) for part, kind in kinds.items()})
        refuse({f"conditioning_key {(key := params.get('conditioning_key', 'crossattn'))!r}": key != "crossattn"})
        self.parameterization = params.get("parameterization", "eps")
        self.scale_factor, self.latent_channels = float(params.get("scale_factor", 1.0)), params.get("channels", 4)
        self.image_size = params.get("image_size", 64)          # cells of the pictures it was trained on
        start, end = float(params["linear_start"]), float(params["linear_end"])
        betas = torch.linspace(start**0.5, end**0.5, int(params.get("timesteps", 1000)), dtype=torch.float64) ** 2
        self.register_buffer("alphas_cumprod", torch.cumprod(1.0 - betas, 0).float(), persistent=False)
        self.model = nn.ModuleDict({"diffusion_model": UNet(**params["unet_config"]["params"])})
        first_stage = params["first_stage_config"]["params"]
        self.first_stage_model = AutoencoderKL(first_stage["embed_dim"], first_stage["ddconfig"])
        version = str(base / params["cond_stage_config"]["params"]["version"])      # a relative folder lies beside the yaml
        self.cond_stage_model = FrozenCLIPEmbedderWithCustomWords(version)

    def load_checkpoint(self, state_dict: dict[str, Tensor]) -> None:
        if absent := [key for key in self.load_state_dict(state_dict, strict=False).missing_keys if not key.endswith("position_ids")]:
            raise NotHere(f"the checkpoint does not fit its yaml: {len(absent)} tensors are missing, the first is {absent[0]}.")
        self.eval().requires_grad_(False)
        self.cond_stage_model_empty_prompt = self.cond_stage_model([""])

    def apply_model(self, x_noisy: Tensor, t: Tensor, cond: dict[str, list[Tensor]]) -> Tensor:
        return self.model.diffusion_model(x_noisy, t, torch.cat(cond["c_crossattn"], dim=1))

    def get_learned_conditioning(self, c: Sequence[str]) -> Tensor:
        return self.cond_stage_model(c)

    def decode_first_stage(self, z: Tensor) -> Tensor:
        return self.first_stage_model.decode(z / self.scale_factor)
