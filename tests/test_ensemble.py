"""Laws of AFA's core: Algorithm 1 against a loop over bare networks, its neutral cases, and the network as it was afterwards."""
from __future__ import annotations

import copy
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from lib_mixdiff.aggregator import STATES, Aggregators, Form, NoAggregator, form_of, read
from lib_mixdiff.boxes import Box
from lib_mixdiff.ensemble import Ensemble, as_it_is, form_for, of_network
from lib_mixdiff.leads import Leads
from lib_mixdiff.lora import Both, Deltas, LowRank
from lib_mixdiff.paint import Row
from lib_mixdiff.parts import Parts, of_model
from lib_mixdiff.residency import Residency, Transfers
from lib_mixdiff.saliency import Saliency
from lib_mixdiff.train.afa import halved
from lib_mixdiff.weights import Mean, OtherNetwork, WeightSet
from tests import tiny

ROWS = 2


def networks(count: int) -> list[nn.Module]:
    """Of one architecture."""
    found = [tiny.unet()]
    for seed in range(1, count):
        found.append(copy.deepcopy(found[0]))
        rng = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in found[-1].parameters():
                weight += 0.02 * torch.randn(weight.shape, generator=rng)
    return found


def given(count: int) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    rng = torch.Generator().manual_seed(9)
    texts = [torch.randn(ROWS, 77, tiny.CONTEXT, generator=rng) for _ in range(count)]
    return torch.randn(ROWS, 4, 16, 8, generator=rng), torch.tensor([300.0, 700.0]), texts


def trained(network: nn.Module, count: int, mode: str = "full", without: tuple[str, ...] = ()) -> Aggregators:
    """As if: its maps differ."""
    torch.manual_seed(5)
    found = Aggregators(form_for(network, [(f"m{i}", str(i)) for i in range(count)], mode, without))
    for each in found.each:
        nn.init.normal_(each.maps.weight, 0, 0.5)
    return found.eval().requires_grad_(False)


def ensemble(several: list[nn.Module], aggregators: Aggregators | None, blockwise: bool = True, residency: Residency | None = None) -> Ensemble:
    """On the first network, with the others' weights."""
    sets = [of_model(Parts(several[0], dict(other.named_parameters()), residency)) for other in several[1:]]
    return Ensemble(several[0], [as_it_is, *sets], aggregators, range(len(several)), blockwise)


@torch.no_grad()
def asked(several: list[nn.Module], made: Ensemble | None, x: torch.Tensor, t: torch.Tensor, texts: list[torch.Tensor]) -> torch.Tensor:
    with made.active() if made else nullcontext():
        return several[0](x, t, context=torch.cat(texts, 1))


@torch.no_grad()
def algorithm_1(several: list[nn.Module], aggregators: Aggregators | None, blockwise: bool, x, t, texts) -> torch.Tensor:
    """The paper's, literally, each model a network of its own. Not blockwise: "only the last block"."""
    from ldm.modules.diffusionmodules.util import timestep_embedding
    embeddings = [each.time_embed(timestep_embedding(t, each.model_channels)) for each in several]
    states = torch.stack(embeddings).mean(0), torch.stack(texts).mean(0)

    def f(name: str, y: list[torch.Tensor]) -> torch.Tensor:
        if aggregators is None:
            return torch.stack(y).mean(0)
        maps = aggregators.at[name](y, *states)
        return sum(maps[:, i:i + 1] * y[i] for i in range(len(y)))

    if not blockwise:
        return f("out", [each(x, t, context=text) for each, text in zip(several, texts)])
    stack, last = [], len(several[0].output_blocks) - 1
    for j in range(len(several[0].input_blocks)):
        x = f(f"input_blocks.{j}", [each.input_blocks[j](x, e, c) for each, e, c in zip(several, embeddings, texts)])
        stack.append(x)
    x = f("middle_block", [each.middle_block(x, e, c) for each, e, c in zip(several, embeddings, texts)])
    for j in range(last):
        x = torch.cat([x, stack.pop()], 1)
        x = f(f"output_blocks.{j}", [each.output_blocks[j](x, e, c) for each, e, c in zip(several, embeddings, texts)])
    x = torch.cat([x, stack.pop()], 1)
    return f("out", [each.out(each.output_blocks[last](x, e, c)) for each, e, c in zip(several, embeddings, texts)])


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("kind", ["full", "last", "blocks", "noise"])
def test_an_ensemble_is_algorithm_1(count, kind):
    several, blockwise = networks(count), kind in ("full", "blocks")
    aggregators = trained(several[0], count, kind) if kind in ("full", "last") else None
    expected = algorithm_1(several, aggregators, blockwise, *given(count))
    got = asked(several, ensemble(several, aggregators, blockwise), *given(count))
    assert (got - expected).abs().max() < 3e-4 * expected.abs().max()      # a random network enlarges rounding
    alone = [each(given(count)[0], given(count)[1], context=given(count)[2][0]) for each in several]
    assert min((got - each).abs().max() for each in alone) > 1e-2 * expected.abs().max()


