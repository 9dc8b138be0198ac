"""What the benches build before they measure, so that one that no longer fits the library is found here and not when it is needed."""
from __future__ import annotations

import json

import numpy as np
import torch

from bench import afa, amdm, cost, memory, paint, placement, tiles
from bench.detector import detect
from lib_mixdiff.plan import Plan
from minihost.shapes import world


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


def test_paint_asks_for_areas_in_halves_and_sees_what_is_drawn_there():
    for size in paint.AREAS_PX:
        asked = paint.asked(7, size)
        assert asked.names == paint.asked(7).names and Plan.from_dict(paint.plan("std 0.9 to 0.5", asked)).paint.range.to == 0.5
        for (left, *_), area in zip(asked.halves, asked.areas):
            assert area[:, int(left * paint.SIZE):][:, :paint.SIZE // 2].sum() == area.sum() > 0
    asked = paint.asked(7, "large")
    middles = [tuple(axis.mean() + 0.5 for axis in np.nonzero(area)) for area in asked.areas]
    things = [world.Thing(thing.color, thing.shape, x, y, 12) for thing, (y, x) in zip(asked.scene.things, middles)]

    def verdict(*things: world.Thing) -> paint.Verdict:
        return paint.judged(world.render(world.Scene(paint.SIZE, paint.SIZE, asked.scene.background, things)), asked)

    right = verdict(*things)
    assert right.drawn and right.in_halves and right.in_areas and right.alone and right.background and right.inside == 1 and right.covered > 0.05
    swapped = verdict(*(world.Thing(thing.color, thing.shape, other.x, other.y, 12) for thing, other in zip(things, things[::-1])))
    assert swapped.drawn and swapped.alone and not swapped.in_halves and not swapped.in_areas and swapped.inside == swapped.covered == 0
    one = verdict(things[0])
    assert not one.drawn and one.inside == 1 and 0 < one.covered < right.covered
    assert np.isnan(verdict().inside) and verdict().covered == 0


def test_amdm_asks_for_plans_that_are_right_and_sees_what_it_asked_for():
    for name, setting in amdm.SETTINGS.items():
        asked = setting.asked(3)
        for cell in [*setting.headline, *(cell for curve in amdm.CURVES.values() for cell in curve.get(name, []))]:
            text, plan = cell.asked(asked.models)
            assert text and (Plan.from_dict(plan).amdm is None) == cell.alone
        middles = [((half[0] + half[2]) * amdm.SIZE / 2, amdm.SIZE / 2) for half in asked.halves]

        def verdict(where: list[tuple[float, float]], color: str | None = None, asked=asked, setting=setting) -> tuple[bool, ...]:
            things = tuple(world.Thing(color or thing.color, thing.shape, x, y, 11) for thing, (x, y) in zip(asked.scene.things, where))
            seen = detect(world.render(world.Scene(amdm.SIZE, amdm.SIZE, asked.scene.background, things)))
            return setting.judged(seen, asked)

        assert all(verdict(middles))
        elsewhere = [(amdm.SIZE - x, y) for x, y in middles]
        assert verdict(elsewhere) == {"specialists": (True,) * 3, "three": (True, True, False, False)}.get(name, (True, True, False))
        other = next(color for color in world.COLORS if color not in " ".join(asked.names))
        assert verdict(middles, other) == {"specialists": (False, True, False), "three": (False, True, True, False)}.get(
            name, (False, True, False))
    assert len({str(amdm.one(index)) for index in range(256)}) == 256


def test_amdm_keeps_what_it_has_seen():
    picture = world.render(world.scene_at_random(np.random.default_rng(1), 64, 64, 2))
    seen = amdm.Seen(detect(picture), amdm.palette(picture))
    assert amdm.restored(json.loads(json.dumps(amdm.told(seen)))) == seen and 0.8 < seen.palette < 1


def test_amdm_counts_pictures_of_one_prompt_that_are_alike_as_fewer():
    apart = np.arange(80).reshape(10, 8) % 2 == 0                   # every prompt half right
    alike = np.repeat(np.arange(10) % 2 == 0, 8).reshape(10, 8)     # half of the prompts, always
    every = np.ones_like(apart)
    assert amdm.rate(apart, every) == placement.rate([*apart.ravel()]) == "50.0% (39.3% to 60.7%)"
    assert amdm.rate(alike, every) == "50.0% (22.7% to 77.3%)" and amdm.rate(alike, alike) == "100.0% (91.2% to 100.0%)"
    assert amdm.rate(alike, ~every) == ""


def test_the_attention_of_cost_is_the_networks():
    from ldm.modules.attention import CrossAttention
    layer, x, text = CrossAttention(8, 6, heads=2, dim_head=4), torch.randn(2, 5, 8), torch.randn(2, 3, 6)
    torch.testing.assert_close(cost.fused(layer, x, text), layer(x, text))


def test_afa_asks_for_every_row_and_takes_the_mean_of_weights(tmp_path, capsys):
    assert {row: Plan.from_dict(afa.plan(tmp_path, row)).is_neutral for row in afa.ROWS if row not in afa.TRAINED} == dict.fromkeys(("shapes-a", "shapes-b", "shapes-c", "merge", "noise", "blocks", "saliency"), False)
    assert afa.RECIPE["steps"] * afa.RECIPE["batch"] <= afa.SAMPLES < (afa.RECIPE["steps"] + 1) * afa.RECIPE["batch"]
    merged, several = afa.targets(tmp_path, "merge").unet.state_dict(), [afa.targets(tmp_path, name).unet.state_dict() for name in afa.MODELS]
    key = "middle_block.1.proj_in.weight"
    assert torch.allclose(merged[key], sum(each[key] for each in several) / 3, atol=1e-3) and not torch.equal(merged[key], several[0][key])
    assert afa.targets(tmp_path, "noise").aggregators.form.mode == "last" and afa.targets(tmp_path, "blocks").aggregators.form.mode == "full"
    afa.table({afa.key("full", 20, 5, 0): "tscb,tsc", afa.key("full", 20, 2, 0): "cb,sb"}, {"full": [0.1] * 10})
    said = capsys.readouterr().out
    assert "| full | 0.1000 | 0.1000, 0.1000, 0.1000 | 50 % (9 to 91); 100, 50 | - | - |" in said
    assert "| full | - | 0 % (0 to 66); 50, 50, 100 | - | 50 % (9 to 91); 100, 100, 50 | - |" in said


def test_afa_says_what_is_wrong_with_a_picture():
    wanted = world.Scene(64, 64, "teal", (world.Thing("red", "circle", 16, 16, 8), world.Thing("blue", "square", 44, 44, 8)))
    told = {"tscb": wanted, "b": world.Scene(64, 64, "teal", ()), "tsc": world.Scene(64, 64, "gray", wanted.things),
            "cb": world.Scene(64, 64, "teal", (wanted.things[0], world.Thing("blue", "circle", 44, 44, 8))),
            "scb": world.Scene(64, 64, "teal", (world.Thing("blue", "circle", 16, 16, 8), world.Thing("red", "square", 44, 44, 8)))}
    assert {marks: afa.marks(detect(world.render(scene)), wanted) for marks, scene in told.items()} == {marks: marks for marks in told}
