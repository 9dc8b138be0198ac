"""Laws of tiles: they cover any canvas, and what they make of it is the mean of the paper's eq. 15 and 16."""
from __future__ import annotations

import random
from itertools import pairwise

import pytest
import torch

from lib_mixdiff.boxes import Box
from lib_mixdiff.mosaic import Member, Mosaic
from lib_mixdiff.plan import Plan, Tiles
from lib_mixdiff.regions import Canvas, located, placed
from lib_mixdiff.tiles import Grid, starts
from lib_mixdiff.windows import WINDOWS
from tests.test_mosaic import RandomNetwork


@pytest.mark.parametrize("seed", range(40))
def test_tiles_cover_any_length_with_their_overlap_as_few_as_can_be(seed):
    rng = random.Random(seed)
    length, tile = rng.randint(1, 500), rng.randint(1, 100)
    overlap = rng.randint(0, tile - 1)
    found = starts(length, tile, overlap)
    assert found[0] == 0 and found[-1] == max(0, length - tile)
    assert all(0 < b - a <= tile - overlap for a, b in pairwise(found))
    assert len(found) == 1 or (len(found) - 2) * (tile - overlap) + tile < length, "one less would not do"


@pytest.mark.parametrize("seed", range(40))
def test_a_shifted_grid_covers_with_half_the_overlap_and_no_more_tiles(seed):
    rng = random.Random(seed)
    length, tile, phase = rng.randint(1, 500), rng.randint(1, 100), rng.random()
    overlap = rng.randint(0, tile - 1)
    found = starts(length, tile, overlap, phase)
    assert found[0] == 0 and found[-1] == max(0, length - tile)
    assert all(0 < b - a <= tile - overlap // 2 for a, b in pairwise(found))
    assert len(found) <= len(starts(length, tile, overlap))


def test_borders_of_a_shifted_grid_are_hardly_ever_where_they_were():
    """Six tiles of 64 cells that overlap by 16: neighbours share 8, the other 40 move."""
    grid = Grid.of(Tiles(width=512, height=512, overlap=128, grid="shifted"), 64)
    borders = [starts(304, 64, 16, grid.at(step).phase)[1:-1] for step in range(20)]
    for border in zip(*borders):
        assert max(border) - min(border) > 32 and max(map(border.count, border)) <= 2
    assert grid.at(0) == grid and Grid.of(Tiles(), 64).phase == 0
    assert (fixed := Grid.of(Tiles(grid="fixed"), 64)).at(3) == fixed, "a fixed one stays"


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("window", WINDOWS)
def test_a_tiled_member_is_the_mean_of_its_tiles(seed, window):
    """Against a loop from eq. 15 and 16, tile by tile, in float64."""
    rng, gen = random.Random(seed), torch.Generator().manual_seed(seed)
    height, width = rng.randint(5, 40), rng.randint(5, 40)
    tall, wide = rng.randint(3, 16), rng.randint(3, 16)
    grid = Grid(tall, wide, rng.randint(0, tall - 1), rng.randint(0, wide - 1), window, phase=rng.choice([None, rng.random()]))
    x, network = torch.randn(2, 4, height, width, generator=gen), RandomNetwork(seed)
    words = torch.randn(2, 7, 6, generator=gen)
    share = torch.rand(height, width, generator=gen)
    mosaic = Mosaic(list(grid.cut(Member(Box(0, 0, height, width), share))), [[1.0]], largest=2 * tall * wide)
    got = mosaic.predict(network, x[:1].expand(2, -1, -1, -1), torch.full((2,), 0.7), words, None)
    assert network.largest <= 2 * 2 * 4 * tall * wide, "no call is larger than two tiles of two rows"
    for row in range(2):
        above, below = torch.zeros(4, height, width, dtype=torch.float64), torch.zeros(height, width, dtype=torch.float64)
        for box in grid.boxes(Box(0, 0, height, width)):
            one = WINDOWS[window](box.height, box.width)
            above[box.of] += one * network(x[:1][box.of], torch.full((1,), 0.7), words[row:row + 1], None)[0]
            below[box.of] += one
        assert (got[row] - share * above / below).abs().max() < 1e-5


@pytest.mark.parametrize("seed", range(8))
def test_regions_larger_than_a_tile_keep_their_shares(seed):
    rng = random.Random(seed)
    boxes = [[0, 0, 0.7, 1], [0.5, rng.uniform(0, 0.5), 1, 1]]
    plan, canvas = Plan.from_dict({"regions": [{"box": box} for box in boxes], "base": {"share": 0.2}}), Canvas(24, 31)
    grid = Grid(rng.randint(4, 12), rng.randint(4, 12), 2, 3, rng.choice(list(WINDOWS)), phase=rng.choice([None, rng.random()]))
    members = placed(located(plan, canvas, lambda image: None), plan, canvas, 7.0)
    whole, tiled = (torch.zeros(3, 24, 31) for _ in range(2))
    for into, those in ((whole, members), (tiled, grid.tiles(members))):
        for index, member in those:
            into[(2 if index is None else index, *member.crop.of)] += member.share
    assert torch.allclose(whole, tiled, atol=1e-6) and torch.allclose(tiled.sum(0), torch.ones(24, 31), atol=1e-6)
