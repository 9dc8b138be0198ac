"""Puts the shapes checkpoints together for a WebUI: `python -m minihost.models --into WEBUI/models/Stable-diffusion`."""
from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from minihost import models

parser = argparse.ArgumentParser(prog="python -m minihost.models", description=__doc__)
parser.add_argument("--into", type=Path, default=models.ASSEMBLED)
parser.add_argument("--keep", nargs=3, metavar=("WORK", "NAME", "v|eps"),
                    help="take what the training script has left in WORK into the repository first")
parser.add_argument("--keep-unet", nargs="+", type=Path, default=[], metavar="CHECKPOINT",
                    help="take the U-Nets of checkpoints that lib_mixdiff.train made into the repository first")
parser.add_argument("--keep-aggregator", type=Path, metavar="FILE", help="take aggregators into the repository first")
chosen = parser.parse_args()
if chosen.keep:
    models.keep(Path(chosen.keep[0]), chosen.keep[1], chosen.keep[2])
if chosen.keep_aggregator:
    models.AGGREGATORS.mkdir(exist_ok=True)
    shutil.copy(chosen.keep_aggregator, models.AGGREGATORS)
for checkpoint in chosen.keep_unet:
    models.keep_unet(checkpoint)
print(f"{', '.join(models.names())} in {models.assembled(chosen.into)}")
