"""What becomes of a plan's prompts before they are said: styles, once, and lines for wildcards."""
from __future__ import annotations

from itertools import permutations
from random import Random

import pytest

from lib_mixdiff.errors import PlanError
from lib_mixdiff.styles import styled
from lib_mixdiff.wildcards import chosen, files

STYLES = ["watercolour", "a painting of {prompt}", "{prompt}, {prompt} again", " film grain ", "", "({prompt})", "x {prompt} and {prompt}"]
PROMPTS = ["a red circle", "", "watercolour", "a painting of a house, watercolour, film", " a circle ", "x, a x and a x", "{prompt}"]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_styles_come_once(prompt):
    """A prompt that a picture brings back has them already."""
    for count in range(4):
        for styles in permutations(STYLES, count):
            once = styled(prompt, styles)
            assert styled(once, styles) == once, styles


def test_styles_stand_where_the_webui_puts_them():
    assert styled("a cat", ["watercolour", "best, {prompt}, end"]) == "best, a cat, watercolour, end"
    assert styled("", ["watercolour"]) == "watercolour" and styled("a cat", []) == "a cat"


@pytest.fixture
def among(tmp_path):
    for name, text in {"colour.txt": "\ufeff# warm first\nred\n\n  blue  \n", "deep/shape.txt": "circle\n__deep/colour__ square", "deep/colour.txt": "green",
                       "round.txt": "__round__ __round__ __round__", "many.txt": "__wide__ " * 40, "wide.txt": "__colour__ " * 40, "empty.txt": "#\n", "notes.md": "no"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return files([tmp_path, tmp_path / "deep", tmp_path / "nowhere"])


def test_a_wildcard_is_a_random_line_of_its_file(among):
    assert set(among) == {"colour", "deep/shape", "deep/colour", "round", "empty", "shape", "many", "wide"}, "the first folder's colour counts"
    seen = {chosen("a __colour__ __deep/shape__, __colour__", among, Random(seed)) for seed in range(200)}
    assert seen == {f"a {a} {shape}, {b}" for a in ("red", "blue") for b in ("red", "blue") for shape in ("circle", "green square")}
    assert chosen("a __colour__", among, Random(5)) == chosen("a __colour__", among, Random(5))
    for text in ("snake_case, __ and __ stay", "my__colour__name", "<lora:__colour__:1>", "<lora:my__colour__v2:1>"):
        assert chosen(text, among, Random(0)) == text
    assert chosen("(__colour__:1.2)", among, Random(0)) in ("(red:1.2)", "(blue:1.2)")


@pytest.mark.parametrize("text, said", [("__color__", "there is no wildcard .*use colour, deep/colour"), ("__../colour__", "there is no wildcard"),
                                        ("__empty__", "nothing in the file"), ("__round__", "has no end"), ("__many__", "has no end")])
def test_what_is_wrong_with_a_wildcard_is_said(among, text, said):
    with pytest.raises(PlanError, match=said):
        chosen(f"a {text}", among, Random(0))
