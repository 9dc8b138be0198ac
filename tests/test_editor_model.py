"""The model's panel on the page, in Chromium: experts on a bar whose borders are dragged, ensembles and their aggregators, marks."""
# ruff: noqa: F811  (fixtures of another file)
from __future__ import annotations

import re

import pytest

from tests.test_editor import accordion, axe_finds, editor, plan_of  # noqa: F401
from tests.test_editor_amdm import fill
from tests.test_page import page  # noqa: F401

STACK = {"model": {"experts": [{"model": "shapes-high", "range": {"unit": "timestep", "to": 500}}, {"model": "shapes-low", "range": {"unit": "timestep", "from": 500}}]}}


@pytest.fixture
def panel(editor):
    """Of the canvas's model; jobs of 20 steps."""
    if not {"shapes-high", "shapes-low"} <= {model["model_name"] for model in editor.host.get("/sdapi/v1/sd-models")}:
        pytest.skip("needs the checkpoints shapes-high and shapes-low")
    editor.locator("#txt2img_steps input[type=number]").fill("20")
    sampler = editor.locator("#txt2img_sampling input").first
    if sampler.input_value() != "Euler":
        sampler.fill("Euler")
        editor.locator("#txt2img_sampling ul.options li", has_text=re.compile(r"^\W*Euler\W*$")).click()
    return editor.locator("details", has=editor.locator("summary", has_text="Model: checkpoint")).first


def says(panel, words: str) -> None:
    panel.locator(".mixdiff-hint", has_text=words).wait_for()


def drag(page, border, share: float) -> None:
    """To this share of the bar's width."""
    bar, at = page.locator(".mixdiff-stack").first.bounding_box(), border.bounding_box()
    page.mouse.move(at["x"] + at["width"] / 2, at["y"] + at["height"] / 2)
    page.mouse.down()
    page.mouse.move(bar["x"] + share * bar["width"], at["y"], steps=4)
    page.mouse.up()


def test_a_border_is_dragged_and_moved_by_keys(editor, panel):
    fill(editor, STACK)
    says(panel, "1–10: shapes-high.safetensors")
    drag(editor, panel.get_by_role("slider"), 0.25)
    says(panel, "1–5: shapes-high.safetensors")
    high, low = plan_of(editor)["model"]["experts"]
    assert high["range"]["to"] == low["range"]["from"] > 700, "the unit stays"
    panel.get_by_role("slider").press("ArrowRight")
    says(panel, "1–6: shapes-high.safetensors")
    editor.locator(".mixdiff-editor").first.get_by_role("button", name="Undo").click()
    editor.locator(".mixdiff-editor").first.get_by_role("button", name="Undo").click()
    assert plan_of(editor)["model"] == STACK["model"], "a drag is one change"


@pytest.mark.parametrize("unit, middle", [("steps", 0.5), ("sigma", 1.0)])
def test_experts_are_added_in_every_unit(editor, panel, unit, middle):
    """Two switches, each of them where it was dragged."""
    fill(editor, {"model": {"experts": [{"model": "shapes-high", "range": {"unit": unit, "to": middle}}, {"range": {"unit": unit, "from": middle}}]}})
    says(panel, "shapes-high")
    panel.get_by_role("button", name="Give half").click()
    panel.get_by_role("slider").nth(1).wait_for()
    assert len(plan_of(editor)["model"]["experts"]) == 3
    panel.locator("fieldset").nth(2).get_by_label("Checkpoint").fill("shapes-low")
    drag(editor, panel.get_by_role("slider").nth(1), 0.9)
    drag(editor, panel.get_by_role("slider").nth(0), 0.1)
    panel.get_by_role("slider").nth(0).wait_for()
    found = editor.host.post("/mixdiff/v1/check", {"plan": plan_of(editor), "job": {"steps": 20, "sampler_name": "Euler"}})["cost"]["passes"][0]
    assert sorted(step["from"] for step in found["checkpoints"][0]["steps"]) == [1, 3, 19], found
    assert {step["unet"] and step["unet"].split(".")[0] for step in found["checkpoints"][0]["steps"]} == {"shapes-high", "shapes-low", None}


def test_a_model_is_chosen_by_kind(editor, panel):
    fill(editor, {})
    panel.evaluate("details => { details.open = true; }")
    kind = panel.locator("select[data-key=model]")
    for value, model in (("checkpoint", ""), ("experts", {"experts": [{"range": {"unit": "steps", "to": 0.5}}, {"range": {"unit": "steps", "from": 0.5}}]}),
                         ("afa", {"afa": {"models": ["", ""], "mode": "blocks"}})):
        kind.select_option(value)
        assert plan_of(editor)["model"] == model
    panel.locator("select[data-key=mode]").select_option("full")
    panel.get_by_label("Aggregator").fill("shapes-abc")
    panel.get_by_label("Checkpoint 3").wait_for()
    names = ["shapes-a", "shapes-b", "shapes-c"]
    assert plan_of(editor)["model"] == {"afa": {"models": names, "mode": "full", "aggregator": "shapes-abc"}}, "it knows its models"
    assert [panel.get_by_label(f"Checkpoint {i + 1}").input_value() for i in range(3)] == names
    panel.get_by_role("button", name="Take the last").click()
    editor.wait_for_function("document.querySelector('.mixdiff-note').innerText.includes('for 3 models, not for 2')")
    assert panel.get_by_label("Aggregator").get_attribute("aria-invalid") == "true"
    kind.select_option("loaded")
    assert "model" not in plan_of(editor)


