"""Laws of the mosaic, against a loop written straight from Mixture of Diffusers, equations 15 and 16."""
from __future__ import annotations

import random
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from lib_mixdiff.boxes import Box
from lib_mixdiff.mosaic import Member, Mosaic, Part, Rivals, Told
from lib_mixdiff.shares import shares
from lib_mixdiff.windows import WINDOWS

CHANNELS, WIDTH = 4, 6      # of the latent, of a text's token


class RandomNetwork:
    """A fixed random function of x (of the whole crop: neighbours and mean), sigma and text, in float64."""

    def __init__(self, seed: int) -> None:
        rng = torch.Generator().manual_seed(seed)
        self.kernel = torch.randn(CHANNELS, CHANNELS, 3, 3, generator=rng, dtype=torch.float64) / 6
        self.of_text = torch.randn(WIDTH, CHANNELS, generator=rng, dtype=torch.float64)
        self.calls, self.largest = 0, 0

    def __call__(self, x: Tensor, sigma: Tensor, text, image: Tensor | None) -> Tensor:
        self.calls += 1
        self.largest = max(self.largest, x.numel())
        x = x.double()
        words = text["crossattn"].double().mean(1) + text["vector"].double()[:, :WIDTH] if isinstance(text, dict) else text.double().mean(1)
        bias = (words @ self.of_text)[:, :, None, None]
        if image is not None and image.ndim == 4:
            bias = bias + image.double().mean(1, keepdim=True)
        return torch.tanh(torch.nn.functional.conv2d(x, self.kernel, padding=1) + bias + x.mean((2, 3), keepdim=True)) * sigma[:, None, None, None]


def text(rng: torch.Generator, tokens: int, sdxl: bool):
    if sdxl:
        return {"crossattn": torch.randn(1, tokens, WIDTH, generator=rng), "vector": torch.randn(1, 9, generator=rng)}
    return torch.randn(1, tokens, WIDTH, generator=rng)


def stacked(rows):
    return {k: torch.cat([r[k] for r in rows]) for k in rows[0]} if isinstance(rows[0], dict) else torch.cat(rows)


def oracle(network, x, sigma, scale, host_parts, host_unconds, regions, share, feather, image=None):
    """Guided prediction (images, channels, h, w) in float64: each region by itself on its crop, one after another."""
    height, width = x.shape[-2:]
    base, weights = shares(height, width, [(r["box"], r["weight"], r["mask"]) for r in regions], share, feather)
    result = torch.zeros(x.shape, dtype=torch.float64)
    for i in range(len(x)):
        def guided(crop: Box, parts, uncond, s):
            at, sig = x[i:i + 1][crop.of], sigma[i:i + 1]
            im = None if image is None else image[i:i + 1][crop.of] if image.shape[-2:] == x.shape[-2:] else image[i:i + 1]
            u = network(at, sig, uncond, im)
            return u + s * sum(a * (network(at, sig, c, im) - u) for a, c in parts)
        for region, weight in zip(regions, weights):
            box = region["box"]
            prediction = guided(box, region["parts"] or host_parts[i], region["uncond"] if region["uncond"] is not None else host_unconds[i],
                                region["scale"] or scale)
            result[(slice(i, i + 1), *box.of)] += weight.double() * prediction[0]
        result[i] += base.double() * guided(Box(0, 0, height, width), host_parts[i], host_unconds[i], scale)[0]
    return result


def hosts_sum(rows, and_weights, scale):
    """The WebUI's own guidance over the rows that it got."""
    conds, result = sum(map(len, and_weights)), []
    row = 0
    for i, weights in enumerate(and_weights):
        u = rows[conds + i]
        total = u.clone()
        for b in weights:
            total += (rows[row] - u) * (b * scale)
            row += 1
        result.append(total)
    return torch.stack(result)