@pytest.mark.parametrize("blockwise", [True, False])
def test_untrained_is_averaging(blockwise):
    several = networks(3)
    torch.manual_seed(0)
    untrained = Aggregators(form_for(several[0], [("a", "1"), ("b", "2"), ("c", "3")], "full" if blockwise else "last")).eval()
    expected = asked(several, ensemble(several, None, blockwise), *given(3))
    assert torch.allclose(asked(several, ensemble(several, untrained, blockwise), *given(3)), expected, rtol=0, atol=1e-6 * expected.abs().max())


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("mode", ["full", "last", None])
def test_a_model_with_itself_is_the_plain_model(count, mode):
    network = networks(1) * count
    x, t, (text,) = given(1)
    expected = asked(network, None, x, t, [text])
    made = Ensemble(network[0], [as_it_is] * count, mode and trained(network[0], count, mode), range(count), mode != "last")
    got = asked(network, made, x, t, [text] * count)
    assert (got - expected).abs().max() < 1e-4 * expected.abs().max()


def test_another_order_of_the_models_is_the_same():
    several, order = networks(3), [2, 0, 1]
    aggregators = trained(several[0], 3)
    expected = asked(several, ensemble(several, aggregators), *given(3))
    x, t, texts = given(3)
    versions = [[as_it_is, of_network(several[1]), of_network(several[2])][i] for i in order]
    for known, same in (([order.index(i) for i in range(3)], True), (range(3), False)):
        got = asked(several, Ensemble(several[0], versions, aggregators, known, True), x, t, [texts[i] for i in order])
        assert ((got - expected).abs().max() < 1e-3 * expected.abs().max()) == same


def test_a_row_does_not_depend_on_its_batch():
    several = networks(2)
    made, (x, t, texts) = ensemble(several, trained(several[0], 2)), given(2)
    whole = asked(several, made, x, t, texts)
    for row in range(ROWS):
        one = slice(row, row + 1)
        assert torch.allclose(asked(several, made, x[one], t[one], [text[one] for text in texts]), whole[one], atol=1e-4 * float(whole.abs().max()))


