"""Paint with words on the canvas, in Chromium: words selected in a prompt, painted, underlined, moved and taken back."""
# ruff: noqa: F811  (fixtures of another file)
from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from bench import first_use
from bench.browser import open_accordion
from bench.detector import detect
from bench.scores import placed
from lib_mixdiff.plan import Plan
from tests.test_editor import accordion, axe_finds, changed, dragged, editor, painter, plan_of, stored  # noqa: F401
from tests.test_masks import painted
from tests.test_page import page, write  # noqa: F401

PROMPT = "a red circle and a blue square on a gray background"
PAINT = "Paint where the selected words belong (P)"


def phrases(page) -> list[dict]:
    text = page.locator("[id$=mixdiff_plan] textarea").first.input_value()
    return json.loads(text or "{}").get("paint", {}).get("phrases", [])


def mask(page, index: int = 0) -> np.ndarray:
    return stored(page, phrases(page)[index]["mask"])


def select(page, words: str, within: str = "#txt2img_prompt textarea") -> None:
    """As by the pointer or with Shift and the arrows."""
    page.locator(within).first.evaluate("""(area, words) => {
        const start = area.value.indexOf(words);
        area.focus();
        area.setSelectionRange(start, start + words.length);
    }""", words)
    page.wait_for_function("words => document.querySelector('.mixdiff-editor').mixdiff.words.area?.value.includes(words)", arg=words)
    page.wait_for_timeout(50)


def note_has(page, text: str) -> None:
    page.wait_for_function("text => document.querySelector('.mixdiff-note').innerText.includes(text)", arg=text)


def press(page, text: str = "belongs.") -> None:
    """The button, until the note says this."""
    page.get_by_role("button", name=PAINT).first.click()
    note_has(page, text)


def paint(page, words: str, start: tuple[float, float], end: tuple[float, float]) -> None:
    select(page, words)
    press(page, f'"{words}"')
    changed(page, lambda: dragged(page, start, end))


def underlined(page, title: str = "Prompt") -> list[tuple[str, str]]:
    """The words that are underlined in a text of the panel, and the phrase that each names."""
    text = page.locator(".mixdiff-text", has=page.locator(f"b:text-is('{title}')")).first
    return [(word.inner_text(), word.get_attribute("title")) for word in text.locator("u").all()]


def color(locator) -> str:
    return locator.evaluate("element => element.style.getPropertyValue('--color')")


@pytest.fixture
def words(painter):
    write(painter, "txt2img_prompt", PROMPT)
    yield painter
    write(painter, "txt2img_prompt", "")


def test_selected_words_are_painted_taken_up_again_and_taken_back(words):
    select(words, "red circle and")
    select(words, "red circle")
    press(words, 'Paint where "red circle" belongs.')
    assert phrases(words) == [] and words.locator(".mixdiff-text u.pending").inner_text() == "red circle"
    assert words.locator("button[aria-pressed=true]", has_text="Brush").count() == 1
    changed(words, lambda: dragged(words, (0.2, 0.5), (0.4, 0.5)))
    [phrase] = phrases(words)
    assert phrase["phrase"] == "red circle" and set(phrase) == {"phrase", "mask"} and plan_of(words)["regions"] == []
    assert mask(words).shape == (128, 128) and mask(words)[64, 40] == 1 and mask(words)[64, 90] == 0
    assert words.locator("[id$=mixdiff_enabled] input").first.is_checked()
    changed(words, lambda: dragged(words, (0.4, 0.5), (0.6, 0.5)))
    assert len(phrases(words)) == 1 and mask(words)[64, 75] == 1, "a further stroke goes on"
    paint(words, "blue square", (0.8, 0.8), (0.85, 0.85))
    assert [p["phrase"] for p in phrases(words)] == ["red circle", "blue square"] and mask(words, 1)[64, 40] == 0
    boxes = words.locator(".mixdiff-box.phrase")
    assert [label.inner_text() for label in words.locator(".mixdiff-label").all()] == ["1 red circle", "2 blue square"]
    assert color(boxes.nth(0)) != color(boxes.nth(1)) == color(words.locator(".mixdiff-text u").nth(1)) == color(words.locator(".mixdiff-panel").nth(1))
    select(words, "red circle")
    words.get_by_role("button", name=PAINT).first.click()
    words.wait_for_function("document.querySelector('.mixdiff-panel.selected legend').textContent === 'Phrase 1'")
    changed(words, lambda: dragged(words, (0.2, 0.1), (0.21, 0.1)))
    assert len(phrases(words)) == 2 and mask(words)[13, 26] == 1
    words.locator(".mixdiff-stage").first.focus()
    for _ in range(2):
        words.keyboard.press("Control+z")
    assert len(phrases(words)) == 1 and mask(words)[64, 75] == 1
    words.keyboard.press("Control+z")
    assert mask(words)[64, 75] == 0
    words.keyboard.press("Control+z")
    assert words.locator("[id$=mixdiff_plan] textarea").first.input_value() == ""


