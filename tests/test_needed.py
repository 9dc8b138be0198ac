"""When the VAE works in tiles, and that it is itself again, in this process's embedded host."""
from __future__ import annotations

import numpy as np
import pytest
import torch


@pytest.fixture(scope="module")
def vae():
    from minihost.boot import boot
    boot("shapes")
    from modules import shared

    from lib_mixdiff.host import vae
    vae.first_stage = shared.sd_model.first_stage_model
    return vae


@pytest.fixture
def counted(vae, monkeypatch):
    """How many pictures go through the networks in tiles."""
    times, plain = [], vae.tiled
    monkeypatch.setattr(vae, "tiled", lambda *args, **kwargs: times.append(args[0]) or plain(*args, **kwargs))
    return times


LATENT = torch.randn(1, 4, 16, 12, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_it_is_needed_where_the_picture_would_not_fit(vae, counted, monkeypatch):
    expected = vae.first_stage.decode(LATENT)
    with vae.in_tiles() as networks:
        assert len(networks) == 2
        for free, tiles in ((10**12, 0), (1, 1)):
            monkeypatch.setattr(vae, "free", lambda device: free)
            assert np.allclose(vae.first_stage.decode(LATENT), expected, atol=1e-4) and len(counted) == tiles
    assert "forward" not in vars(vae.first_stage.decoder) and "forward" not in vars(vae.first_stage.encoder)


@torch.no_grad()
def test_what_runs_out_of_memory_all_the_same_is_done_again_in_tiles(vae, counted, monkeypatch):
    expected = vae.first_stage.decode(LATENT)

    def forward(self, z):
        raise torch.cuda.OutOfMemoryError("as if")
    monkeypatch.setattr(type(vae.first_stage.decoder), "forward", forward)
    with vae.in_tiles():
        assert np.allclose(vae.first_stage.decode(LATENT), expected, atol=1e-4) and len(counted) == 1
    assert "forward" not in vars(vae.first_stage.decoder)


@torch.no_grad()
def test_it_steps_aside_for_another_but_not_for_what_another_left(vae):
    decoder = vae.first_stage.decoder
    try:
        decoder.forward = lambda z: z
        assert vae.tileable() == [vae.first_stage.encoder]
        decoder.forward = type(decoder).forward.__get__(decoder)
        assert len(vae.tileable()) == 2
        with vae.in_tiles():
            pass
        assert decoder.forward == type(decoder).forward.__get__(decoder) and "forward" in vars(decoder)
    finally:
        del decoder.forward


def test_latents_stay_latents_where_the_host_decodes_them(vae, monkeypatch):
    monkeypatch.setattr(vae, "free", lambda device: 10**12)
    assert vae.decoded(LATENT) is LATENT and vae.decoded([LATENT]) == [LATENT]
    monkeypatch.setattr(vae, "free", lambda device: 1)
    assert [picture.shape for picture in vae.decoded(LATENT)] == [(3, 128, 96)]
    monkeypatch.setattr(vae, "tiled", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        getattr(vae.decoded(LATENT), "already_decoded", False)