def test_sizes_and_pooled_texts_are_each_models_own():
    """SDXL's `label_emb`, in ldm's network."""
    several = networks(3)
    for i, each in enumerate(several):
        torch.manual_seed(i)
        each.num_classes, each.label_emb = 1, nn.Sequential(nn.Linear(6, each.time_embed[-1].out_features))
    y, (x, t, texts) = torch.randn(ROWS, 3, 6), given(3)
    with torch.no_grad(), ensemble(several, None, False).active():
        got = several[0](x, t, context=torch.cat(texts, 1), y=y)
    with torch.no_grad():
        expected = torch.stack([each(x, t, context=text, y=y[:, i]) for i, (each, text) in enumerate(zip(several, texts))]).mean(0)
    assert torch.allclose(got, expected, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("room", [1e9, 1.0, 0.0], ids=["all fit", "one byte", "nothing"])
def test_the_weights_need_not_all_be_there(room):
    """A residency with room for nothing keeps the part at work, and gives the same."""
    several = networks(3)
    expected = asked(several, ensemble(several, None), *given(3))
    residency = Residency(Transfers(), room, 0)
    made = ensemble(several, None, residency=residency)
    assert torch.equal(asked(several, made, *given(3)), expected)
    if room < 2:
        assert len(residency._placed) == 1


def everything(network: nn.Module) -> list:
    return [(name, {key: id(value) for key, value in vars(module).items()}, {key: id(value) for key, value in module._parameters.items()},
             [*module._forward_hooks, *module._forward_hooks_with_kwargs]) for name, module in network.named_modules()]


def test_deltas_act_on_every_model_and_leave():
    """A LoRA on top of each is the same added to each one's weights."""
    several, rng = networks(2), torch.Generator().manual_seed(3)
    name = "middle_block.1.proj_in"
    up, down = torch.randn(128, 2, generator=rng), torch.randn(2, 128, 1, 1, generator=rng)
    deltas, parts = Deltas([(several[0].get_submodule(name), LowRank(down, up))]), Parts(several[0], dict(several[1].named_parameters()))
    made = Ensemble(several[0], [of_model(deltas), of_model(Both(parts, deltas))], None, range(2), True)
    before = everything(several[0])
    got = asked(several, made, *given(2))
    assert everything(several[0]) == before
    for each in several:
        each.get_submodule(name).weight += (up @ down.flatten(1))[:, :, None, None]
    expected = algorithm_1(several, None, True, *given(2))
    assert (got - expected).abs().max() < 3e-4 * expected.abs().max() < (got - asked(several, ensemble(networks(2), None), *given(2))).abs().max()


@pytest.mark.parametrize("fails", ["", "middle_block", "output_blocks.3", "out"])
def test_the_network_is_as_it_was_also_after_an_exception(fails):
    several = networks(2)
    made, before = ensemble(several, trained(several[0], 2)), everything(several[0])

    def boom(*_: object) -> None:
        raise RuntimeError("boom")

    if fails:
        several[0].get_submodule(fails)[0].register_forward_pre_hook(boom)
        before = everything(several[0])
        with pytest.raises(RuntimeError, match="boom"):
            asked(several, made, *given(2))
    else:
        asked(several, made, *given(2))
    assert everything(several[0]) == before and made._state is None


def test_what_others_hang_on_a_layer_works_for_every_model():
    several = networks(3)
    seen = []
    several[0].middle_block[0].register_forward_hook(lambda layer, args, out: seen.append(out))
    asked(several, ensemble(several, None), *given(3))
    assert len(seen) == 3 and not torch.equal(seen[0], seen[1])


def test_half_precision_is_near():
    several = networks(2)
    aggregators, (x, t, texts) = trained(several[0], 2), given(2)
    expected = asked(several, ensemble(several, aggregators), x, t, texts)
    for each in several:
        halved(each, torch.bfloat16).dtype = torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        got = asked(several, ensemble(several, aggregators.bfloat16()), x.bfloat16(), t, [text.bfloat16() for text in texts])
    assert got.dtype == torch.bfloat16 and torch.isfinite(got).all()
    assert (got.float() - expected).norm() < 0.1 * expected.norm()


def test_maps_are_shares_and_ablations_see_nothing_of_what_they_lack():
    network = tiny.unet()
    rng = torch.Generator().manual_seed(1)
    features = [torch.randn(ROWS, 32, 4, 6, generator=rng) for _ in range(3)]
    times, texts = torch.randn(2, ROWS, network.time_embed[-1].out_features, generator=rng), torch.randn(2, ROWS, 9, tiny.CONTEXT, generator=rng)
    for without in [(), *((state,) for state in STATES), STATES]:
        each = trained(network, 3, without=without).at["input_blocks.0"]
        maps = each(features, times[0], texts[0])
        assert maps.shape == ((ROWS, 3, 1, 1) if "space" in without else (ROWS, 3, 4, 6))
        assert torch.allclose(maps.sum(1), torch.ones(()), atol=1e-6) and maps.min() >= 0 and maps.dtype == torch.float32
        assert torch.equal(each(features, times[1], texts[0]), maps) == ("time" in without)
        assert torch.equal(each(features, times[0], texts[1]), maps) == ("text" in without)


def test_its_size_is_the_papers():
    """About 33 million parameters for three Stable Diffusion 1.5, one aggregator for each of 25 blocks."""
    from ldm.modules.diffusionmodules.openaimodel import UNetModel

    from lib_mixdiff.train.checkpoint import SD1
    with torch.device("meta"):
        network = UNetModel(**SD1["unet_config"]["params"])
        form = form_for(network, [("a", "1"), ("b", "2"), ("c", "3")], "full")
        made = Aggregators(form)
    assert len(made.each) == 25 and form.width == 128 and list(form.channels)[-1] == "out" and form.channels["out"] == 4
    assert form.channels["output_blocks.8"] == 640 and form.channels["middle_block"] == 1280
    assert 32e6 < sum(each.numel() for each in made.parameters()) < 34e6


def test_a_file_comes_back(tmp_path):
    import json

    from safetensors.torch import save_file
    made = trained(tiny.unet(), 2, "full", ("text",))
    about = json.dumps({"aggregator": made.form.to_dict()})
    save_file({name: each.contiguous() for name, each in made.state_dict().items()}, tmp_path / "a.safetensors", metadata={"mixdiff": about})
    again = read(tmp_path / "a.safetensors")
    assert again.form == made.form == Form.from_dict(json.loads(json.dumps(made.form.to_dict())))
    assert all(torch.equal(each, made.state_dict()[name]) for name, each in again.state_dict().items())
    for content, sentence in ((b"", "damaged"), (b"nonsense" * 20, "damaged")):
        (tmp_path / "b.safetensors").write_bytes(content)
        with pytest.raises(NoAggregator, match=sentence):
            form_of(tmp_path / "b.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "b.safetensors")
    with pytest.raises(NoAggregator, match="no aggregator"):
        form_of(tmp_path / "b.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "b.safetensors", metadata={"mixdiff": about})
    with pytest.raises(NoAggregator, match="damaged"):
        read(tmp_path / "b.safetensors")
    with pytest.raises(NoAggregator, match="gone"):
        form_of(tmp_path / "none.safetensors")


def test_parts_are_all_of_a_network_and_nothing_else():
    network, other = networks(2)
    tensors = dict(other.named_parameters())
    parts = Parts(network, tensors)
    assert sum(each.bytes for each in parts.sets.values()) == WeightSet(network, tensors).bytes
    with parts.active():
        assert all(torch.equal(each, tensors[name]) for name, each in network.named_parameters())
    assert not torch.equal(network.out[2].weight, tensors["out.2.weight"])
    for wrong, key in (({**tensors, "more.weight": torch.zeros(1)}, "more.weight"), ({**tensors, "out.9.weight": torch.zeros(1)}, "out"),
                       ({name: each for name, each in tensors.items() if name != "time_embed.0.bias"}, "time_embed")):
        with pytest.raises(OtherNetwork, match=key):
            Parts(network, wrong)


def test_the_mean_of_weight_sets_is_a_weight_set():
    network, *others = networks(4)
    merged = WeightSet(network, Mean([dict(each.named_parameters()) for each in others]))
    with merged.active():
        for name, each in network.named_parameters():
            assert torch.allclose(each, sum(dict(other.named_parameters())[name] for other in others) / 3, atol=1e-6)


def test_the_salient_model_has_the_pixel():
    """Each one's own softmax decides, not the size of what it says: the second says more everywhere, but the same."""
    left, flat = torch.zeros(1, 4, 8, 8), torch.full((1, 4, 8, 8), 9.0)
    left[..., :4] = 2.0
    rule = Saliency()
    shares = rule.shares([left, flat])
    assert shares.shape == (2, 1, 1, 8, 8) and torch.equal(shares.sum(0), torch.ones(1, 1, 8, 8))
    assert shares[0, ..., :3].min() == 1 and shares[1, ..., 6:].min() == 1
    rule.unit = 1e-9                            # the softmax of nothing is flat everywhere
    assert rule.shares([left, flat + torch.rand_like(flat)]).sum() == 64


def test_a_model_that_is_named_twice_leads_with_both_its_shares():
    leads, row = Leads(2, 2), Row(None, Box(0, 0, 2, 2))
    seen = leads.watching(["a", "b", "a"], [2, 1, 0], ["out"])
    with leads.over([row]):
        seen("out", torch.tensor([0.2, 0.3, 0.5]).reshape(1, 3, 1, 1).expand(1, 3, 2, 2))
    leads.looks.finish()
    shares = {leads.names[number]: maps[0].mean().item() for (_, number), maps in leads.looks.maps.items()}
    assert shares == pytest.approx({("out", "a"): 0.7, ("out", "b"): 0.3})
