"""Tensors that took long to make, kept in safetensors under a key each."""
from __future__ import annotations

import json
import uuid
from pathlib import Path

import safetensors.torch
from safetensors import safe_open
from torch import Tensor

from lib_mixdiff.train.atomic import replacing, sweep, write_text


class Cache:
    """A folder of files of many tensors, and `manifest.json`: {key: [file, number in it, shape]}. A file is listed once it is whole;
    a killed process loses the tensors of one file at most."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.manifest = folder, folder / "manifest.json"
        self.entries: dict[str, list] = json.loads(self.manifest.read_text(encoding="utf-8")) if self.manifest.exists() else {}
        self.files: dict[str, safe_open] = {}

    def __contains__(self, key: str) -> bool:
        return key in self.entries and (self.folder / self.entries[key][0]).exists()

    def shape(self, key: str) -> tuple[int, ...]:
        return tuple(self.entries[key][2])

    def __getitem__(self, key: str) -> Tensor:
        file, number, _ = self.entries[key]
        if file not in self.files:
            self.files[file] = safe_open(self.folder / file, "pt")
        return self.files[file].get_tensor(str(number))

    def add(self, tensors: dict[str, Tensor]) -> None:
        """As one file."""
        sweep(self.folder)
        file = f"{uuid.uuid4().hex}.safetensors"
        with replacing(self.folder / file) as part:
            safetensors.torch.save_file({str(i): each.contiguous() for i, each in enumerate(tensors.values())}, part)
        self.entries |= {key: [file, i, list(each.shape)] for i, (key, each) in enumerate(tensors.items())}
        write_text(self.manifest, json.dumps(self.entries))
