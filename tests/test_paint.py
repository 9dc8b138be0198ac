"""Painted cross-attention is the paper's formula in the painted rows, the host's own in all others, and gone afterwards."""
from __future__ import annotations

import contextlib
import math
from copy import deepcopy

import numpy as np
import pytest
import torch
from ldm.modules.attention import CrossAttention

from lib_mixdiff.boxes import Box
from lib_mixdiff.looks import Looks
from lib_mixdiff.mosaic import Member, Mosaic, Part, Told
from lib_mixdiff.paint import Brush, Row, Words, attention_, paint_
from lib_mixdiff.patching import swapped
from tests.test_weights import everything
from tests.tiny import CONTEXT, unet

SIZE, CANVAS = 16, Box(0, 0, 16, 16)      # smaller, and the lowest level's GroupNorm has too few numbers to be steady
SIGMA = 5.0
ROUNDING = 5e-4         # of the largest value: random weights make much of the smallest difference


pytestmark = pytest.mark.usefixtures("no_gradients")


@pytest.fixture(scope="module")
def network():
    made = unet()
    for name, parameter in made.named_parameters():
        if ".attn2.to_" in name:        # the prompt, too
            parameter.mul_(3)
    return made


def words(columns=(2, 3, 5), height: int = SIZE, width: int = SIZE, strength: float = 0.4) -> Words:
    return Words(columns, strength * torch.rand(len(columns), height, width))


def brush(network, spread: str = "max", **kwargs) -> Brush:
    made = Brush(network, spread=spread, **kwargs)
    made.weight = math.log1p(SIGMA)
    return made


def one_layer(layer) -> torch.nn.Module:
    network = torch.nn.Module()
    network.transformer = torch.nn.Identity()
    network.transformer.transformer_blocks = torch.nn.ModuleList([torch.nn.Module()])
    network.transformer.transformer_blocks[0].attn2 = layer
    return network


def inputs(rows: int, height: int = SIZE, width: int = SIZE, tokens: int = 77):
    return torch.randn(rows, 4, height, width), torch.full((rows,), 400.0), torch.randn(rows, tokens, CONTEXT)


def call(network, x, t, text):
    return network(x, t, context=text)


@pytest.mark.parametrize("scale", ["max", "std"])
def test_the_formula_is_the_papers(scale):
    """eDiff-I, section 4.3, word for word, in float64: for one image and one head after the other."""
    heads, queries, tokens, d, strength = 3, 12, 9, 8, 0.7
    q, k, v = (torch.randn(heads, n, d, dtype=torch.float64) for n in (queries, tokens, tokens))
    columns, areas = [1, 4, 5], strength * torch.rand(queries, 3, dtype=torch.float64)
    a = np.zeros((queries, tokens))
    a[:, columns] = areas / strength
    expected = []
    for head in range(heads):
        qkt = (q[head] @ k[head].T).numpy()
        w = strength * np.log(1 + SIGMA) * (qkt.max() if scale == "max" else qkt.std(ddof=1))
        e = np.exp((qkt + w * a) / np.sqrt(d))
        expected.append(e / e.sum(1, keepdims=True) @ v[head].numpy())
    scores = paint_(q @ k.transpose(-2, -1), Words(columns, torch.ones(1)), areas, math.log1p(SIGMA), scale)
    assert np.abs((attention_(scores, d) @ v).numpy() - np.stack(expected)).max() < 1e-12


@pytest.mark.parametrize("scale", ["max", "std"])
def test_a_layer_does_it_in_the_painted_rows_and_the_hosts_own_way_in_all_others(scale):
    """Through a whole cross-attention, against its own einsum with A added."""
    layer, rows, h = CrossAttention(32, CONTEXT, heads=4, dim_head=8), 3, 4
    network = one_layer(layer)
    x, text, painted = torch.randn(rows, SIZE * SIZE, 32), torch.randn(rows, 77, CONTEXT), words()
    tool = brush(network, scale)
    with tool.over([Row(None, CANVAS), Row(painted, CANVAS), Row(None, CANVAS)]):
        network.transformer(torch.empty(rows, 32, SIZE, SIZE))
        found = layer(x, context=text)
    plain = layer(x[[0, 2]], context=text[[0, 2]])
    assert torch.equal(found[[0, 2]], plain)
    q, k, v = (part.view(-1, h, 8).transpose(0, 1) for part in (layer.to_q(x[1]), layer.to_k(text[1]), layer.to_v(text[1])))
    a = torch.zeros(SIZE * SIZE, 77)
    a[:, [2, 3, 5]] = painted.areas.flatten(1).T
    scores = q @ k.transpose(1, 2)
    loud = torch.stack([s.max() if scale == "max" else s.std() for s in scores])[:, None, None]
    expected = (((scores + math.log1p(SIGMA) * loud * a) / 8**0.5).softmax(-1) @ v).transpose(0, 1).reshape(SIZE * SIZE, 32)
    assert torch.allclose(found[1], layer.to_out(expected), atol=1e-6)


