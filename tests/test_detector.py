"""Laws of the detector, its second opinion and the scores: what is drawn is found, and what is not drawn is not."""
from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bench import detector_check, second_opinion
from bench.detector import Detection, Found, detect
from bench.scores import has, has_only, one_background, placed, wilson
from minihost.shapes import world

SCENE = world.Scene(64, 64, "gray", (world.Thing("red", "circle", 17.3, 20.6, 10.0), world.Thing("blue", "cross", 46.1, 41.9, 12.0)))


def scene(index: int, count: int | None = None) -> world.Scene:
    rng = np.random.default_rng((3, index))
    (width, height), most = detector_check.SIZES[index % len(detector_check.SIZES)]
    return world.scene_at_random(rng, width, height, int(rng.integers(0, most + 1)) if count is None else count)


def with_first(**changes) -> np.ndarray:
    return world.render(dataclasses.replace(SCENE, things=(dataclasses.replace(SCENE.things[0], **changes), SCENE.things[1])))


def painted(inside: np.ndarray, color: str = "red", background: str = "gray") -> np.ndarray:
    return np.where(inside[..., None], world.COLORS[color], world.BACKGROUNDS[background]).astype(np.uint8)


def test_finds_what_is_drawn():
    for index in range(100):
        drawn = scene(index)
        found = detect(world.render(drawn))
        assert detector_check.same(detector_check.truth(drawn), (found.background, [(t.name, t.x, t.y) for t in found.things]), 1.0)
        assert found.background_share == 1.0
        assert has_only(found, [t.name for t in drawn.things])


@pytest.mark.parametrize("count", [0, None])
def test_both_methods_tell_the_truth_of_degraded_scenes(count):
    for index in range(8):
        drawn = scene(index, count)
        picture = detector_check.noisy(detector_check.blurred(world.render(drawn), None), np.random.default_rng(index))
        for method in detector_check.METHODS.values():
            assert detector_check.same(detector_check.truth(drawn), method(picture), detector_check.APART_PX)


def test_finds_nothing_where_nothing_is():
    for index in range(30):
        drawn = scene(index, 0)
        found = detect(world.render(drawn))
        assert found.things == () and one_background(found, drawn.background)


def test_a_wrong_picture_is_not_accepted():
    names = [t.name for t in SCENE.things]
    assert has(detect(world.render(SCENE)), names)
    for color in world.COLORS.keys() - {"red"}:
        assert not has(detect(with_first(color=color)), names)
    for shape in set(world.SHAPES) - {"circle"}:
        assert not has(detect(with_first(shape=shape)), names)
    mirrored = detect(world.render(SCENE)[:, ::-1].copy())
    assert has(mirrored, names) and not placed(mirrored, (0, 0, 0.5, 1), "red circle")
    assert not one_background(detect(world.render(SCENE)), "teal")


@pytest.mark.parametrize("radius", [9.0, 11.0, 13.0])
@pytest.mark.parametrize("other", ["ring", "bar", "diagonal", "half", "ellipse", "corner", "upside down", "star", "two colours"])
def test_what_is_no_shape_gets_no_name(other, radius):
    y, x = (np.mgrid[0:64, 0:64] - 31.5) / radius
    far = np.hypot(x, y)
    picture = painted({"ring": abs(far - 0.75) < 0.25, "bar": (abs(x) < 1.1) & (abs(y) < 0.4), "half": (far < 1) & (x > 0),
                       "diagonal": (abs(x - y) < 0.5) & (abs(x + y) < 2), "ellipse": np.hypot(x / 1.3, y * 1.3) < 1,
                       "corner": (abs(x) < 0.9) & (abs(y) < 0.9) & ~((x > 0) & (y < 0)),
                       "upside down": world.distance("triangle", x, -y, 1.0) < 0,
                       "star": far < 0.7 + 0.35 * np.cos(5 * np.arctan2(x, y)), "two colours": far < 1}[other])
    if other == "two colours":
        picture[:, 32:][(picture[:, 32:] == world.COLORS["red"]).all(-1)] = world.COLORS["blue"]
    found = detect(picture)
    assert found.things and not found.names and not has_only(found, [])


def test_between_circle_and_square_neither_method_decides():
    y, x = abs(np.mgrid[0:64, 0:64] - 31.5)
    powers = np.arange(2.5, 5.0, 0.2)           # of the superellipse: 2 is a circle, infinity a square
    told = [[method(painted(x**p + y**p < 13**p))[1] for p in powers] for method in detector_check.METHODS.values()]
    first, second = ([things[0][0] if things else None for things in of_method] for of_method in told)
    assert first[0] == second[0] == "red circle" and first[-1] == second[-1] == "red square"
    assert None in first and None in second


def test_a_speck_is_no_thing_but_not_background_either():
    picture = world.render(world.Scene(64, 64, "gray", ()))
    picture[30:37, 30:37] = world.COLORS["red"]
    found = detect(picture)
    assert found.things == () and found.background_share == 1 - 49 / 64**2


