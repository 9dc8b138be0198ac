"""A network under deltas is the network with merged weights, and then itself again."""
from __future__ import annotations

from copy import deepcopy
from math import prod

import pytest
import torch
from torch import nn

from lib_mixdiff.boxes import Box
from lib_mixdiff.lora import Both, Change, Deltas, LowRank, Projections, fits
from lib_mixdiff.mosaic import Member, Mosaic, Part, Told
from lib_mixdiff.weights import OtherNetwork, WeightSet
from tests.test_weights import everything
from tests.tiny import UNET, unet

KINDS = {"Linear": nn.Linear, "Conv2d 1x1": nn.Conv2d, "Conv2d 3x3": nn.Conv2d, "GroupNorm": nn.GroupNorm, "LayerNorm": nn.LayerNorm}
RANK = 4


pytestmark = pytest.mark.usefixtures("no_gradients")


@pytest.fixture(scope="module")
def network():
    return unet()


def layers(network: nn.Module, kind: str) -> list[nn.Module]:
    return [layer for layer in network.modules() if isinstance(layer, KINDS[kind]) and (
        "Conv" not in kind or layer.kernel_size == ((3, 3) if "3x3" in kind else (1, 1)))]


def low_rank(layer: nn.Module, mid: bool = False, scale: float = 0.2) -> LowRank:
    wide, into, *kernel = layer.weight.shape
    ones = [1] * len(kernel)
    return LowRank(torch.randn(RANK, into, *(ones if mid else kernel)) / (into * prod(ones if mid else kernel)) ** 0.5,
                   scale * torch.randn(wide, RANK) / RANK ** 0.5, torch.randn(RANK, RANK, *kernel) / 6 if mid else None)


def change(layer: nn.Module) -> Change:
    return Change(0.1 * torch.randn_like(layer.weight), None if layer.bias is None else 0.1 * torch.randn_like(layer.bias))


def weight_of(delta) -> tuple[torch.Tensor, torch.Tensor | float]:
    """What would be merged, from the definition."""
    if isinstance(delta, Change):
        return delta.weight, 0 if delta.bias is None else delta.bias
    if delta.mid is not None:
        return torch.einsum("nmkl,in,mj->ijkl", delta.mid, delta.up, delta.down.flatten(1)), 0
    return (delta.up @ delta.down.flatten(1)).reshape(delta.shape), 0


def merged(network: nn.Module, pairs) -> nn.Module:
    """A copy."""
    copy = deepcopy(network)
    twins = dict(zip(network.modules(), copy.modules()))
    for layer, delta in pairs:
        weight, bias = weight_of(delta)
        twins[layer].weight += weight
        if twins[layer].bias is not None:
            twins[layer].bias += bias
    return copy


