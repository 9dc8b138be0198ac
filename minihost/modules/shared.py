"""What all modules share: settings, the state of the job, the command line and the loaded model."""
from __future__ import annotations

from argparse import Namespace
from typing import Any

import torch
from modules.options import OptionInfo, Options
from modules.shared_state import State

cmd_opts = Namespace(ckpt=None, api_auth=None, disable_nan_check=False, lowvram=False, medvram=False, medvram_sdxl=False,
                     no_half=True)
device = torch.device("cpu")
sd_model: Any = None            # minihost.diffusion.LatentDiffusion, set by modules.sd_models
demo: Any = None                # the page's gradio.Blocks
state = State()

_free = dict(sd_model_checkpoint=None, CLIP_stop_at_last_layers=1, comma_padding_backtrack=20, batch_cond_uncond=True,
             pad_cond_uncond=False, s_min_uncond=0.0, s_min_uncond_all=False, skip_early_cond=0.0, sgm_noise_multiplier=False,
             enable_pnginfo=True)
_only = dict(emphasis="Original", randn_source="CPU", eta_noise_seed_delta=0, eta_ddim=0.0, eta_ancestral=1.0,
             use_old_scheduling=False, enable_quantization=False, always_discard_next_to_last_sigma=False, tiling=False,
             pad_cond_uncond_v0=False, sd_vae="Automatic", sd_unet="Automatic", cross_attention_optimization="Automatic",
             samples_format="png", samples_save=False, live_previews_enable=False)
opts = Options({**{key: OptionInfo(value) for key, value in _free.items()},
                **{key: OptionInfo(value, only=True) for key, value in _only.items()}})