def scene(seed: int):
    rng, gen = random.Random(seed), torch.Generator().manual_seed(seed)
    sdxl, images = seed % 2 == 1, rng.randint(1, 3)
    height, width = rng.choice([(16, 16), (8, 24), (20, 17), (13, 16)])
    and_weights = [[rng.uniform(0.3, 1.5) for _ in range(rng.randint(1, 3))] for _ in range(images)]
    length, uncond_length = rng.choice([(7, 7), (14, 7), (7, 14)])
    host_parts = [[(b, text(gen, length, sdxl)) for b in weights] for weights in and_weights]
    host_unconds = [text(gen, uncond_length, sdxl) for _ in range(images)]
    regions = []
    for _ in range(rng.randint(1, 4)):
        top, left = rng.randint(0, height - 3), rng.randint(0, width - 3)
        box = Box(top, left, rng.randint(top + 2, height), rng.randint(left + 2, width))
        regions.append({"box": box, "weight": rng.uniform(0.2, 3) * WINDOWS[rng.choice(list(WINDOWS))](box.height, box.width),
                        "mask": rng.choice([None, torch.rand(box.height, box.width, generator=gen, dtype=torch.float64).round(decimals=0)]),
                        "parts": rng.choice([None, [(rng.uniform(-0.5, 1.5), text(gen, rng.choice([7, 14]), sdxl)) for _ in range(rng.randint(1, 2))]]),
                        "uncond": rng.choice([None, text(gen, rng.choice([7, 14]), sdxl)]), "scale": rng.choice([None, rng.uniform(1, 12)])})
    x = torch.randn(images, CHANNELS, height, width, generator=gen)
    sigma = torch.rand(images, generator=gen) + 0.5
    image = [None, torch.randn(images, 5, 1, 1, generator=gen), torch.randn(images, 5, height, width, generator=gen)][seed % 3]
    return dict(x=x, sigma=sigma, scale=rng.uniform(1, 9), and_weights=and_weights, host_parts=host_parts, host_unconds=host_unconds,
                regions=regions, share=rng.choice([0.0, rng.random()]), feather=rng.uniform(0, 5), image=image)


def mosaic_of(s) -> Mosaic:
    height, width = s["x"].shape[-2:]
    base, parts = shares(height, width, [(r["box"], r["weight"], r["mask"]) for r in s["regions"]], s["share"], s["feather"])
    members = []
    for region, part in zip(s["regions"], parts):
        members.append(Member(region["box"], part, region["scale"] / s["scale"] if region["scale"] else 1.0,
                              Told(tuple(Part(a, c) for a, c in region["parts"]) if region["parts"] else None, region["uncond"])))
    if (base > 0).any():
        members.append(Member(Box(0, 0, height, width), base))
    return Mosaic(members, s["and_weights"])


def asked(s, network, mosaic, whole: bool, chunk: int = 10**6):
    """Rows as the host asks for them: all at once where the texts have one length, else conds, then unconds, by `chunk` rows."""
    repeats = [i for i, weights in enumerate(s["and_weights"]) for _ in weights] + list(range(len(s["x"])))
    x, sigma = s["x"][repeats], s["sigma"][repeats]
    image = None if s["image"] is None else s["image"][repeats]
    texts = [c for parts in s["host_parts"] for _, c in parts], s["host_unconds"]
    mosaic.start()
    calls, at = ([[*texts[0], *texts[1]]] if whole else texts), 0
    for call in calls:
        for start in range(0, len(call), chunk):
            part = call[start:start + chunk]
            rows = slice(at, at + len(part))
            got = mosaic.predict(network, x[rows].double(), sigma[rows].double(), stacked(part), None if image is None else image[rows])
            assert got.shape == x[rows].shape
            at += len(part)
    return mosaic.rows()


def length(cond) -> int:
    return (cond["crossattn"] if isinstance(cond, dict) else cond).shape[1]


