"""AMDM on the page, in Chromium: a card for each model beside the canvas's own, its plan as JSON, marks, and the cost in words."""
# ruff: noqa: F811  (fixtures of another file)
from __future__ import annotations

import json

import pytest

from lib_mixdiff.plan import Plan, schema
from tests.test_editor import accordion, axe_finds, editor, plan_of  # noqa: F401
from tests.test_page import page, write  # noqa: F401

CHECK = "**/mixdiff/v1/check"
LEFT = {"box": [0, 0, 0.5, 1], "prompt": "a red circle"}


@pytest.fixture
def panel(editor):
    """The AMDM part of the accordion."""
    yield editor.locator("details", has=editor.locator("summary", has_text="AMDM")).first
    editor.unroute(CHECK)


def fill(page, plan: dict) -> None:
    page.locator("[id$=mixdiff_plan] textarea").first.fill(json.dumps(plan))


def answered(page, status: int = 200, **answer) -> None:
    """What the server says of every plan from now on."""
    page.route(CHECK, lambda route: route.fulfill(status=status, json=answer))


def invalid(panel) -> list[str]:
    return [field.get_attribute("data-key") for field in panel.locator("[aria-invalid=true]").all()]


def model(panel, index: int = 0):
    return panel.locator("fieldset").nth(index)


def own_plan(card):
    return card.get_by_label("Its regions, guides, paint and tiles (JSON)")


def test_models_are_added_filled_in_taken_back_and_removed(editor, panel):
    editor.locator("[id$=mixdiff_enabled] input").first.uncheck()
    panel.locator("summary").click()
    add = panel.get_by_role("button", name="Add a model")
    assert panel.get_by_label("Steps").count() == 1 and not panel.get_by_label("Steps").is_visible()
    add.click()
    assert plan_of(editor) == {"regions": [], "amdm": {"models": [{}]}} and editor.locator("[id$=mixdiff_enabled] input").first.is_checked()
    card = model(panel)
    assert card.get_by_label("Name").evaluate("field => field === document.activeElement")
    assert panel.get_by_label("Steps").get_attribute("placeholder") == "40 % of the steps"
    assert "40 %" in schema()["$defs"]["Amdm"]["properties"]["steps"]["description"]
    of_main = {"Steps": "8", "Main model's weight": "2", "Main model's eta": "0.1"}
    of_model = {"Name": "colours", "Prompt": "a cross", "Negative prompt": "a circle", "CFG Scale": "4.5", "Seed": "7", "Weight": "0.5", "Eta": "0", "Checkpoint": "shapes-b"}
    card.locator("select[data-key=model]").select_option("checkpoint")
    for fields, home in ((of_main, panel), (of_model, card)):
        for label, value in fields.items():
            home.get_by_label(label, exact=True).first.press_sequentially(value)
    panel.get_by_label("Mix").select_option("lerp")
    whole = {"steps": 8, "weight": 2, "eta": 0.1, "mix": "lerp", "models": [{"name": "colours", "prompt": "a cross", "negative_prompt": "a circle", "cfg_scale": 4.5,
                                                                             "seed": 7, "weight": 0.5, "eta": 0, "plan": {"model": "shapes-b"}}]}
    assert plan_of(editor)["amdm"] == whole and Plan.from_dict(plan_of(editor)).amdm
    assert "shapes-b.safetensors" in ",".join(card.locator("input[list]").evaluate("field => [...field.list.options].map((each) => each.value)"))
    editor.locator(".mixdiff-stage").first.focus()
    for keys in ("Control+z", "Control+z"):
        editor.keyboard.press(keys)
    assert plan_of(editor)["amdm"] == {**{key: whole[key] for key in ("steps", "weight", "eta")}, "models": [{**whole["models"][0], "plan": {"model": ""}}]}
    assert panel.get_by_label("Mix").input_value() == "slerp" and card.get_by_label("Checkpoint", exact=True).input_value() == ""
    for keys in ("Control+Shift+z", "Control+Shift+z"):
        editor.keyboard.press(keys)
    assert plan_of(editor)["amdm"] == whole
    for fields, home in ((of_main, panel), (of_model, card)):
        for label in fields:
            home.get_by_label(label, exact=True).first.fill("")
    panel.get_by_label("Mix").select_option("slerp")
    card.locator("select[data-key=model]").select_option("loaded")
    assert plan_of(editor)["amdm"] == {"models": [{}]}
    add.click()
    model(panel, 1).get_by_label("Name").fill("second")
    model(panel, 0).get_by_role("button", name="Remove this model").click()
    assert plan_of(editor)["amdm"] == {"models": [{"name": "second"}]} and card.get_by_label("Name").input_value() == "second"
    assert add.evaluate("button => button === document.activeElement")
    editor.keyboard.press("Control+z")
    assert len(plan_of(editor)["amdm"]["models"]) == 2
    for _ in range(2):
        card.get_by_role("button", name="Remove this model").click()
    assert plan_of(editor) == {"regions": []} and not panel.get_by_label("Steps").is_visible()
    assert panel.get_attribute("open") is not None and add.evaluate("button => button === document.activeElement"), "it goes on from there"


