"""A checkpoint of Stable Diffusion 1's kind: its parts as `ldm` and CLIP networks, its noise, and a copy with another U-Net."""
from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import yaml
from safetensors import safe_open
from torch import Tensor, nn

from lib_mixdiff.checkpoint import schedule
from lib_mixdiff.train.atomic import replacing
from lib_mixdiff.train.faults import TrainError

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer."
CLIP = "openai/clip-vit-large-patch14"
CLIP_SIZES = dict(vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
                  max_position_embeddings=77, hidden_act="quick_gelu", projection_dim=768)
# Stable Diffusion 1's own v1-inference.yaml, as far as it is read here
SD1 = {"linear_start": 0.00085, "linear_end": 0.012, "timesteps": 1000, "scale_factor": 0.18215, "conditioning_key": "crossattn",
       "unet_config": {"target": "UNetModel", "params": dict(
           image_size=32, in_channels=4, out_channels=4, model_channels=320, attention_resolutions=[4, 2, 1], num_res_blocks=2,
           channel_mult=[1, 2, 4, 4], num_heads=8, use_spatial_transformer=True, transformer_depth=1, context_dim=768, legacy=False)},
       "first_stage_config": {"target": "AutoencoderKL", "params": {"embed_dim": 4, "ddconfig": dict(
           double_z=True, z_channels=4, resolution=256, in_channels=3, out_ch=3, ch=128, ch_mult=[1, 2, 4, 4], num_res_blocks=2,
           attn_resolutions=[], dropout=0.0)}},
       "cond_stage_config": {"target": "FrozenCLIPEmbedder", "params": {"version": CLIP}}}
KINDS = {"unet_config": "UNetModel", "first_stage_config": "AutoencoderKL", "cond_stage_config": "FrozenCLIPEmbedder"}


def quiet_ldm(name: str) -> Any:
    """A module of `ldm`, which prints on import: as it is installed, or as the WebUI has it, two folders above this extension's."""
    if importlib.util.find_spec("ldm") is None:
        webui = Path(__file__).absolute().parents[4] / "repositories" / "stable-diffusion-stability-ai"
        if not webui.is_dir():
            raise TrainError("The networks' classes (`ldm`) are not here: give this command in extensions/mixdiff of a WebUI, with the "
                             "WebUI's own Python (venv/bin/python), or in an environment with stable-diffusion-sdkit.")
        sys.path.append(str(webui))
    with contextlib.redirect_stdout(io.StringIO()):
        return importlib.import_module(f"ldm.modules.diffusionmodules.{name}")


class Vae(nn.Module):
    """The parts of `AutoencoderKL` under their names in a checkpoint. Latents here are not scaled."""

    def __init__(self, embed_dim: int, ddconfig: dict[str, Any]) -> None:
        super().__init__()
        model = quiet_ldm("model")
        with contextlib.redirect_stdout(io.StringIO()):  # they print their shapes
            self.encoder, self.decoder = model.Encoder(**ddconfig), model.Decoder(**ddconfig)
        self.quant_conv = nn.Conv2d(2 * ddconfig["z_channels"], 2 * embed_dim, 1)
        self.post_quant_conv = nn.Conv2d(embed_dim, ddconfig["z_channels"], 1)

    def moments(self, pixels: Tensor) -> Tensor:
        """(b, 2, c, h, w): mean and deviation of the posterior; pixels (b, 3, H, W) in -1..1."""
        mean, logvar = self.quant_conv(self.encoder(pixels)).chunk(2, 1)
        return torch.stack([mean, (0.5 * logvar.clamp(-30.0, 20.0)).exp()], 1)

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(self.post_quant_conv(z))