@pytest.mark.parametrize("seed", range(30))
def test_the_mixture_is_the_papers(seed):
    s, network = scene(seed), RandomNetwork(seed)
    one_length = length(s["host_parts"][0][0][1]) == length(s["host_unconds"][0])
    expected = oracle(network, s["x"].double(), s["sigma"].double(), s["scale"], s["host_parts"], s["host_unconds"], s["regions"],
                      s["share"], s["feather"], s["image"])
    mosaic = mosaic_of(s)
    for whole, chunk in [(True, 10**6)] * one_length + [(False, 10**6), (False, 2), (False, 1)]:
        for _ in range(2):      # a second step starts from nothing
            got = hosts_sum(asked(s, network, mosaic, whole, chunk).double(), s["and_weights"], s["scale"])
            assert torch.allclose(got, expected, atol=1e-4), (whole, chunk, (got - expected).abs().max())


@pytest.mark.parametrize("seed", range(10))
def test_without_uncond_every_row_is_the_mixture_of_the_members_pictures(seed):
    s, network = scene(seed), RandomNetwork(seed)
    height, width = s["x"].shape[-2:]
    base, weights = shares(height, width, [(r["box"], r["weight"], r["mask"]) for r in s["regions"]], s["share"], s["feather"])
    mosaic, repeats = mosaic_of(s), [i for i, w in enumerate(s["and_weights"]) for _ in w]
    mosaic.start()
    # the host drops the uncond rows of x, but not of the image condition
    image = None if s["image"] is None else s["image"][repeats + list(range(len(s["x"])))]
    mosaic.predict(network, s["x"][repeats].double(), s["sigma"][repeats].double(),
                   stacked([c for parts in s["host_parts"] for _, c in parts]), image)
    assert not mosaic.whole
    rows = mosaic.rows()
    assert len(rows) == len(repeats) + len(s["x"])
    for i in range(len(s["x"])):
        def picture(crop, parts):
            im = None if image is None else s["image"][i:i + 1]
            im = im[crop.of] if im is not None and im.shape[-2:] == (height, width) else im
            first, *more = [network(s["x"][i:i + 1][crop.of].double(), s["sigma"][i:i + 1].double(), c, im) for _, c in parts]
            return first + sum(a * (c - first) for (a, _), c in zip(parts, [first, *more]))
        expected = base.double() * picture(Box(0, 0, height, width), s["host_parts"][i])[0]
        for region, weight in zip(s["regions"], weights):
            box = region["box"]
            expected[box.of] += (weight.double() * picture(box, region["parts"] or s["host_parts"][i]))[0]
        for row in [j for j, k in enumerate(repeats) if k == i] + [len(repeats) + i]:
            assert torch.allclose(rows[row].double(), expected, atol=1e-4)


@pytest.mark.parametrize("own", [False, True])
def test_one_region_over_all_is_the_plain_network(own):
    s, network = scene(4), RandomNetwork(4)
    height, width = s["x"].shape[-2:]
    s["and_weights"], s["host_parts"] = s["and_weights"][:1], s["host_parts"][:1]
    s["host_unconds"], s["x"], s["sigma"] = s["host_unconds"][:1], s["x"][:1], s["sigma"][:1]
    s["image"] = None
    parts = tuple(Part(a, c) for a, c in s["host_parts"][0]) if own else None
    mosaic = Mosaic([Member(Box(0, 0, height, width), torch.ones(height, width), 1.0, Told(parts, s["host_unconds"][0] if own else None))],
                    s["and_weights"])
    rows = asked(s, network, mosaic, whole=False).double()
    plain = torch.cat([network(s["x"], s["sigma"], c, None) for c in [*(c for _, c in s["host_parts"][0]), s["host_unconds"][0]]])
    assert torch.allclose(hosts_sum(rows, s["and_weights"], 7.0), hosts_sum(plain, s["and_weights"], 7.0), atol=1e-4)
    assert mosaic.calls > 0


def test_an_image_whose_and_weights_are_all_zero_is_its_uncond():
    x = torch.randn(1, CHANNELS, 8, 8)
    mosaic = Mosaic([Member(Box(0, 0, 8, 8), torch.ones(8, 8))], [[0.0]])
    words = torch.randn(2, 7, WIDTH)
    rows = mosaic.predict(RandomNetwork(0), torch.cat([x, x]).double(), torch.ones(2).double(), words, None)
    assert torch.equal(rows[0], rows[1])