def test_a_first_stroke_that_is_taken_back_can_be_made_again(words):
    words.locator("[id$=mixdiff_plan] textarea").first.fill('{"regions": [{"box": [0, 0, 0.5, 1]}]}')
    paint(words, "red circle", (0.2, 0.5), (0.4, 0.5))
    words.keyboard.press("Control+z")
    assert "paint" not in plan_of(words)
    changed(words, lambda: dragged(words, (0.6, 0.5), (0.7, 0.5)))
    assert mask(words)[64, 83] == 1 and mask(words)[64, 40] == 0 and "mask" not in plan_of(words)["regions"][0]


@pytest.mark.parametrize("act", ["card", "delete", "text"])
def test_a_painted_phrase_that_goes_in_another_way_does_not_wait_again(words, act):
    paint(words, "red circle", (0.2, 0.5), (0.4, 0.5))
    if act == "card":
        words.locator(".mixdiff-panel [data-key=phrase]").fill("blue square")
    elif act == "delete":
        words.keyboard.press("Delete")
    else:
        words.locator("[id$=mixdiff_plan] textarea").first.fill('{"regions": []}')
    words.wait_for_timeout(800)
    assert "Paint where" not in words.locator(".mixdiff-note").first.inner_text() and words.locator(".mixdiff-text u.pending").count() == 0


def test_what_waits_for_its_first_stroke_is_dropped_by_escape_another_tool_or_another_layer(words):
    def gone() -> None:
        words.wait_for_function("!document.querySelector('.mixdiff-text u') && !document.querySelector('.mixdiff-note').innerText.includes('Paint where')")
        assert phrases(words) == []

    words.locator("[id$=mixdiff_plan] textarea").first.fill('{"regions": [{"box": [0, 0, 0.5, 1]}, {}]}')
    select(words, "red circle")
    press(words)
    words.evaluate("() => { window.told = 0; document.addEventListener('keydown', () => { window.told++; }, {once: true}); }")
    words.keyboard.press("Escape")
    gone()
    assert words.evaluate("window.told") == 0, "the page would interrupt its job"
    press(words)
    words.get_by_role("button", name="Erase from the selected region's mask (E)").click()
    gone()
    press(words)
    words.locator(".mixdiff-panel textarea").nth(1).focus()
    gone()
    words.locator("[id$=mixdiff_plan] textarea").first.fill("")
    dragged(words, (0.2, 0.5), (0.4, 0.5))
    words.wait_for_function("document.querySelector('[id$=mixdiff_plan] textarea').value.includes('mask')")
    assert phrases(words) == [] and len(plan_of(words)["regions"]) == 1


def test_without_words_it_is_said_what_to_do(words):
    words.locator("#txt2img_prompt textarea").evaluate("area => { area.focus(); area.setSelectionRange(2, 12); }")
    words.wait_for_timeout(100)
    words.locator("#txt2img_prompt textarea").evaluate("area => area.setSelectionRange(0, 0)")
    words.wait_for_timeout(100)
    press(words, "Select words in the prompt first")
    assert words.locator("[id$=mixdiff_plan] textarea").first.input_value() == ""


def test_words_of_a_regions_prompt_and_of_the_panel_and_by_keyboard(words):
    words.locator("[id$=mixdiff_plan] textarea").first.fill('{"regions": [{"box": [0, 0, 0.5, 1], "prompt": "a (tall:1.2)  tower, at night"}]}')
    select(words, "(tall:1.2)  tower,", ".mixdiff-panel textarea[data-key=prompt]")
    words.locator(".mixdiff-stage").first.focus()
    words.keyboard.press("p")
    note_has(words, '"tall tower"')
    assert underlined(words, "Region 1") == [("tall:1.2)  tower", "to be painted: tall tower")]
    words.keyboard.press("ArrowLeft")
    words.keyboard.down(" ")
    words.keyboard.press("ArrowUp")
    changed(words, lambda: words.keyboard.up(" "))
    assert phrases(words)[0]["phrase"] == "tall tower" and mask(words)[60, 56] == 1
    words.locator(".mixdiff-text").first.evaluate("""text => {
        const node = text.lastChild, start = node.data.indexOf("gray"), range = document.createRange();
        range.setStart(node, start);
        range.setEnd(node, start + 4);
        document.getSelection().removeAllRanges();
        document.getSelection().addRange(range);
    }""")
    words.wait_for_timeout(100)
    press(words, '"gray"')


