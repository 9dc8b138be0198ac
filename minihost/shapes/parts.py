"""The parts of a shapes checkpoint: configurations, the genuine `ldm` and CLIP classes built from them, and the tokenizer."""
from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import torch
from torch import Tensor, nn

from minihost.shapes import world

CONTEXT = 128
UNET = dict(image_size=8, in_channels=4, out_channels=4, model_channels=32, attention_resolutions=[4, 2, 1],
            num_res_blocks=2, channel_mult=[1, 2, 2, 2], num_heads=4, use_spatial_transformer=True,
            transformer_depth=1, context_dim=CONTEXT, use_checkpoint=False, legacy=False)
# 96 channels at full resolution: three to a group of GroupNorm(32). With one a group, a flat colour is normalised away.
VAE = dict(double_z=True, z_channels=4, resolution=64, in_channels=3, out_ch=3, ch=96, ch_mult=[1, 1, 1, 1],
           num_res_blocks=0, attn_resolutions=[], dropout=0.0)
TEXT = dict(hidden_size=CONTEXT, intermediate_size=4 * CONTEXT, num_hidden_layers=3, num_attention_heads=4,
            max_position_embeddings=77, hidden_act="quick_gelu", layer_norm_eps=1e-5, projection_dim=CONTEXT)
TIMESTEPS, LINEAR_START = 1000, 0.00085
LINEAR_END = {"v": 0.03, "eps": 0.012}      # 0.03: practically no signal at the last timestep, which eps cannot learn


class Vae(nn.Module):
    """The parts of `AutoencoderKL` under their names in a checkpoint. Latents here are not scaled."""

    def __init__(self) -> None:
        super().__init__()
        from ldm.modules.diffusionmodules.model import Decoder, Encoder
        with contextlib.redirect_stdout(io.StringIO()):
            self.encoder, self.decoder = Encoder(**VAE), Decoder(**VAE)
        self.quant_conv, self.post_quant_conv = nn.Conv2d(8, 8, 1), nn.Conv2d(4, 4, 1)

    def moments(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (b, 4, h/8, w/8) of the posterior; pixels (b, 3, h, w) in -1..1."""
        mean, logvar = self.quant_conv(self.encoder(pixels)).chunk(2, 1)
        return mean, logvar.clamp(-30.0, 20.0)

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(self.post_quant_conv(z))


def unet() -> nn.Module:
    from ldm.modules.diffusionmodules.openaimodel import UNetModel
    return UNetModel(**UNET)


def text_model(tokenizer_dir: Path) -> nn.Module:
    from transformers import CLIPTextConfig, CLIPTextModel
    model = CLIPTextModel(CLIPTextConfig.from_pretrained(tokenizer_dir))
    with torch.no_grad():
        # The WebUI's emphasis multiplies by (mean before / mean after): a final norm of mean zero would give NaN.
        model.text_model.final_layer_norm.bias.fill_(-0.1)
        model.text_model.embeddings.token_embedding.weight.normal_(0, 0.3)
        model.text_model.embeddings.position_embedding.weight.normal_(0, 0.1)
    return model


def betas_and_abar(parameterization: str) -> tuple[Tensor, Tensor]:
    """betas and the cumulative product of (1 - beta), both (1000,) float64: `ldm`'s schedule "linear"."""
    betas = torch.linspace(LINEAR_START**0.5, LINEAR_END[parameterization]**0.5, TIMESTEPS, dtype=torch.float64) ** 2
    return betas, torch.cumprod(1 - betas, 0)


def words() -> list[str]:
    """Every word of a caption, and the comma that the WebUI looks up in a tokenizer."""
    return [*world.COLORS, *world.BACKGROUNDS, *world.SHAPES, "a", "an", "and", "on", "background", ","]


def write_tokenizer(into: Path) -> None:
    """A CLIP tokenizer and text configuration: all bytes, and merges that make each word of a caption one token."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers.models.clip.tokenization_clip import bytes_to_unicode
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    bpe.train_from_iterator([" ".join(words())], trainers.BpeTrainer(vocab_size=5000, min_frequency=1, end_of_word_suffix="</w>",
                                                                    show_progress=False))
    merges = [m if isinstance(m, str) else " ".join(m) for m in json.loads(bpe.to_str())["model"]["merges"]]
    letters = list(bytes_to_unicode().values())
    vocab = letters + [c + "</w>" for c in letters] + [m.replace(" ", "") for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
    vocab = list(dict.fromkeys(vocab))
    into.mkdir(parents=True, exist_ok=True)
    ends = dict(unk_token="<|endoftext|>", bos_token="<|startoftext|>", eos_token="<|endoftext|>", pad_token="<|endoftext|>")
    for name, value in {
        "vocab.json": {token: i for i, token in enumerate(vocab)},
        "special_tokens_map.json": ends,
        "tokenizer_config.json": {**ends, "add_prefix_space": False, "errors": "replace", "do_lower_case": True,
                                  "model_max_length": 77, "tokenizer_class": "CLIPTokenizer"},
        "config.json": {"architectures": ["CLIPTextModel"], "model_type": "clip_text_model", "vocab_size": len(vocab), **TEXT,
                        "bos_token_id": len(vocab) - 2, "eos_token_id": len(vocab) - 1, "pad_token_id": len(vocab) - 1,
                        "torch_dtype": "float32"},
    }.items():
        (into / name).write_text(json.dumps(value, indent=None if name == "vocab.json" else 1) + "\n", encoding="utf-8")
    (into / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