class Text(nn.Module):
    """Captions to features (b, 77 * chunks, c): chunks of 75 tokens between start and end, each encoded by itself, as the WebUI does."""

    def __init__(self, folder: str, tokens: int) -> None:
        super().__init__()
        from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
        try:
            self.tokenizer = CLIPTokenizer.from_pretrained(folder)
            config = CLIPTextConfig(**CLIP_SIZES) if folder == CLIP else CLIPTextConfig.from_pretrained(folder)
        except (OSError, ValueError) as error:
            raise TrainError(f"{folder}: the tokenizer cannot be read ({' '.join(str(error).split())[:200]}); start the WebUI once with "
                             "this checkpoint, which downloads it, or name a folder that holds it in the checkpoint's yaml.") from None
        self.transformer, self.chunks = CLIPTextModel(config), tokens // 75

    def length(self, caption: str) -> int:
        return len(self.tokenizer(caption, add_special_tokens=False, verbose=False).input_ids)

    def forward(self, captions: list[str]) -> Tensor:
        start, end = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        rows = [ids[:75 * self.chunks] for ids in self.tokenizer(captions, add_special_tokens=False, verbose=False).input_ids]
        chunks = [[start, *(part := ids[75 * i:75 * i + 75]), *[end] * (76 - len(part))] for ids in rows for i in range(self.chunks)]
        device = next(self.transformer.parameters()).device
        return self.transformer(torch.tensor(chunks, device=device)).last_hidden_state.unflatten(0, (len(captions), -1)).flatten(1, 2)