def test_no_paint_is_the_network_itself(network):
    x, t, text = inputs(2)
    plain, before = call(network, x, t, text), everything(network)
    tool = brush(network)
    for weight, rows in ((math.log1p(SIGMA), [Row(None, CANVAS)] * 2), (0.0, [Row(words(), CANVAS)] * 2)):
        tool.weight = weight
        with tool.over(rows):
            assert everything(network) == before, "nothing hangs on it"
            assert torch.equal(call(network, x, t, text), plain)


def test_paint_of_nothing_and_of_every_token_alike_change_nothing(network):
    x, t, text = inputs(1)
    plain = call(network, x, t, text)
    for painted in (Words([3], torch.zeros(1, SIZE, SIZE)), Words(range(77), torch.ones(1, 16, 16).expand(77, -1, -1))):
        with brush(network).over([Row(painted, CANVAS)]):
            assert torch.allclose(call(network, x, t, text), plain, atol=ROUNDING * plain.abs().max())
    with brush(network).over([Row(words(), CANVAS)]):
        assert not torch.allclose(call(network, x, t, text), plain, atol=1e-2 * plain.abs().max())


@pytest.mark.parametrize("scale", ["max", "std"])
@pytest.mark.parametrize("height, width", [(16, 16), (24, 8)])
def test_rows_do_not_influence_each_other(network, scale, height, width):
    """Four images with different masks, one of them without."""
    x, t, text = inputs(4, height, width)
    canvas = Box(0, 0, height, width)
    rows = [Row(each, canvas) for each in (words((2,), height, width), None, words((7, 8), height, width), words((1, 76), height, width))]
    with brush(network, scale).over(rows):
        together = call(network, x, t, text)
    for r, row in enumerate(rows):
        with brush(network, scale).over([row]):
            alone = call(network, x[[r]], t[[r]], text[[r]])
        assert torch.allclose(together[[r]], alone, atol=ROUNDING * alone.abs().max())


def test_the_network_is_as_before_after_errors_too(network):
    before, hooks = everything(network), [len(module._forward_pre_hooks) for module in network.modules()]
    x, t, text = inputs(1)
    tool = brush(network)
    with pytest.raises(ZeroDivisionError), tool.over([Row(words(), CANVAS)]):
        raise ZeroDivisionError(call(network, x, t, text))
    assert everything(network) == before
    assert [len(module._forward_pre_hooks) for module in network.modules()] == hooks


def test_a_tile_sees_its_part():
    painted = words((4, 9), 12, 20)
    crop = Box(2, 5, 10, 16)
    seen = painted.seen(crop, 8, 11)
    assert torch.equal(seen.T.unflatten(1, (8, 11)), painted.areas[:, 2:10, 5:16]), "at the canvas's own resolution"
    assert painted.seen(crop, 8, 11) is seen, "once a run"
    half = painted.seen(crop, 4, 6).T.unflatten(1, (4, 6))
    assert half.min() >= 0 and half.max() <= painted.areas.max()
    assert torch.allclose(Words([1], torch.full((1, 7, 9), 0.3)).seen(Box(0, 0, 7, 9), 4, 5), torch.full((20, 1), 0.3)), "grey stays grey"
    one_cell = torch.zeros(1, 16, 16)
    one_cell[0, 3, 12] = 1
    assert Words([1], one_cell).seen(Box(0, 0, 16, 16), 2, 2).argmax() == 1, "nothing is lost between the samples"


def test_where_ip_adapter_is_its_share_stays(network):
    """sd-webui-controlnet gives each cross-attention a forward of its own, which adds to the class's."""
    x, t, text = inputs(2)
    rows = [Row(words(), CANVAS), Row(None, CANVAS)]
    layers = [module for name, module in network.named_modules() if name.endswith("attn2")]
    extra = [torch.randn(layer.to_out[0].out_features) for layer in layers]

    def adapted(layer, more):
        return lambda x, context=None, mask=None: type(layer).forward(layer, x, context, mask) + more

    with brush(network).over(rows):
        for layer in layers:
            layer.to_out[0].bias.data += extra[layers.index(layer)]
        expected = call(network, x, t, text)
        for layer in layers:
            layer.to_out[0].bias.data -= extra[layers.index(layer)]
    with contextlib.ExitStack() as stack:
        for layer, more in zip(layers, extra):
            stack.enter_context(swapped(layer, "forward", adapted(layer, more)))
        before = everything(network)
        with brush(network).over(rows):
            found = call(network, x, t, text)
        assert everything(network) == before
    assert torch.allclose(found, expected, atol=ROUNDING * expected.abs().max())


