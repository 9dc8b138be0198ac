"""What the benches build before they measure, so that one that no longer fits the library is found here and not when it is needed."""
from __future__ import annotations

import torch

from bench import cost, placement


def test_cost_asks_a_network_for_four_quadrants():
    mosaic, sizes = cost.mosaic(16), []
    cost.step(mosaic, lambda x, *_: (sizes.append(tuple(x.shape)), x)[1], torch.randn(2, 4, 16, 16), torch.randn(2, cost.TOKENS, cost.WIDTH))
    assert sizes == [(8, 4, 8, 8)] and mosaic.whole


def test_placement_knows_what_a_regions_network_sees():
    assert {layout: placement.own_size(layout) for layout in placement.LAYOUTS} == {"columns": (48, 128), "quadrants": (64, 64)}
