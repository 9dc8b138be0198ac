"""The panels of tiles and of the hires pass on the page, in Chromium."""
# ruff: noqa: F811  (fixtures of another file)
from __future__ import annotations

import pytest

from tests.test_editor import accordion, axe_finds, editor, plan_of  # noqa: F401
from tests.test_editor_amdm import fill
from tests.test_page import page  # noqa: F401


def panel(editor, words: str):
    found = editor.locator("details", has=editor.locator("summary", has_text=words)).first
    found.evaluate("details => { details.open = true; }")
    return found


def note(editor, words: str) -> None:
    editor.wait_for_function("words => document.querySelector('.mixdiff-note').innerText.includes(words)", arg=words)


def test_tiles(editor):
    fill(editor, {})
    tiles = panel(editor, "Tiles")
    assert not tiles.get_by_label("Width").is_visible()
    tiles.get_by_label("In tiles").check()
    assert plan_of(editor)["tiles"] == {}
    for label, value in (("Width", "64"), ("Height", "72"), ("Overlap", "16"), ("In one call", "2")):
        tiles.get_by_label(label).fill(value)
    tiles.locator("select[data-key=grid]").select_option("fixed")
    assert plan_of(editor)["tiles"] == {"width": 64, "height": 72, "overlap": 16, "batch": 2, "grid": "fixed"}
    note(editor, "U-Net calls")
    tiles.get_by_label("Overlap").fill("80")
    note(editor, "tiles.overlap")
    assert tiles.get_by_label("Overlap").get_attribute("aria-invalid") == "true"
    fill(editor, {"tiles": {"overlap": [8, 16]}})
    assert tiles.get_by_label("In tiles").is_checked() and not tiles.get_by_label("Overlap").is_visible()
    tiles.get_by_label("In tiles").uncheck()
    assert "tiles" not in plan_of(editor)


def test_the_hires_pass(editor):
    fill(editor, {"regions": [{"prompt": "a red circle"}]})
    hires = panel(editor, "Hires pass")
    kind, patch = hires.locator("select"), hires.locator("textarea")
    kind.select_option("plain")
    assert plan_of(editor)["hires"] is False and not patch.is_visible()
    kind.select_option("patch")
    assert "hires" not in plan_of(editor) and patch.is_visible()
    patch.fill('{"tiles": {"width": 64}, "regions": null}')
    assert plan_of(editor)["hires"] == {"tiles": {"width": 64}, "regions": None}
    patch.fill('{"tiles": ')
    note(editor, "not JSON")
    assert patch.get_attribute("aria-invalid") == "true"
    patch.fill('{"tiles": {"width": 1}}')
    note(editor, "hires.tiles.width")
    assert patch.get_attribute("aria-invalid") == "true"
    kind.select_option("same")
    assert "hires" not in plan_of(editor) and not patch.is_visible()
    fill(editor, {"hires": {"tiles": {}}})
    assert kind.input_value() == "patch" and patch.input_value()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(editor, theme):
    fill(editor, {"tiles": {}, "hires": {"tiles": {"width": 64}}, "regions": []})
    assert axe_finds(editor, theme) == []