class Checkpoint:
    """NAME.safetensors, with NAME.yaml beside it unless it is a plain Stable Diffusion 1."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.suffix != ".safetensors" or not path.is_file():
            raise TrainError(f"checkpoint: {path} is no .safetensors file; name one, for example models/Stable-diffusion/NAME.safetensors.")
        with safe_open(path, "pt") as file:
            self.keys = set(file.keys())
            self.shapes = {key: tuple(file.get_slice(key).get_shape()) for key in self.keys if key.startswith(UNET)}
        self.params = self.configured()
        self.parameterization = self.params.get("parameterization", "eps")
        self.scale_factor = float(self.params.get("scale_factor", 1.0))
        self.abar = schedule(self.params).numpy()  # (timesteps,)
        unet, vae = self.params["unet_config"]["params"], self.params["first_stage_config"]["params"]["ddconfig"]
        self.cell = 2 ** (len(vae["ch_mult"]) - 1)  # px of a latent cell
        self.unit = self.cell * 2 ** (len(unet["channel_mult"]) - 1)  # px: sides of pictures are multiples
        self.channels = int(unet["in_channels"])

    def configured(self) -> dict[str, Any]:
        """`model.params` of the yaml beside it, or Stable Diffusion 1's; refuses what is not of its kind."""
        def refuse(what: str) -> None:
            raise TrainError(f"checkpoint: {self.path.name} {what}; only checkpoints of Stable Diffusion 1's kind can be trained so far.")

        if any(key.startswith("conditioner.") for key in self.keys):
            refuse("is a Stable Diffusion XL")
        if any(".joint_blocks." in key or key.startswith("text_encoders.") for key in self.keys):
            refuse("is a Stable Diffusion 3")
        if any(key.startswith("cond_stage_model.model.") for key in self.keys):
            refuse("is a Stable Diffusion 2")
        if absent := [prefix for prefix in (UNET, VAE, TEXT) if not any(key.startswith(prefix) for key in self.keys)]:
            refuse(f"holds no {absent[0]}...")
        config = self.path.with_suffix(".yaml")
        if not config.exists():
            first, context = self.shapes.get(f"{UNET}input_blocks.0.0.weight"), self.shapes.get(
                f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight", (0, 0))
            if first != (320, 4, 3, 3) or context[1] != 768:
                refuse(f"has no {config.name} beside it and is no plain Stable Diffusion 1 (as inpainting or InstructPix2Pix)")
            return SD1
        try:
            params = yaml.safe_load(config.read_text(encoding="utf-8"))["model"]["params"]
            kinds = {part: params[part]["target"].split(".")[-1] for part in KINDS}
            unet = params["unet_config"]["params"]
        except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
            raise TrainError(f"{config}: this is not the configuration of a checkpoint ({error}); put the right one beside it.") from None
        for part, kind in kinds.items():
            if kind != KINDS[part]:
                refuse(f"has a {kind} in its yaml ({part})")
        if params.get("conditioning_key", "crossattn") != "crossattn" or "num_classes" in unet:
            refuse("is conditioned by more than text, as its yaml says")
        if params.get("parameterization", "eps") not in ("eps", "v") or params.get("beta_schedule", "linear") != "linear":
            refuse("has another noise or prediction than eps or v on the linear schedule, as its yaml says")
        if params["cond_stage_config"].get("params", {}).get("layer", "last") != "last":
            refuse("takes another than the text encoder's last layer, as its yaml says")
        return params

    def state(self, prefix: str) -> dict[str, Tensor]:
        """Tensors under a prefix, without it."""
        with safe_open(self.path, "pt") as file:
            return {key[len(prefix):]: file.get_tensor(key) for key in sorted(self.keys) if key.startswith(prefix)}

    def filled(self, network: nn.Module, prefix: str) -> Any:
        """The network in float32, with this checkpoint's weights, frozen."""
        missing, unknown = network.load_state_dict(self.state(prefix), strict=False)
        wrong = [key for key in [*missing, *unknown] if not key.endswith("position_ids")]
        if wrong:
            raise TrainError(f"checkpoint: {self.path.name} does not fit its yaml; {len(wrong)} tensors are missing or unknown, "
                             f"the first is {prefix}{wrong[0]}.")
        return network.float().eval().requires_grad_(False)

    def unet(self) -> nn.Module:
        params = self.params["unet_config"]["params"]
        model = quiet_ldm("openaimodel")
        with contextlib.redirect_stdout(io.StringIO()):
            unet = model.UNetModel(**{**params, "use_checkpoint": False, "use_fp16": False})
        return self.filled(unet, UNET)

    def vae(self) -> Vae:
        params = self.params["first_stage_config"]["params"]
        return self.filled(Vae(params["embed_dim"], params["ddconfig"]), VAE)

    def text(self, tokens: int) -> Text:
        version = self.params["cond_stage_config"].get("params", {}).get("version", CLIP)
        beside = self.path.parent / version  # a relative folder lies beside the yaml
        return self.filled(Text(str(beside) if beside.is_dir() else version, tokens), TEXT[:-len("transformer.")])

    def fingerprint(self, prefix: str, *more: object) -> str:
        """16 hex digits of the weights under a prefix and of what else changes what they make."""
        digest = hashlib.sha256(json.dumps([self.params["first_stage_config"], more], default=str, sort_keys=True).encode())
        for key, value in self.state(prefix).items():
            digest.update(key.encode())
            digest.update(value.contiguous().view(torch.uint8).numpy() if value.dim() else str(value.item()).encode())
        return digest.hexdigest()[:16]

    def sha256(self) -> str:
        digest = hashlib.sha256()
        with self.path.open("rb") as file:
            while piece := file.read(1 << 24):
                digest.update(piece)
        return digest.hexdigest()

    def write(self, path: Path, unet: dict[str, Tensor], about: str) -> None:
        """A copy with another U-Net, in the dtypes of this one; its yaml beside it. The same bytes for the same weights: of several
        entries of metadata safetensors would choose the order at random."""
        state = {key: value for key, value in self.state("").items() if not key.startswith("model_ema.")}  # EMA of the old U-Net
        for key, value in unet.items():
            state[UNET + key] = value.detach().to("cpu", state[UNET + key].dtype).contiguous()
        config = self.path.with_suffix(".yaml")
        if config.exists() and config.resolve() != path.with_suffix(".yaml").resolve():
            with replacing(path.with_suffix(".yaml")) as part:
                shutil.copyfile(config, part)
        with replacing(path) as part:
            safetensors.torch.save_file(state, part, metadata={"mixdiff": about})
