"""A checkpoint's file is read as it is named, whatever it is; what is wrong with one is said."""
from __future__ import annotations

import os
import pickle

import pytest
import torch
from safetensors.torch import save_file

from lib_mixdiff.checkpoint import Checkpoint, Unreadable

TENSORS = {"model.diffusion_model.out.2.bias": torch.arange(4.0), "cond_stage_model.transformer.embeddings.x": torch.ones(2, 3),
           "conditioner.embedders.0.model.y": torch.zeros(1)}


class Harmful:
    def __reduce__(self):
        return os.system, ("touch harmed",)


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt", ".pt"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_tensors_come_back_by_their_present_names(tmp_path, suffix, wrapped):
    path = tmp_path / f"a{suffix}"
    if suffix == ".safetensors":
        save_file(TENSORS, path)
    else:
        torch.save({"state_dict": TENSORS, "epoch": 3} if wrapped else TENSORS, path)
    file = Checkpoint(path)
    assert set(file) == {"model.diffusion_model.out.2.bias", "cond_stage_model.transformer.text_model.embeddings.x", "conditioner.embedders.0.model.y"}
    assert torch.equal(file["cond_stage_model.transformer.text_model.embeddings.x"], torch.ones(2, 3))
    assert dict(file.part("model.diffusion_model.")).keys() == {"out.2.bias"}
    assert set(file.part("cond_stage_model.", "conditioner.embedders.0.")) == {"transformer.text_model.embeddings.x", "model.y"}


def damaged(path):
    whole = path.read_bytes()
    path.write_bytes(whole[:len(whole) // 2])


@pytest.mark.parametrize("suffix, damage, words", [
    (".safetensors", damaged, "damaged"), (".ckpt", damaged, "damaged"), (".safetensors", lambda path: path.write_bytes(b""), "damaged"),
    (".ckpt", lambda path: path.write_bytes(b""), "damaged"), (".safetensors", lambda path: path.unlink(), "gone"),
    (".ckpt", lambda path: path.unlink(), "gone"), (".safetensors", lambda path: path.write_bytes(os.urandom(500)), "damaged"),
    (".ckpt", lambda path: torch.save({"a": Harmful()}, path), "code"), (".ckpt", lambda path: path.write_bytes(pickle.dumps(Harmful())), "code"),
    (".ckpt", lambda path: torch.save([1, 2], path), "no weights"), (".ckpt", lambda path: torch.save({"a": 1}, path), "no weights")])
def test_what_cannot_be_read_is_said_and_nothing_runs(tmp_path, monkeypatch, suffix, damage, words):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"a{suffix}"
    if suffix == ".safetensors":
        save_file(TENSORS, path)
    else:
        torch.save(TENSORS, path)
    damage(path)
    with pytest.raises(Unreadable, match=words):
        Checkpoint(path)
    assert not (tmp_path / "harmed").exists()


def test_a_host_that_refuses_a_file_returns_nothing(tmp_path):
    torch.save(TENSORS, tmp_path / "a.ckpt")
    with pytest.raises(Unreadable, match="code"):
        Checkpoint(tmp_path / "a.ckpt", lambda path, **kwargs: None)