def test_a_color_between_two_gets_no_name():
    picture = world.render(SCENE)
    picture[(picture == world.COLORS["red"]).all(-1)] = (232, 88, 32)       # half red, half orange
    assert [(t.color, t.shape) for t in detect(picture).things if t.shape == "circle"] == [(None, "circle")]


def test_noise_is_no_thing():
    assert not detect(np.random.default_rng(4).integers(0, 256, (64, 64, 3), dtype=np.uint8)).names


def test_touching_things_of_two_colors_are_two():
    touching = world.Scene(64, 64, "teal", (world.Thing("yellow", "circle", 20, 32, 11.0), world.Thing("purple", "circle", 42, 32, 11.0)))
    assert detect(world.render(touching)).names == ["purple circle", "yellow circle"]


def test_a_second_background_is_no_thing_and_not_one_color():
    picture = world.render(SCENE)
    picture[:, 54:] = world.BACKGROUNDS["teal"]         # right of both things
    found = detect(picture)
    assert len(found.things) == 2 and found.background == "gray"
    assert found.background_share < 0.9 and not one_background(found)


def test_a_picture_without_a_background_of_the_world_says_so():
    found = detect(painted(np.ones((64, 64), bool)))
    assert found.background is None and found.things == () and not one_background(found)


def test_refuses_what_is_no_picture():
    with pytest.raises(ValueError, match="uint8"):
        detect(np.zeros((64, 64, 3), np.float32))


def test_the_check_can_fail():
    told = detector_check.truth(SCENE)
    (name, x, y), second = told[1]
    assert detector_check.same(told, ("gray", [second, (name, x + 1, y)]), 2.0)
    for wrong in [("teal", told[1]), ("gray", [second]), ("gray", [*told[1], second]), ("gray", [(name, x + 3, y), second]),
                  ("gray", [("red square", x, y), second]), ("gray", [second, second]), ("gray", [(None, x, y), second])]:
        assert not detector_check.same(told, wrong, 2.0) and not detector_check.same(wrong, told, 2.0)
    assert second_opinion.look(with_first(color="green")) != second_opinion.look(world.render(SCENE))


def test_a_verdict_counts_what_the_prompt_names():
    prompt = world.caption(SCENE)
    assert detector_check.shows(detector_check.truth(SCENE), prompt) and detector_check.shows((None, []), "a gray background")
    for names in ([], ["red circle"], ["red circle", None], ["red circle", "red cross"]):
        assert not detector_check.shows(("gray", [(name, 1.0, 1.0) for name in names]), prompt)


def detection(*names: str | None) -> Detection:
    things = (Found(*(n.split() if n else ("red", None)), 16.0, 48.0, (6, 38, 26, 58), 300, 0.9) for n in names)
    return Detection(64, 64, "gray", 1.0, tuple(things))


def test_has_counts():
    assert has(detection(), []) and not has(detection(), ["red circle"])
    assert has(detection("red circle", "blue square"), ["red circle"])
    assert not has(detection("red circle"), ["red circle", "red circle"])
    assert has(detection("red circle", "red circle"), ["red circle", "red circle"])
    assert not has(detection("red square", "blue circle"), ["red circle", "blue square"])
    assert has(detection(None), []) and not has_only(detection(None), [])
    assert not has_only(detection("red circle", "blue square"), ["red circle"])


def test_placed_wants_name_and_place():
    one = detection("red circle")
    assert placed(one, (0, 0.5, 0.5, 1), "red circle") and not placed(one, (0, 0.5, 0.5, 1), "red square")
    assert not placed(one, (0, 0, 0.5, 0.5), "red circle")
    assert placed(one, (0.25, 0.75, 1, 1), "red circle") and not placed(one, (0, 0, 0.25, 1), "red circle")     # half-open
    with pytest.raises(ValueError, match="x0 < x1"):
        placed(one, (0.5, 0, 0.5, 1), "red circle")


def test_one_background_wants_nearly_all():
    assert one_background(detection()) and one_background(detection(), "gray") and not one_background(detection(), "pink")
    assert not one_background(dataclasses.replace(detection(), background_share=0.9))
    assert not one_background(dataclasses.replace(detection(), background=None))


def test_wilson():
    assert wilson(0, 0) == (0.0, 1.0)
    low, high = wilson(81, 263)         # Newcombe 1998, Statistics in Medicine 17, Table I: 0.2553 to 0.3662
    assert low == pytest.approx(0.2553, abs=5e-5) and high == pytest.approx(0.3662, abs=5e-5)
    assert wilson(0, 20)[0] == 0.0 and wilson(0, 20)[1] == pytest.approx(0.1611, abs=5e-5)
    assert wilson(20, 20) == pytest.approx((1 - wilson(0, 20)[1], 1.0))
    with pytest.raises(ValueError, match="successes"):
        wilson(3, 2)