def called(network: nn.Module, rows: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return network(torch.randn(rows, 4, 8, 8, generator=generator), torch.linspace(100, 900, rows),
                   torch.randn(rows, 7, UNET["context_dim"], generator=generator))


def same(got: torch.Tensor, expected: torch.Tensor) -> bool:
    return float((got - expected).abs().max()) < 1e-5 * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize("kind, make", [
    *((kind, low_rank) for kind in ("Linear", "Conv2d 1x1", "Conv2d 3x3")), *((kind, lambda layer: low_rank(layer, mid=True)) for kind in ("Conv2d 1x1", "Conv2d 3x3")),
    *((kind, change) for kind in KINDS)])
def test_it_is_what_merged_weights_are(network, kind, make):
    pairs, plain, before = [(layer, make(layer)) for layer in layers(network, kind)], called(network), everything(network)
    assert pairs
    for layer, delta in pairs:
        fits(layer, delta)
    with Deltas(pairs).active():
        got = called(network)
    assert same(got, called(merged(network, pairs))) and not same(got, plain)
    assert everything(network) == before and torch.equal(called(network), plain)


@pytest.mark.parametrize("several", [1, 3])
def test_all_layers_at_once_and_many_of_one(network, several):
    pairs = [(layer, make(layer)) for _ in range(several) for kind in KINDS for layer in layers(network, kind)
             for make in ([low_rank, change] if "Norm" not in kind else [change])]
    small = [(layer, LowRank(d.down, 0.2 * d.up) if isinstance(d, LowRank) else Change(0.2 * d.weight, d.bias)) for layer, d in pairs]
    expected = called(merged(network, small))
    with Deltas(small).active():        # no more of all: rounding grows in a network that is far from what it was
        assert same(called(network), expected)


def test_nothing_is_left_when_the_body_raises(network):
    deltas, plain, before = Deltas([(layer, low_rank(layer)) for layer in layers(network, "Linear")]), called(network), everything(network)
    with pytest.raises(ZeroDivisionError), deltas.active():
        raise ZeroDivisionError(called(network))
    assert everything(network) == before and torch.equal(called(network), plain)
    assert not any(layer._forward_hooks or layer._forward_hooks_with_kwargs for layer in network.modules())


def test_scale_0_is_the_network_itself(network):
    pairs = [(layer, low_rank(layer, scale=0.0)) for kind in ("Linear", "Conv2d 1x1", "Conv2d 3x3") for layer in layers(network, kind)]
    plain = called(network)
    with Deltas(pairs).active():
        assert torch.equal(called(network), plain)
    assert not Deltas([])


def test_two_at_once_add_up_and_each_goes_by_itself(network):
    one, two = ([(layer, low_rank(layer)) for layer in layers(network, "Linear")] for _ in range(2))
    expected = called(merged(network, one + two))
    with Deltas(one).active():
        alone = called(network)
        with Deltas(two).active():
            assert same(called(network), expected)
        assert torch.equal(called(network), alone)


def test_on_top_of_other_weights(network):
    other = {name: 1.05 * each for name, each in network.state_dict().items()}
    pairs, before, plain = [(layer, low_rank(layer)) for layer in layers(network, "Linear")], everything(network), called(network)
    expected = merged(network, [])
    expected.load_state_dict(other)
    twins = dict(zip(network.modules(), expected.modules()))
    expected = merged(expected, [(twins[layer], delta) for layer, delta in pairs])
    with Both(WeightSet(network, other), Deltas(pairs)).active():
        assert same(called(network), called(expected))
    assert everything(network) == before and torch.equal(called(network), plain)


def test_others_hooks_and_forwards_stay_at_work(network):
    layer = layers(network, "Linear")[0]
    pairs = [(layer, low_rank(layer))]
    handle, plain = layer.register_forward_hook(lambda layer, args, y: 2 * y), nn.Linear.forward
    try:
        with Deltas(pairs).active():
            nn.Linear.forward = lambda self, x: plain(self, x) + 1      # as another extension patches the class meanwhile
            got = layer(torch.ones(3, layer.in_features))
            nn.Linear.forward = plain
            by_name = layer(input=torch.ones(3, layer.in_features))
    finally:
        nn.Linear.forward = plain
        handle.remove()
    y, weight = layer(torch.ones(3, layer.in_features)), weight_of(pairs[0][1])[0]
    assert same(got, 2 * (y + 1) + weight.sum(1)) and same(by_name, 2 * y + weight.sum(1))


def test_where_nothing_can_be_added_in_place(network):
    """Under autocast, and in another memory format."""
    pairs = [(layer, low_rank(layer)) for kind in ("Linear", "Conv2d 3x3") for layer in layers(network, kind)]
    expected, plain = called(merged(network, pairs)), called(network)
    with torch.autocast("cpu", torch.bfloat16), Deltas(pairs).active():
        got = called(network)
    assert float((got - expected).std()) < 0.1 * float((plain - expected).std())
    layer, x = nn.Conv2d(6, 8, 3).to(memory_format=torch.channels_last), torch.randn(2, 6, 5, 5).to(memory_format=torch.channels_last)
    pairs = [(layer, low_rank(layer))]
    with Deltas(pairs).active():
        got = layer(x)
    assert not got.is_contiguous() and same(got, merged(layer, pairs)(x)) and not same(got, layer(x))


def test_an_attention_whose_weights_are_used_directly():
    """As in OpenCLIP, the text encoder of SD2 and SDXL."""
    torch.manual_seed(0)
    layer, x = nn.MultiheadAttention(16, 2).eval().requires_grad_(False), torch.randn(5, 2, 16)
    deltas = [Projections(torch.randn(48, 16) / 8, torch.randn(16, 16) / 8) for _ in range(2)]
    expected, before = deepcopy(layer), everything(layer)
    for delta in deltas:
        expected.in_proj_weight += delta.inward
        expected.out_proj.weight += delta.outward
    plain = layer(x, x, x)[0]
    with Deltas([(layer, delta) for delta in deltas]).active():
        got = layer(x, x, x, need_weights=False)[0]
    assert same(got, expected(x, x, x)[0]) and not same(got, plain)
    assert everything(layer) == before and torch.equal(layer(x, x, x)[0], plain)


@pytest.mark.parametrize("layer, delta, words", [
    (nn.Linear(6, 8), LowRank(torch.ones(2, 5), torch.ones(8, 2)), r"\(8, 5\), in the loaded one \(8, 6\)"),
    (nn.Conv2d(6, 8, 3), LowRank(torch.ones(2, 6, 1, 1), torch.ones(8, 2)), r"\(8, 6, 1, 1\), in the loaded one \(8, 6, 3, 3\)"),
    (nn.GroupNorm(2, 8), LowRank(torch.ones(2, 5), torch.ones(8, 2)), "a GroupNorm"), (nn.Embedding(6, 8), Change(torch.ones(6, 8)), "an? Embedding"),
    (nn.MultiheadAttention(8, 2), Projections(torch.ones(12, 4), torch.ones(4, 4)), r"\(24, 8\)")])
def test_what_does_not_fit_is_named(layer, delta, words):
    with pytest.raises(OtherNetwork, match=words):
        fits(layer, delta)


def test_each_members_rows_have_its_deltas_alone(network):
    """Two members side by side: each half is as if its LoRA were everyone's."""
    texts = [torch.randn(1, 7, UNET["context_dim"]) for _ in range(2)]
    loras = [Deltas([(layer, low_rank(layer)) for layer in layers(network, "Linear")]) for _ in range(2)]
    x, sigma, host = torch.randn(4, 4, 8, 16), torch.full((4,), 500.0), torch.cat(2 * texts)

    def rows(*models) -> torch.Tensor:
        members = [Member(Box(0, left, 8, left + 8), torch.ones(8, 8), told=Told((Part(1.0, text),), text, model=model))
                   for left, text, model in zip((0, 8), texts, models)]
        return Mosaic(members, [[1.0], [1.0]]).predict(lambda x, sigma, text, image: network(x, sigma, text), x, sigma, host, None)
    left, right, both = rows(loras[0], loras[0]), rows(loras[1], loras[1]), rows(*loras)
    assert same(both[..., :8], left[..., :8]) and same(both[..., 8:], right[..., 8:]) and not same(left, right)
