"""What the benches build before they measure, so that one that no longer fits the library is found here and not when it is needed."""
from __future__ import annotations

import torch

from bench import cost, memory, placement, tiles


def test_cost_asks_a_network_for_four_quadrants():
    mosaic, sizes = cost.mosaic(16), []
    cost.step(mosaic, lambda x, *_: (sizes.append(tuple(x.shape)), x)[1], torch.randn(2, 4, 16, 16), torch.randn(2, cost.TOKENS, cost.WIDTH))
    assert sizes == [(8, 4, 8, 8)] and mosaic.whole


def test_placement_knows_what_a_regions_network_sees():
    assert {layout: placement.own_size(layout) for layout in placement.LAYOUTS} == {"columns": (48, 128), "quadrants": (64, 64)}


def test_memory_counts_what_is_alive_once():
    weight = torch.ones(1000)
    with memory.Live({weight.untyped_storage()._cdata}) as live:
        a = weight.t() + 1                      # 4,000 bytes each
        b = a.view(10, 100)[:5] * 2
        assert live.bytes == 4000 + 2000, "the weight and views are not counted"
        del a
        b = torch.cat([b, b])
    assert live.bytes == 4000 and live.peak == 6000


def test_tiles_know_where_they_are_and_what_they_cover():
    assert tiles.boxes("shifted", 4, (48, 32), tiles.STEPS - 1) != tiles.boxes("shifted", 4, (48, 32), 0)
    assert tiles.area("fixed", 0, (48, 32)) == 1.0 and tiles.area("shifted", 4, (48, 32)) < tiles.area("fixed", 4, (48, 32))
