"""`python -m bench`: every table, into bench/RESULTS.md."""
from __future__ import annotations

import platform
import subprocess
import sys
import time
from pathlib import Path

import torch

OUT = Path(__file__).parent / "RESULTS.md"
PICTURES = Path("out/bench/pictures")
# title, what it says, module and arguments
TABLES = [
    ("The detector", "Scenes of the renderer: what it says against what was drawn, beside a second, independent method.",
     ["detector_check"]),
    ("What the shapes checkpoint can do by itself", "20 steps Euler, guidance 5, unseen seeds and contents.",
     ["objects", "--pictures", str(PICTURES)]),
    ("Placement", "128x128, 20 steps Euler, guidance 5. The same seed for one prompt and for regions.",
     ["placement", "--pictures", str(PICTURES)]),
    ("The two detectors on those pictures", "", ["detector_check", "--pictures", str(PICTURES)]),
    ("Paint with words", "128x128, 20 steps Euler, guidance 5. The same prompts and seeds in all rows.",
     ["paint", "--areas", "medium", "halves"]),
    ("Borders of regions", "", ["seams"]),
    ("Tiles", "", ["tiles"]),
    ("Memory", "Peak live tensor bytes of sampling, weights left out.", ["memory"]),
    ("The VAE", "", ["vae"]),
    ("Guide images", "", ["guides"]),
    ("Noise of regions with seeds", "", ["noise"]),
    ("Two specialists and their stack", "", ["specialists"]),
    ("AMDM", "64x64, 20 steps Euler, guidance 5; about an hour. The same prompts and seeds in all rows of a setting.", ["amdm"]),
    ("AFA", "64x64; about three hours on one core.", ["afa"]),
    ("What an ensemble costs", "", ["ensembled"]),
    ("Experts against one model", "Denoising loss at equal training compute, about an hour.", ["experts"]),
    ("Cost", "", ["cost"]),
    ("The canvas", "Work of the page for one event of a drag, in Chromium; it stays smooth below 16 ms.", ["drag"]),
]


def main() -> None:
    text = ["# Results", "", f"`make bench`, {time.strftime('%Y-%m-%d')}, Python {platform.python_version()}, torch {torch.__version__}, "
            f"{torch.get_num_threads()} threads, the embedded host.", ""]
    for title, about, (module, *arguments) in TABLES:
        print(title, flush=True)
        done = subprocess.run([sys.executable, "-m", f"bench.{module}", *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"bench.{module} failed:\n{done.stderr}")
        print(done.stdout, flush=True)
        command = " ".join(["python -m", f"bench.{module}", *arguments])
        table = done.stdout.strip()
        text += [f"## {title}", "", *([about, ""] if about else []), f"`{command}`", "",
                 *([table] if table.startswith("|") else ["```", table, "```"]), ""]
        OUT.write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main()