@pytest.mark.parametrize("own", [False, True])
def test_sizes_are_said_to_the_pieces_that_have_some(own):
    """Three numbers of which two are followed by another one, in conds and unconds, whose are the texts; the host's stay what they are."""
    def words(rows: int) -> dict:
        return {"crossattn": torch.randn(rows, 7, WIDTH), "vector": torch.arange(9.0).repeat(rows, 1)}
    told = Told((Part(1.0, words(1)),), words(1)) if own else Told()
    members = [Member(Box(0, x, 8, x + 8), torch.ones(8, 8), 1.0, told, sizes=sizes)
               for x, sizes in ((0, (-3, torch.tensor([[70.0, 80.0]]))), (8, None))]
    host, heard = words(2), []
    Mosaic(members, [[1.0]]).predict(lambda x, sigma, text, image: heard.append(text["vector"]) or x, torch.zeros(2, CHANNELS, 8, 16),
                                     torch.ones(2), host, None)
    changed, plain = [0, 1, 2, 3, 4, 5, 70, 80, 8], list(range(9))
    assert torch.cat(heard).tolist() == [changed, plain, changed, plain]
    assert host["vector"].tolist() == [plain, plain]


def test_no_batch_is_larger_than_the_hosts_own_call():
    network = RandomNetwork(0)
    quarters = [Box(t, left, t + 8, left + 8) for t in (0, 8) for left in (0, 8)]
    whole = Box(0, 0, 16, 16)
    members = [Member(b, torch.ones(b.height, b.width), 1.0, Told((Part(1.0, torch.randn(1, 7, WIDTH)),), torch.randn(1, 7, WIDTH)))
               for b in [*quarters, *quarters, whole, whole]]
    mosaic = Mosaic(members, [[1.0]])
    x = torch.randn(2, CHANNELS, 16, 16).double()
    mosaic.predict(network, x, torch.ones(2).double(), torch.randn(2, 7, WIDTH), None)
    assert network.largest == x.numel()
    assert network.calls == mosaic.calls == 2 + 2       # 16 quarters at 8 to a call, 4 wholes at 2


def test_batches_are_of_even_size():
    """Eighteen pieces of which eight are as large as the host's call: six, six and six, not eight, eight and two."""
    nine = [Member(Box(t, left, t + 8, left + 8), torch.ones(8, 8)) for t in (0, 4, 8) for left in (0, 4, 8)]
    assert Mosaic(nine, [[1.0]]).call_shapes(16, 16) == [(None, 6, 8, 8)] * 3
    assert Mosaic(nine[:5], [[1.0]], largest=3 * 64).call_shapes(16, 16) == [(None, 5, 8, 8)] * 2


def test_more_rows_than_the_job_has_are_an_error():
    mosaic = Mosaic([Member(Box(0, 0, 8, 8), torch.ones(8, 8))], [[1.0]])
    x, words = torch.randn(2, CHANNELS, 8, 8).double(), torch.randn(2, 7, WIDTH)
    mosaic.predict(RandomNetwork(0), x, torch.ones(2).double(), words, None)
    with pytest.raises(RuntimeError, match="more rows"):
        mosaic.predict(RandomNetwork(0), x, torch.ones(2).double(), words, None)


def test_half_precision_is_summed_in_float32():
    x = torch.randn(2, CHANNELS, 16, 16, generator=torch.Generator().manual_seed(0)).half()
    halves = [Member(Box(0, 0, 16, 16), torch.full((16, 16), 1 / 64)) for _ in range(64)]
    mosaic = Mosaic(halves, [[1.0]])
    rows = mosaic.predict(lambda x, *_: x, x, torch.ones(2), torch.randn(2, 7, WIDTH), None)
    assert rows.dtype == torch.float16 and torch.allclose(rows.float(), x.float(), rtol=2**-10, atol=2**-12)