def test_every_occurrence_is_underlined_whatever_stands_around_the_words(words):
    image = "data:image/png;base64," + painted(0, 0, 0.5, 1)
    plan = {"regions": [{"name": "left", "prompt": "RED CIRCLES, no circle"}, {"name": "right", "prompt": "a red circle, a cat"}, {"name": "none"}],
            "paint": {"phrases": [{"phrase": "red circle", "mask": image}, {"phrase": "cat", "mask": image, "in": ["right"]}]}}
    words.locator("[id$=mixdiff_plan] textarea").first.fill(json.dumps(plan))
    for text in ("a (red circle:1.2), b", "(red:1.1) circle", "[red] circle", "Red  Circle", "((red)\ncircle)", "[blue:red:0.5] circle"):
        write(words, "txt2img_prompt", f"{text}, a cat, a red circle")
        words.wait_for_function("text => document.querySelector('.mixdiff-text')?.textContent.includes(text)", arg=text)
        found = underlined(words)
        assert len(found) == 2 and all(title == "painted: red circle" for _, title in found), (text, found)
    write(words, "txt2img_prompt", "a category of red circles, a red, circle, bored circle, <img src=x>")
    words.wait_for_function("document.querySelector('.mixdiff-text').textContent.includes('category')")
    assert underlined(words) == [] and words.locator(".mixdiff-text img").count() == 0
    assert underlined(words, "Region 2") == [("red circle", "painted: red circle"), ("cat", "painted: cat")]
    assert words.locator(".mixdiff-text").count() == 2, "of regions only where phrases are"
    plan["paint"]["phrases"][1] = {"phrase": "circle", "mask": image}
    words.locator("[id$=mixdiff_plan] textarea").first.fill(json.dumps(plan))
    words.wait_for_function("document.querySelectorAll('.mixdiff-text').length === 3")
    assert underlined(words, "Region 2") == [("red ", "painted: red circle"), ("circle", "painted: circle")]


def test_a_pasted_phrase_is_moved_erased_and_deleted(words):
    plan = {"regions": [], "paint": {"strength": 0.5, "phrases": [{"phrase": "red circle", "mask": "data:image/png;base64," + painted(0, 0, 0.5, 0.5)}]}}
    words.locator("[id$=mixdiff_plan] textarea").first.fill(json.dumps(plan))
    box = words.locator(".mixdiff-box.phrase").first
    words.wait_for_function("document.querySelector('.mixdiff-box.phrase').style.width === '50%'")
    assert words.locator(".mixdiff-mask").count() == 1 and words.locator("details[open] > summary", has_text="Paint").count() == 1
    changed(words, lambda: dragged(words, (0.25, 0.25), (0.5, 0.25)))
    assert mask(words)[32, 64] == 1 and mask(words)[32, 16] == 0 and set(phrases(words)[0]) == {"phrase", "mask"}
    assert not words.locator(".mixdiff-box.phrase .mixdiff-handle").first.is_visible()
    changed(words, lambda: words.keyboard.press("ArrowDown"))
    assert mask(words)[68, 64] == 1 and mask(words)[4, 64] == 0
    before = plan_of(words)
    for key in ("Shift+ArrowDown", "Control+d"):
        words.keyboard.press(key)
    assert plan_of(words) == before and words.get_by_role("button", name="Duplicate what is selected (Ctrl+D)").is_disabled()
    words.keyboard.press("e")
    changed(words, lambda: dragged(words, (0.5, 0.3), (0.51, 0.3)))
    assert mask(words)[38, 64] < 0.01 and mask(words)[60, 90] == 1
    words.keyboard.press("v")
    box.focus()
    words.keyboard.press("Delete")
    assert plan_of(words) == {"regions": [], "paint": {"strength": 0.5}}
    words.keyboard.press("Control+z")
    assert len(phrases(words)) == 1


def test_the_fields_of_phrases_and_of_paint_are_the_schemas(words):
    image = "data:image/png;base64," + painted(0, 0, 0.5, 0.5)
    plan = {"regions": [{"name": "left", "box": [0, 0, 0.5, 1]}, {}], "paint": {"phrases": [{"phrase": "a", "mask": image, "in": ["base", "left"]}, {"phrase": "b", "mask": image}]}}
    words.locator("[id$=mixdiff_plan] textarea").first.fill(json.dumps(plan))
    card = words.locator(".mixdiff-panel").nth(2)
    card.get_by_label("Phrase", exact=True).fill("red circle")
    assert card.locator("[data-key=box], [data-key=name], [data-key=enabled]").count() == 0
    assert card.get_by_label("Strength").get_attribute("placeholder") == "1"
    assert card.get_by_label("Where").locator("option").all_inner_texts() == ["wherever it occurs", "the base", "left", "base, left"]
    card.get_by_label("Strength").fill("2")
    assert phrases(words)[0] == {"phrase": "red circle", "mask": image, "in": ["base", "left"], "strength": 2}, "several stay as they are"
    card.get_by_label("Where").select_option("left")
    assert phrases(words)[0]["in"] == ["left"]
    card.get_by_label("Where").select_option("wherever it occurs")
    assert "in" not in phrases(words)[0]
    words.get_by_role("button", name="Later in the list (Page down)").click()
    assert [p["phrase"] for p in phrases(words)] == ["b", "red circle"]
    paint = words.locator("details", has=words.locator("summary", has_text="Paint: where words belong"))
    assert paint.get_by_label("Strength").get_attribute("placeholder") == "0.2"
    paint.get_by_label("Strength").fill("0.8")
    paint.get_by_label("Scale").select_option("std")
    paint.get_by_label("Acts").select_option("steps")
    paint.get_by_label("To", exact=True).fill("0.5")
    assert {key: value for key, value in plan_of(words)["paint"].items() if key != "phrases"} == {"strength": 0.8, "scale": "std", "range": {"unit": "steps", "to": 0.5}}


