"""`python -m minihost --port 7861`: the embedded host with the extension of this repository."""
import argparse
from pathlib import Path

import uvicorn

from minihost.boot import HERE, boot

parser = argparse.ArgumentParser(prog="python -m minihost", description=__doc__)
parser.add_argument("--port", type=int, default=7861)
parser.add_argument("--listen", default="127.0.0.1", metavar="ADDRESS", help="the address to answer on")
parser.add_argument("--models", type=Path, default=None, help="folder of NAME.safetensors with NAME.yaml; else the shapes")
parser.add_argument("--ckpt", default=None, metavar="NAME", help="the checkpoint to start with")
parser.add_argument("--extension", type=Path, action="append", help="folder whose scripts/*.py are loaded; may be repeated")
chosen = parser.parse_args()
app = boot(chosen.ckpt, chosen.models, chosen.extension or [HERE.parent])
print(f"minihost answers on http://{chosen.listen}:{chosen.port}", flush=True)
uvicorn.run(app, host=chosen.listen, port=chosen.port, log_level="warning")