def test_hypernetworks_are_asked(network):
    x, t, text = inputs(1)

    def contexts(layer, text):
        return 0.5 * text, text + 1

    other = deepcopy(network)
    for name, module in other.named_modules():
        if name.endswith("attn2"):
            to_k, to_v = module.to_k.forward, module.to_v.forward
            module.to_k.forward, module.to_v.forward = (lambda c, f=to_k: f(0.5 * c)), (lambda c, f=to_v: f(c + 1))
    painted = words()
    with brush(other).over([Row(painted, CANVAS)]):
        expected = call(other, x, t, text)
    with brush(network, contexts=contexts).over([Row(painted, CANVAS)]):
        assert torch.allclose(call(network, x, t, text), expected, atol=1e-6 * expected.abs().max())


def test_under_autocast_it_is_about_the_same():
    layer, painted, text, x = CrossAttention(32, CONTEXT, heads=4, dim_head=8), words(), torch.randn(1, 77, CONTEXT), torch.randn(1, SIZE * SIZE, 32)
    network = one_layer(layer)
    with brush(network).over([Row(painted, CANVAS)]):
        network.transformer(torch.empty(1, 32, SIZE, SIZE))
        exact = layer(x, context=text)
        with torch.autocast("cpu", torch.bfloat16):
            found = layer(x, context=text)
    assert found.dtype == torch.bfloat16 and (found.float() - exact).abs().max() < 0.02 * exact.abs().max()


def test_calls_that_are_not_ours_are_told(network):
    x, t, text = inputs(3)
    with brush(network).over([Row(words(), CANVAS)] * 2), pytest.raises(RuntimeError, match="another extension"):
        call(network, x, t, text)


def test_a_mosaic_paints_each_members_conds_where_it_lies():
    """Rows are told in the order in which the network gets them; unconds never are painted."""
    mine, regions, host = words(), words(), words()
    told = [Told(parts=(Part(1.0, torch.ones(1, 77, 4), regions),)), Told(words=[mine, host])]
    left, right = Box(0, 0, 8, 4), Box(0, 4, 8, 8)
    members = [Member(left, torch.ones(8, 4), told=told[0]), Member(right, torch.ones(8, 4), told=told[1])]
    seen = []

    class Painter:
        @contextlib.contextmanager
        def over(self, rows):
            seen.append(list(rows))
            yield

    def network(x, sigma, text, image):
        assert len(x) == len(seen[-1]) and all((crop.height, crop.width) == x.shape[-2:] for _, crop, _ in seen[-1])
        return x

    Mosaic(members, [[1.0], [0.5]], painters=[Painter()]).predict(network, torch.randn(4, 4, 8, 8), torch.ones(4), torch.zeros(4, 77, 4), None)
    rows = [row for batch in seen for row in batch]
    assert sorted(map(id, (words for words, _, _ in rows if words is not None))) == sorted(map(id, [regions, regions, mine, host]))
    assert all(crop == (left if painted is regions else right) for painted, crop, _ in rows if painted is not None)
    assert sum(painted is None for painted, _, _ in rows) == 4
    assert {(id(painted), image) for painted, _, image in rows if painted is not None} == {
        (id(regions), 0), (id(regions), 1), (id(mine), 0), (id(host), 1)}


@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_looking_changes_nothing_and_sees_what_the_softmax_gives(network, strength):
    x, t, text = inputs(2)
    canvas, layers = Box(0, 0, 16, 16), sum(name.endswith("attn2") for name, _ in network.named_modules())
    painted = Words([2, 3, 5], strength * torch.ones(3, 16, 16), {0: [0, 1], 4: [2]})
    everything_else = Words(range(77), torch.zeros(77, 16, 16), {0: list(range(77))})
    tool = brush(network)
    with tool.over([Row(painted, canvas, 1), Row(None, canvas)]):
        expected = call(network, x, t, text)
    tool.looks = Looks(16, 16)
    tool.looks.at(3)
    with tool.over([Row(painted, canvas, 1), Row(None, canvas)]):
        assert torch.equal(call(network, x, t, text), expected)
    assert all(int(count.max()) == layers for _, count in tool.looks._seen.values()), "every layer once"
    tool.looks.finish()
    assert {key: [*steps] for key, steps in tool.looks.maps.items()} == {(1, 0): [3], (1, 4): [3]}
    assert all(steps[3].min() >= 0 and steps[3].max() <= 1 for steps in tool.looks.maps.values())
    tool.looks = Looks(16, 16)
    with tool.over([Row(everything_else, canvas), Row(None, canvas)]):
        assert torch.equal(call(network, x, t, text), call(network, x, t, text)), "with strength 0 the host's own"
    tool.looks.finish()
    assert torch.allclose(tool.looks.maps[0, 0][0], torch.ones(16, 16)), "all the words together are all of the attention"
    assert tool.looks.picture(0, "", ["all"], ["#c81d3a"]).width > 100 and tool.looks.picture(1, "", ["all"], ["#c81d3a"]) is None
