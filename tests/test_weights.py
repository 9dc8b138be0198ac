"""A network under a weight set is the other network, and then itself again."""
from __future__ import annotations

import contextlib
import io

import pytest
import torch
from ldm.modules.diffusionmodules.openaimodel import UNetModel

from lib_mixdiff.residency import Residency, Transfers
from lib_mixdiff.weights import STATE, OtherNetwork, WeightSet
from tests.tiny import UNET


@pytest.fixture(scope="module")
def networks():
    with contextlib.redirect_stdout(io.StringIO()):
        made = [UNetModel(**UNET).eval().requires_grad_(False) for _ in range(2)]
    for seed, network in enumerate(made):
        torch.manual_seed(seed)
        for parameter in network.parameters():
            parameter.normal_(0, 0.1)
    return made


def everything(network: torch.nn.Module) -> list:
    """Each layer's attributes and its parameters, by identity."""
    return [({name: id(value) for name, value in vars(layer).items()}, {name: id(each) for name, each in layer._parameters.items()})
            for layer in network.modules()]


def called(network):
    torch.manual_seed(5)
    return network(torch.randn(1, 4, 8, 8), torch.tensor([500.0]), torch.randn(1, 7, UNET["context_dim"]))


def strides(each: torch.Tensor) -> list[int]:
    """Those that say where something is."""
    return [stride for stride, size in zip(each.stride(), each.shape) if size > 1]


@pytest.mark.parametrize("fails", [False, True])
def test_it_is_the_other_network_and_then_itself(networks, fails):
    one, other = networks
    before, plain = everything(one), called(one)
    weights = WeightSet(one, other.state_dict())
    with pytest.raises(ZeroDivisionError) if fails else contextlib.nullcontext(), weights.active():
        assert torch.equal(called(one), called(other))
        if fails:
            raise ZeroDivisionError
    assert everything(one) == before and torch.equal(called(one), plain)


def test_nothing_is_copied_once_it_is_placed(networks):
    weights, seen = WeightSet(networks[0], networks[1].state_dict()), []
    for _ in range(3):
        with weights.active():
            seen.append([(id(each), each.data_ptr()) for each in networks[0].parameters()])
    assert seen[0] == seen[1] == seen[2] and seen[0] != [(id(each), each.data_ptr()) for each in networks[0].parameters()]


def test_one_in_another_is_left_in_order(networks):
    one, other = networks
    before = everything(one)
    outer, inner = WeightSet(one, other.state_dict()), WeightSet(one, {name: 2 * each for name, each in one.state_dict().items()})
    with outer.active():
        expected = called(other)
        with inner.active():
            assert not torch.equal(called(one), expected)
        assert torch.equal(called(one), expected)
    assert everything(one) == before


def test_what_is_left_on_a_layer_stays_with_its_weights(networks):
    """As a LoRA does it: a backup, a name, and merged weights; and a bias where there was none."""
    one, other = networks
    weights, layer = WeightSet(one, other.state_dict()), one.out[2]
    query = next(each for each in one.modules() if isinstance(each, torch.nn.Linear) and each.bias is None)
    before, plain = everything(one), layer.weight.clone()
    with weights.active():
        layer.network_weights_backup, layer.network_current_names = layer.weight.clone(), ("style",)
        layer.weight.add_(1.0)
        query.bias = torch.nn.Parameter(torch.ones(query.out_features), requires_grad=False)
    assert everything(one) == before and torch.equal(layer.weight, plain) and not any(name in vars(layer) for name in STATE)
    with weights.active():
        assert layer.network_current_names == ("style",) and torch.equal(layer.network_weights_backup, other.out[2].weight)
        assert torch.equal(layer.weight, other.out[2].weight + 1) and query.bias is not None
    assert everything(one) == before


def test_each_takes_the_form_of_what_it_replaces(networks):
    one = networks[0].half().to(memory_format=torch.channels_last)
    try:
        with torch.inference_mode():
            weights = WeightSet(one, networks[1].state_dict())
            weights.place(Transfers())
        with weights.active():
            replacements = list(one.parameters())
        for old, new in zip(one.parameters(), replacements):
            assert new is not old and new.dtype == old.dtype and strides(new) == strides(old) and not new.requires_grad and not new.is_inference()
    finally:
        one.float().to(memory_format=torch.contiguous_format)