def test_a_plan_that_is_typed_is_seen_and_its_models_plans_are_edited_as_json(editor, panel):
    experts = {"experts": [{"model": "shapes-high", "range": {"unit": "steps", "to": 0.5}}]}
    panel.evaluate("details => { details.open = false; }")
    fill(editor, {"amdm": {"steps": 3, "models": [{"prompt": "a cross", "plan": {"regions": [LEFT]}}, {"plan": {"model": experts}}]}})
    steps = panel.get_by_label("Steps", exact=True)
    assert steps.is_visible() and steps.input_value() == "3"
    first, second = model(panel, 0), model(panel, 1)
    assert first.get_by_label("Prompt", exact=True).input_value() == "a cross" and json.loads(own_plan(first).input_value()) == {"regions": [LEFT]}
    assert [card.locator("select[data-key=model]").input_value() for card in (first, second)] == ["loaded", "experts"]
    assert json.loads(own_plan(second).input_value()) == {"model": experts}
    before = plan_of(editor)
    for bad in ("{", "3", '{"regions": [3]}'):
        own_plan(first).fill(bad)
        assert plan_of(editor) == before and invalid(panel) == ["plan"] and own_plan(first).input_value() == bad
    editor.wait_for_function("document.querySelector('.mixdiff-note').innerText.includes('not JSON')")
    own_plan(first).fill('{"tiles":  {}}')
    assert plan_of(editor)["amdm"]["models"][0] == {"prompt": "a cross", "plan": {"tiles": {}}} and invalid(panel) == []
    assert own_plan(first).input_value() == '{"tiles":  {}}', "as it is being typed"
    own_plan(first).fill("")
    assert plan_of(editor)["amdm"]["models"] == [{"prompt": "a cross"}, {"plan": {"model": experts}}]
    for bad in ({"amdm": 3}, {"amdm": {"models": [3]}}, {"amdm": {"models": [{"plan": []}]}}, {"amdm": {"models": [{"plan": {"regions": 3}}]}}):
        fill(editor, bad)
        editor.wait_for_function("document.querySelector('.mixdiff-note.error')?.innerText.includes('an object')")
        fill(editor, {})
    assert panel.locator("fieldset").count() == 0