@pytest.mark.parametrize("key", ["phrase", "mask", "strength", "in"])
def test_the_servers_word_marks_the_card_and_its_field(words, key):
    answer = {"errors": f"paint.phrases[1].{key}: no", "field": f"paint.phrases[1].{key}"}
    words.route("**/mixdiff/v1/check", lambda route: route.fulfill(status=422, content_type="application/json", body=json.dumps(answer)))
    image = "data:image/png;base64," + painted(0, 0, 0.5, 0.5)
    plan = {"regions": [{}], "paint": {"phrases": [{"phrase": "red", "mask": image}, {"phrase": "blue", "mask": image}]}}
    words.locator("[id$=mixdiff_plan] textarea").first.fill(json.dumps(plan))
    words.locator(".mixdiff-panel.wrong legend", has_text="Phrase 2").wait_for()
    words.locator(".mixdiff-panel").nth(2).locator("[data-key=phrase]").focus()
    assert [field.get_attribute("data-key") for field in words.locator("[aria-invalid=true]").all()] == ([] if key == "mask" else [key])
    words.unroute("**/mixdiff/v1/check")


def test_the_server_is_told_the_prompt(words):
    with words.expect_request("**/mixdiff/v1/check") as asked:
        write(words, "txt2img_prompt", "a white cross")
    job = asked.value.post_data_json["job"]
    assert job["prompt"] == "a white cross" and "hr_prompt" not in job


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(words, theme):
    image = "data:image/png;base64," + painted(0, 0, 0.5, 0.5)
    plan = {"regions": [{"prompt": f"red {i}"} for i in range(3)],
            "paint": {"range": {"unit": "steps"}, "phrases": [{"phrase": f"red {i}", "mask": image} for i in range(3)] + [{"phrase": "blue square", "mask": image, "in": ["base"]}]}}
    words.locator("[id$=mixdiff_plan] textarea").first.fill(json.dumps(plan))
    words.locator(".mixdiff-panel [data-key=phrase]").first.focus()
    write(words, "txt2img_prompt", f"{PROMPT}, " * 40)
    select(words, "red circle")
    words.get_by_role("button", name=PAINT).first.click()
    words.locator(".mixdiff-text u.pending").first.wait_for()
    assert axe_finds(words, theme) == []


def test_after_all_that_there_was_no_error(page):
    assert page.problems == []


def test_what_is_painted_stands_there_and_its_picture_brings_the_phrases_back(browser, tmp_path):
    page = first_use.fresh(browser)
    open_accordion(page)
    first_use.set_size_and_seed(page)
    write(page, "txt2img_prompt", PROMPT)
    for name, x in (("red circle", 0.25), ("blue square", 0.75)):
        paint(page, name, (x - 0.05, 0.5), (x + 0.05, 0.5))
    settings = page.locator("details", has=page.locator("summary", has_text="Paint: where words belong"))
    settings.get_by_label("Strength").fill("0.2")
    settings.get_by_label("Acts").select_option("steps")
    settings.get_by_label("To", exact=True).fill("0.3")
    note_has(page, "U-Net calls")
    plan = Plan.from_dict(plan_of(page))
    picture = first_use.generate(page, tmp_path)
    found = detect(np.asarray(Image.open(picture).convert("RGB")))
    assert placed(found, (0, 0, 0.5, 1), "red circle") and placed(found, (0.5, 0, 1, 1), "blue square"), found
    again = first_use.fresh(browser)
    first_use.drop(again, picture)
    assert Plan.from_dict(plan_of(again)) == plan
    again.locator(".mixdiff-label").nth(1).wait_for()       # the editor builds itself when the accordion opens
    assert [label.inner_text() for label in again.locator(".mixdiff-label").all()] == ["1 red circle", "2 blue square"]