def test_a_host_that_moves_modules_settles_each_before_it_changes(networks):
    """Its own come back from the GPU before ours are put in, and ours before its own are."""
    one, other = networks
    own, seen = one.out[2].weight, []
    weights = WeightSet(one, other.state_dict(), Residency(Transfers(), 1e9, 0, lambda: seen.append(one.out[2].weight is own)))
    for fails in (False, True):
        seen.clear()
        with pytest.raises(ZeroDivisionError) if fails else contextlib.nullcontext(), weights.active():
            assert seen == [True]
            if fails:
                raise ZeroDivisionError
        assert seen == [True, False] and one.out[2].weight is own


def test_it_is_itself_again_though_the_host_fails_to_settle(networks):
    one, other = networks
    before, calls = everything(one), []

    def settle() -> None:
        calls.append(None)
        if len(calls) == 2:
            raise MemoryError
    with pytest.raises(MemoryError), WeightSet(one, other.state_dict(), Residency(Transfers(), 1e9, 0, settle)).active():
        pass
    assert everything(one) == before


def test_a_bias_that_a_lora_of_the_last_job_has_left_is_not_asked_for(networks):
    one, other = networks
    query = next(each for each in one.modules() if isinstance(each, torch.nn.Linear) and each.bias is None)
    plain = called(one)
    query.network_current_names, query.network_bias_backup = ("style",), None
    query.bias = torch.nn.Parameter(torch.ones(query.out_features), requires_grad=False)
    try:
        with WeightSet(one, other.state_dict()).active():
            assert torch.equal(called(one), called(other))
        assert query.bias is not None
    finally:
        query.bias = None
        del query.network_bias_backup, query.network_current_names
    assert torch.equal(called(one), plain)


def test_half_a_placing_is_none(networks):
    class Failing(Transfers):
        def start(self, copies):
            raise ZeroDivisionError
    weights = WeightSet(networks[0], networks[1].state_dict())
    with pytest.raises(ZeroDivisionError):
        weights.place(Failing())
    assert not weights.placed


def test_layers_in_layers_come_back_together():
    """A LoRA merges into `out_proj` of an attention, and notes it on the attention (extensions-builtin/Lora/networks.py)."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.MultiheadAttention(8, 2))
    weights = WeightSet(network, {name: torch.randn_like(each) for name, each in network.named_parameters()})
    with torch.no_grad(), weights.active():
        network[0].network_current_names = ("style",)
        network[0].out_proj.weight += 1.0
        merged = network[0].out_proj.weight.clone()
    weights.leave()
    with weights.active():
        assert torch.equal(network[0].out_proj.weight, merged) and network[0].network_current_names == ("style",)


@pytest.mark.parametrize("pinned", [False, True])
def test_what_a_lora_has_merged_survives_leaving(networks, pinned):
    one, other = networks
    weights, plain = WeightSet(one, other.state_dict()), called(other)
    if pinned:
        weights.into_ram(False)
    query = next(each for each in one.modules() if isinstance(each, torch.nn.Linear) and each.bias is None)
    for turn in range(3):
        with weights.active():
            if turn == 0:
                one.out[2].network_current_names, one.out[2].network_weights_backup = ("style",), one.out[2].weight.clone()
                one.out[2].weight.add_(1.0)
                query.network_current_names, query.bias = ("style",), torch.nn.Parameter(torch.ones(query.out_features), requires_grad=False)
                merged = called(one)
            assert torch.equal(called(one), merged) and not torch.equal(merged, plain)
            assert one.out[2].network_current_names == ("style",)
        weights.leave()
    with weights.active():                      # and is undone as the WebUI does it
        one.out[2].weight.copy_(one.out[2].network_weights_backup)
        query.bias = None
        del one.out[2].network_current_names, query.network_current_names
        assert torch.equal(called(one), plain)
    weights.leave()
    with weights.active():
        assert torch.equal(called(one), plain)


@pytest.mark.parametrize("change, key", [
    (lambda state: state.pop("out.2.bias"), "no out.2.bias"), (lambda state: state.update(extra=torch.ones(1)), "has extra"),
    (lambda state: state.update({"out.2.bias": torch.ones(7)}), r"out.2.bias is \(7,\)")])
def test_another_architecture_is_named_by_its_key(networks, change, key):
    state = networks[1].state_dict()
    change(state)
    with pytest.raises(OtherNetwork, match=key):
        WeightSet(networks[0], state)
