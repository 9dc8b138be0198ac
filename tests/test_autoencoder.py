"""A VAE in tiles is that VAE."""
from __future__ import annotations

import contextlib
import io

import pytest
import torch
from ldm.modules.diffusionmodules.model import Decoder, Encoder

from bench.memory import Live
from lib_mixdiff import autoencoder
from lib_mixdiff.autoencoder import grid, held, segments_of, tiled
from lib_mixdiff.layers import layers_of
from lib_mixdiff.norms import group_norm, moments, together

WIDE = dict(double_z=True, z_channels=4, resolution=64, in_channels=3, out_ch=3, ch=32, ch_mult=[1, 2, 4, 4], num_res_blocks=1, dropout=0.0,
            attn_resolutions=[])
INSIDE = {**WIDE, "ch_mult": [1, 1, 2], "num_res_blocks": 2, "attn_resolutions": [16]}      # attention in a level, two halvings


def network(kind, config, seed=0):
    with contextlib.redirect_stdout(io.StringIO()), torch.random.fork_rng():
        torch.manual_seed(seed)
        made = kind(**config).eval().requires_grad_(False)
        for parameter in made.parameters():         # so that norms and attention have a say
            parameter.add_(0.1 * torch.randn(parameter.shape))
        return made


@pytest.mark.parametrize("config", [WIDE, INSIDE], ids=["four levels", "attention inside"])
@pytest.mark.parametrize("kind", [Encoder, Decoder])
@pytest.mark.parametrize("size, tile, kept", [((8, 13), 5, 0), ((8, 13), 5, 0.5), ((8, 13), 8, 99), ((5, 9), 64, 0), ((7, 3), 2, 0.5)])
def test_exact_is_the_same_picture(monkeypatch, config, kind, size, tile, kept):
    """Whatever the tiles and however much of the whole is kept; each picture of a batch by itself."""
    monkeypatch.setattr(autoencoder, "KEPT", kept)
    px = layers_of(made := network(kind, config))[0].of
    x = torch.randn(2, 3 if kind is Encoder else 4, px * size[0], px * size[1]) * torch.tensor([1.0, 3.0])[:, None, None, None]
    expected, told = made(x), []
    assert torch.allclose(tiled(made, x, True, tile, told.append), expected, atol=1e-4 * expected.std())
    assert told == sorted(told) and told[-1] == 1


@pytest.mark.parametrize("kind", [Encoder, Decoder])
def test_fast_is_near(kind):
    """Noise, and few channels in a group: as bad as it gets."""
    made = network(kind, WIDE)
    px = layers_of(made)[0].of
    x = torch.randn(1, 3 if kind is Encoder else 4, px * 16, px * 16)
    expected = made(x)
    error = tiled(made, x, False, 8) - expected
    assert 0 < error.square().mean().sqrt() < 0.3 * expected.std()


@pytest.mark.parametrize("kind", [Encoder, Decoder])
def test_one_without_attention_in_its_levels_may_not_have_lists_of_it(kind):
    """As SD3's, whose blocks have no dropout either."""
    made = network(kind, WIDE)
    x = torch.randn(1, 3 if kind is Encoder else 4, *([48, 80] if kind is Encoder else [6, 10]))
    expected = made(x)
    for level in made.down if kind is Encoder else made.up:
        del level.attn
        for block in level.block:
            del block.dropout
    vars(made).pop("give_pre_end", None)
    assert torch.allclose(tiled(made, x, True, 4), expected, atol=1e-4 * expected.std())


def test_fast_does_not_hide_what_hosts_look_for():
    """Not a number at one place, at the very end."""
    made = network(Decoder, WIDE)
    made.conv_out.register_forward_hook(lambda module, given, out: out.index_fill(3, torch.tensor([out.shape[3] - 1]), torch.nan))
    assert bool(tiled(made, torch.randn(1, 4, 8, 8), False, 4).isnan().all())


def test_every_size_of_tile_sees_what_it_needs():
    """A margin too narrow by one would show: an impulse at each place reaches the same pixels."""
    made = network(Decoder, WIDE)
    z = torch.randn(1, 4, 4, 20)
    whole = tiled(made, z, True, 64)
    for tile in (1, 3, 7, 10):
        assert torch.allclose(tiled(made, z, True, tile), whole, atol=1e-4), tile


def test_less_is_kept_than_the_finest_features():
    """Of Stable Diffusion's decoder half of what a layer at full size gives: 64 values for each pixel."""
    decoder = layers_of(network(Decoder, {**WIDE, "ch": 128, "num_res_blocks": 2}))
    kept = [segment[-1].channels * segment[-1].to**2 / 64 for segment in segments_of(decoder)[:-1]]
    assert max(kept) == 64
    assert [layer for segment in segments_of(decoder) for layer in segment] == decoder


@pytest.mark.parametrize("kind", [Encoder, Decoder])
def test_what_is_held_is_about_what_is_counted(kind):
    """With Stable Diffusion's proportions; the encoder holds less, and is tiled a little early."""
    made = network(kind, {**WIDE, "num_res_blocks": 2})
    px = layers_of(made)[0].of
    with Live({each.untyped_storage()._cdata for each in made.parameters()}) as live:
        made(torch.randn(1, 3 if kind is Encoder else 4, 16 * px, 16 * px))
    assert 0.7 < live.peak / held(made, 128, 128) < 1.2


def test_an_unknown_network_is_refused():
    with pytest.raises(AttributeError):
        layers_of(torch.nn.Conv2d(3, 3, 1))
    with pytest.raises(AttributeError):
        layers_of(network(Decoder, {**WIDE, "give_pre_end": True}))


def test_norms_of_parts_are_those_of_the_whole():
    x, norm = 5 + torch.randn(2, 64, 6, 10), torch.nn.GroupNorm(32, 64, eps=1e-6)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    mean, var = together([moments(x[box.of], 32) for box in grid(6, 10, 4)])
    assert torch.allclose(group_norm(norm, x, mean, var), norm(x), atol=1e-5)


def test_a_grid_covers_without_overlap():
    for height, width, side in ((12, 20, 8), (1, 7, 3), (64, 65, 64)):
        count = torch.zeros(height, width)
        for box in grid(height, width, side):
            count[box.of] += 1
            assert 0 < box.height <= side and 0 < box.width <= side
        assert bool((count == 1).all())