def test_a_model_takes_what_the_canvas_has_or_comes_to_the_canvas(editor, panel):
    drawn = {"model": "shapes-a", "base": {"share": 0.1}, "tiles": {}, "regions": [LEFT]}
    fill(editor, {**drawn, "canvas": [256, 128], "guides": [], "hires": False, "amdm": {"models": [{"weight": 2}]}})
    card = model(panel)
    card.get_by_role("button", name="Put what the canvas has").click()
    assert plan_of(editor)["amdm"] == {"models": [{"weight": 2, "plan": drawn}]} and plan_of(editor)["regions"] == [LEFT]
    assert json.loads(own_plan(card).input_value()) == drawn and card.get_by_label("Checkpoint", exact=True).input_value() == "shapes-a"
    editor.locator(".mixdiff-box").first.focus()
    editor.keyboard.press("Delete")
    card.get_by_role("button", name="Put this model's plan on the canvas").click()
    assert plan_of(editor) == {**drawn, "canvas": [256, 128], "hires": False,
                               "amdm": {"models": [{"weight": 2, "plan": {key: drawn[key] for key in ("model", "base", "tiles")}}]}}
    assert editor.locator(".mixdiff-box").count() == 1
    editor.keyboard.press("Control+z")
    assert plan_of(editor)["amdm"]["models"][0]["plan"] == drawn and plan_of(editor)["regions"] == []
    card.get_by_label("Prompt", exact=True).evaluate("area => { area.value = 'red cross'; area.focus(); area.select(); }")
    editor.wait_for_timeout(50)
    assert editor.evaluate("document.querySelector('.mixdiff-editor').mixdiff.words.chosen") != "red cross", "the canvas paints words of its own prompts"


@pytest.mark.parametrize("field, wrong, keys", [
    ("amdm.steps", 0, ["steps"]), ("amdm.models", 0, []), ("amdm.models[0].prompt", 1, ["prompt"]), ("amdm.models[1]", 1, []),
    ("amdm.models[1].plan.regions[0].box", 1, ["plan"]), ("amdm.models[1].plan.model", 1, ["model", "plan"]), ("regions[0].weight", 0, [])])
def test_the_servers_word_marks_the_model_and_its_field(editor, panel, field, wrong, keys):
    answered(editor, 422, errors=f"{field}: no", field=field)
    fill(editor, {"regions": [LEFT], "amdm": {"models": [{}, {"plan": {"regions": [LEFT]}}]}})
    editor.wait_for_function("text => document.querySelector('.mixdiff-note').innerText === text", arg=f"{field}: no")
    assert invalid(panel) == keys and panel.locator("fieldset.wrong").count() == wrong
    if wrong:
        assert "wrong" in model(panel, int("[1]" in field)).get_attribute("class")


def test_the_cost_is_said_without_a_layer_too(editor, panel):
    note = "document.querySelector('.mixdiff-note').innerText"
    fill(editor, {"tiles": {"width": 64, "height": 64}})
    editor.wait_for_function(f"{note}.includes('times the work of the plain job.')")
    fill(editor, {})
    editor.wait_for_function(f"{note} === ''")
    passes = [{"amdm": {"models": 2, "steps": 8}, "shares": {"base": 0.6, "amdm": 0.4, "amdm.models[0]": 0.4}}, {"amdm": {"models": 3, "steps": 1}, "shares": {}}]
    answered(editor, plan={}, tokens=[], cost={"calls": 28, "work": 1.4, "memory": 1, "passes": passes})
    fill(editor, {"amdm": {"models": [{}]}})
    said = "28 U-Net calls, 1.40 times the work of the plain job. AMDM: 2 models in the first 8 steps. AMDM: 3 models in the first step of the hires pass."
    editor.wait_for_function(f"text => {note} === text", arg=said)
    assert panel.locator("summary").inner_text().endswith("40 %") and model(panel).locator("legend").get_attribute("data-cost") == "40 %"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(editor, panel, theme):
    answered(editor, 422, errors="amdm.models[0].prompt: no", field="amdm.models[0].prompt")
    fill(editor, {"amdm": {"models": [{"prompt": "a cross"}, {"plan": {"regions": [LEFT]}}]}})
    panel.locator("fieldset.wrong").wait_for()
    own_plan(model(panel, 1)).fill("{")
    assert axe_finds(editor, theme) == []


def test_after_all_that_there_was_no_error(page):
    assert page.problems == []