def test_each_model_is_put_in_once_for_a_call_of_the_hosts():
    """However its members stand among the others, and whatever their sizes; and it answers for its own members only."""
    entered, inside = [], []

    class Scaled:
        def __init__(self, factor: float) -> None:
            self.factor = factor

        @contextmanager
        def active(self):
            entered.append(self.factor), inside.append(self.factor)
            yield
            inside.pop()

    two, three = Scaled(2.0), Scaled(3.0)
    boxes = [Box(0, 0, 8, 8), Box(0, 8, 8, 16), Box(8, 0, 16, 16)] * 2
    models = [two, None, three, three, two, None]
    members = [Member(b, torch.full((b.height, b.width), 0.5), told=Told(model=m)) for b, m in zip(boxes, models)]
    mosaic = Mosaic(members, [[1.0]])
    x = torch.ones(2, CHANNELS, 16, 16)
    rows = mosaic.predict(lambda x, *_: x * (inside[-1] if inside else 1.0), x, torch.ones(2), torch.zeros(2, 7, WIDTH), None)
    assert sorted(entered) == [2.0, 3.0] and not inside
    for box, share in ((boxes[0], 2.5), (boxes[1], 1.5), (boxes[2], 2.0)):
        assert torch.allclose(rows[(slice(None), *box.of)], torch.tensor(share))


class LeftAndRight:
    """The first rival has the left half of its crop, the others share the rest."""

    def shares(self, differences):
        self.seen = differences
        shares = torch.zeros(len(differences), len(differences[0]), 1, *differences[0].shape[-2:])
        half = shares.shape[-1] // 2
        shares[0, ..., :half], shares[1:, ..., half:] = 1.0, 1 / (len(differences) - 1)
        return shares


class Scaled:
    """A model of another network: all that it predicts is so many times as large."""

    def __init__(self, network: RandomNetwork, times: float) -> None:
        self.network, self.times = network, times

    @contextmanager
    def active(self):
        kernel, of_text = self.network.kernel, self.network.of_text
        self.network.kernel, self.network.of_text = self.times * kernel, self.times * of_text
        yield
        self.network.kernel, self.network.of_text = kernel, of_text


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("together", [True, False], ids=["at once", "cond first"])
def test_rivals_share_a_member_as_their_rule_says(parts, together):
    """Of a region beside another: its guided prediction is each rival's where that has its share."""
    rng, network, scale = torch.Generator().manual_seed(parts), RandomNetwork(1), 5.0
    and_weights, crop, rule = [[0.7, 0.4][:parts]] * 2, Box(0, 0, 8, 6), LeftAndRight()
    x, sigma = torch.randn(2, CHANNELS, 8, 10, generator=rng), torch.tensor([0.5, 2.0])
    host = stacked([text(rng, 7, False) for _ in range(2 * parts + 2)])
    models = [Scaled(network, times) for times in (1.0, 0.5, 2.0)]
    share = torch.rand(8, 6, generator=rng)
    beside = Member(Box(0, 6, 8, 10), torch.ones(8, 4))

    def guided(member) -> torch.Tensor:
        mosaic = Mosaic([member, beside], and_weights)
        each = torch.cat([x[i:i + 1].repeat(parts, 1, 1, 1) for i in range(2)] + [x])
        sigmas = torch.cat([sigma.repeat_interleave(parts), sigma])
        for some in ([slice(0, None)] if together else [slice(0, 2 * parts), slice(2 * parts, None)]):
            mosaic.predict(network, each[some], sigmas[some], host[some], None)
        rows = mosaic.rows()
        uncond = rows[2 * parts:]
        return torch.stack([u + scale * sum(b * (rows[parts * i + k] - u) for k, b in enumerate(and_weights[i])) for i, u in enumerate(uncond)])

    alone = [guided(Member(crop, share, told=Told(model=model))) for model in models]
    got = guided(Member(crop, share, told=Rivals(tuple(Told(model=model) for model in models), rule)))
    expected = torch.cat([alone[0][..., :3], (alone[1][..., 3:] + alone[2][..., 3:]) / 2], -1)
    assert torch.allclose(got, expected, atol=1e-5) and not torch.allclose(got, alone[0], atol=1e-2)
    assert all(each.shape == (2, CHANNELS, 8, 6) for each in rule.seen)