def test_a_region_has_its_own(editor, panel):
    fill(editor, {"regions": [{"box": [0, 0, 0.5, 1], "prompt": "a red circle", **STACK}, {"box": [0.5, 0, 1, 1]}]})
    card = editor.locator(".mixdiff-list fieldset.mixdiff-panel").first
    card.locator("legend").first.click()
    says(card, "1–10: shapes-high.safetensors")
    card.locator("select[data-key=model]").select_option("checkpoint")
    card.locator("input[data-key=model]").fill("shapes-low")
    assert plan_of(editor)["regions"][0]["model"] == "shapes-low" and "model" not in plan_of(editor)


def test_a_region_that_is_selected_later_shows_its_bar_too(editor, panel):
    fill(editor, {"regions": [{"box": [0, 0, 0.5, 1], "prompt": "a red circle"}, {"box": [0.5, 0, 1, 1], **STACK}]})
    editor.wait_for_function("document.querySelector('.mixdiff-note').innerText.includes('U-Net calls')")
    card = editor.locator(".mixdiff-list fieldset.mixdiff-panel").nth(1)
    card.locator("legend").first.click()
    says(card, "1–10: shapes-high.safetensors")


def test_the_read_out_of_another_plan_is_not_shown(editor, panel):
    """While the plan is wrong there is none: a border would move other experts."""
    three = {"model": {"experts": [{"range": {"unit": "steps", "from": a, "to": b}} for a, b in ((0, 0.2), (0.2, 0.4), (0.4, 0.9))]}}
    regions = [{"box": [0, 0, 0.5, 1], "prompt": "a red circle", **STACK}, {"box": [0.5, 0, 1, 1], **three}]
    fill(editor, {"regions": regions})
    card = editor.locator(".mixdiff-list fieldset.mixdiff-panel").first
    card.locator("legend").first.click()
    says(card, "1–10: shapes-high")
    assert card.locator("legend").first.get_attribute("data-cost") == "50 %"
    fill(editor, {"regions": regions, "amdm": {"steps": 999, "models": [{}]}})
    editor.wait_for_function("document.querySelector('.mixdiff-note.error')?.innerText.includes('amdm.steps')")
    fill(editor, {"regions": regions[1:], "amdm": {"steps": 999, "models": [{}]}})
    card.locator("legend").first.click()
    assert not card.locator(".mixdiff-stack").is_visible() and not card.locator("legend").first.get_attribute("data-cost")


def test_a_mark_goes_when_what_was_wrong_is_right(editor, panel):
    overlap = {"model": {"experts": [{"range": {"unit": "steps", "to": 0.6}}, {"range": {"unit": "steps", "from": 0.5}}]}}
    for where in ({"regions": [{"box": [0, 0, 0.5, 1], **overlap}]}, {"amdm": {"models": [{"plan": overlap}]}}):
        fill(editor, where)
        editor.locator("fieldset.wrong fieldset.wrong").first.wait_for()
        fill(editor, {key: [{**value[0], "model": None}] if key == "regions" else {"models": [{"plan": STACK}]} for key, value in where.items()})
        editor.wait_for_function("document.querySelector('.mixdiff-note').innerText.includes('U-Net calls')")
        assert editor.locator(".wrong").count() == 0


@pytest.mark.parametrize("model", [{}, 5, [], {"experts": "abc"}, {"experts": [None]}, {"afa": {}}], ids=str)
@pytest.mark.parametrize("where", ["canvas", "region"])
def test_a_model_of_no_kind_is_the_servers_to_name(editor, panel, model, where):
    """What stands there while it is being typed."""
    fill(editor, {"model": model} if where == "canvas" else {"regions": [{"box": [0, 0, 0.5, 1], "model": model}]})
    editor.wait_for_function("document.querySelector('.mixdiff-note').innerText.includes('model')")
    fill(editor, {})
    editor.wait_for_function("!document.querySelector('.mixdiff-note').innerText")


def test_a_model_alone_enables_mixdiff(editor, panel):
    fill(editor, {})
    enabled = editor.locator("[id$=mixdiff_enabled] input").first
    enabled.uncheck()
    panel.evaluate("details => { details.open = true; }")
    panel.locator("select[data-key=model]").select_option("afa")
    assert enabled.is_checked()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(editor, panel, theme):
    fill(editor, STACK)
    says(panel, "1–10")
    assert axe_finds(editor, theme) == []
