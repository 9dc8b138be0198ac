"""The page in Chromium: a plan typed into the accordion makes its picture, and what is wrong with one is shown."""
from __future__ import annotations

import json
import os
import shutil

import pytest

from minihost.client import served

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]
PLAN = {"regions": [{"box": [0, 0, 0.5, 1], "prompt": "a blue cross on a gray background"},
                    {"box": [0.5, 0, 1, 1], "prompt": "a red square on a gray background"}]}


@pytest.fixture(scope="module")
def page():
    if CHROMIUM is None:
        if os.environ.get("MIXDIFF_CHROMIUM_REQUIRED"):
            pytest.fail("page tests need Chromium, and none was found")
        pytest.skip("page tests need Chromium (Debian's package chromium), and none was found")
    from playwright.sync_api import sync_playwright
    with served() as host, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page(viewport={"width": 1280, "height": 1100})
        page.problems = []
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("request", lambda request: request.url.startswith((host.url, "data:", "blob:")) or page.problems.append(request.url))
        page.goto(host.url)
        page.wait_for_selector("#txt2img_generate")
        page.host = host
        yield page
        browser.close()


def write(page, elem_id: str, text: str) -> None:
    page.locator(f"#{elem_id} textarea, #{elem_id} input[type=number]").first.fill(text)


def generate(page) -> None:
    page.locator("#txt2img_generate").click()
    page.wait_for_timeout(300)
    page.wait_for_function("!document.querySelector('#txt2img_results .generating, #txt2img_results .pending, #txt2img_results .eta-bar')")


def infotext(page) -> str:
    return page.locator("#html_info_txt2img textarea").input_value()


def test_a_plan_in_the_accordion_is_generated(page):
    write(page, "txt2img_prompt", "a red circle on a gray background")
    write(page, "txt2img_seed", "7")
    write(page, "txt2img_steps", "2")
    generate(page)
    page.wait_for_function("document.querySelector('#html_info_txt2img textarea').value.includes('Seed: 7')")
    assert "mixdiff" not in infotext(page)
    page.get_by_text("mixdiff", exact=True).first.click()
    plan, enabled = page.locator("[id$=mixdiff_plan] textarea"), page.locator("[id$=mixdiff_enabled] input")
    plan.wait_for(state="visible")
    plan.fill(json.dumps(PLAN))
    enabled.check()
    generate(page)
    page.wait_for_function("document.querySelector('#html_info_txt2img textarea').value.includes('mixdiff')")
    assert "a blue cross on a gray background" in infotext(page)
    assert page.locator("#txt2img_gallery img").first.is_visible()


def test_a_bad_plan_is_named_on_the_page_and_the_next_job_runs(page):
    plan = page.locator("[id$=mixdiff_plan] textarea")
    plan.fill('{"regions": [{"weight": -1}]}')
    generate(page)
    page.wait_for_function("document.querySelector('#html_log_txt2img').innerText.includes('regions[0].weight')")
    plan.fill("{}")
    generate(page)
    page.wait_for_function("document.querySelector('#html_info_txt2img textarea').value.includes('Seed: 7')")
    assert "mixdiff" not in infotext(page)


def test_the_page_asks_nothing_of_the_internet_and_has_no_error(page):
    assert page.problems == []


# --- the editor ---

def plan_of(page) -> dict:
    return json.loads(page.locator("[id$=mixdiff_plan] textarea").first.input_value())


def dragged(page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Between two places in fractions of the canvas."""
    stage = page.locator(".mixdiff-stage").first
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    (x0, y0), (x1, y1) = ((box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end))
    page.mouse.move(x0, y0)
    page.mouse.down()
    page.mouse.move(x1, y1, steps=4)
    page.mouse.up()


@pytest.fixture
def editor(page):
    page.locator("[id$=mixdiff_plan] textarea").first.fill("")
    page.locator(".mixdiff-stage").first.wait_for(state="visible")
    return page


def test_a_region_is_drawn_moved_sized_and_taken_back(editor):
    dragged(editor, (0.26, 0.13), (0.51, 0.5))
    assert plan_of(editor) == {"regions": [{"box": [0.25, 0.125, 0.5, 0.5]}]}, "on the grid of cells: 16 of 128 px"
    assert editor.locator("[id$=mixdiff_enabled] input").first.is_checked()
    dragged(editor, (0.4, 0.3), (0.65, 0.3))
    assert plan_of(editor)["regions"][0]["box"] == [0.5, 0.125, 0.75, 0.5]
    dragged(editor, (0.75, 0.5), (0.99, 0.9))
    assert plan_of(editor)["regions"][0]["box"] == [0.5, 0.125, 1, 0.875]
    dragged(editor, (0.7, 0.3), (0.2, -0.5))
    assert plan_of(editor)["regions"][0]["box"] == [0, 0, 0.5, 0.75], "it stays on the canvas"
    for key, box in (("ArrowRight", [0.0625, 0, 0.5625, 0.75]), ("Shift+ArrowDown", [0.0625, 0, 0.5625, 0.8125])):
        editor.keyboard.press(key)
        assert plan_of(editor)["regions"][0]["box"] == box
    editor.keyboard.press("Control+d")
    assert len(plan_of(editor)["regions"]) == 2
    editor.keyboard.press("Delete")
    editor.keyboard.press("Control+z")
    assert len(plan_of(editor)["regions"]) == 2
    for _ in range(6):
        editor.keyboard.press("Control+z")
    assert plan_of(editor) == {"regions": [{"box": [0.25, 0.125, 0.5, 0.5]}]}
    editor.keyboard.press("Control+Shift+z")
    assert plan_of(editor)["regions"][0]["box"] == [0.5, 0.125, 0.75, 0.5]


def test_a_template_and_three_prompts_are_three_objects_in_place(editor):
    editor.locator(".mixdiff-template").first.select_option("four quadrants")
    boxes = [region["box"] for region in plan_of(editor)["regions"]]
    assert boxes[0] == [0, 0, 0.5625, 0.5625] and boxes[3] == [0.4375, 0.4375, 1, 1]
    for i, name in enumerate(("red circle", "blue square", "yellow cross", "white circle")):
        editor.locator(".mixdiff-panel textarea[data-key=prompt]").nth(i).fill(f"a {name} on a gray background")
    editor.locator(".mixdiff-panel").nth(1).locator("textarea").first.focus()
    editor.locator(".mixdiff-panel").nth(1).locator("[data-key=weight]").fill("2.5")
    plan = plan_of(editor)
    assert [r["prompt"] for r in plan["regions"]][2] == "a yellow cross on a gray background" and plan["regions"][1]["weight"] == 2.5
    editor.wait_for_function("document.querySelector('.mixdiff-note').innerText.includes('U-Net calls')")
    generate(editor)
    editor.wait_for_function("document.querySelector('#html_info_txt2img textarea').value.includes('white circle')")


def test_the_editor_shows_what_is_typed_below_and_says_what_is_wrong(editor):
    text = editor.locator("[id$=mixdiff_plan] textarea").first
    text.fill('{"regions": [{"box": [0, 0, 0.5, 1], "prompt": "left", "unheard": 1}, {"prompt": "over all"}], "base": {"share": 0.1}}')
    assert [label.inner_text() for label in editor.locator(".mixdiff-label").all()] == ["1 left", "2 over all"]
    editor.wait_for_function("document.querySelector('.mixdiff-note').innerText.includes('regions[0].unheard')")
    text.fill("{")
    editor.wait_for_function("document.querySelector('.mixdiff-note').innerText.includes('not JSON')")
    text.fill('{"regions": [{"prompt": "<img src=x onerror=alert(1)>"}], "base": {"share": 0.1}}')
    assert editor.locator(".mixdiff-box img").count() == 0
    editor.locator(".mixdiff-box").first.focus()
    editor.keyboard.press("Delete")
    assert plan_of(editor) == {"regions": [], "base": {"share": 0.1}}, "what the editor does not know stays"


def test_what_was_pasted_is_what_is_edited(editor):
    """gradio writes into the text box without an event."""
    dragged(editor, (0.26, 0.13), (0.51, 0.5))
    editor.evaluate("""() => { document.querySelector('[id$=mixdiff_plan] textarea').value =
        '{"regions": [{"name": "pasted", "box": [0, 0, 0.5, 0.5]}, {"name": "two"}]}'; }""")
    editor.locator(".mixdiff-box").first.focus()
    editor.keyboard.press("ArrowRight")
    assert [r.get("name") for r in plan_of(editor)["regions"]] == ["pasted", "two"]
    assert plan_of(editor)["regions"][0]["box"] == [0.0625, 0, 0.5625, 0.5]


def test_the_canvas_has_the_jobs_shape(editor):
    def shape():
        box = editor.locator(".mixdiff-stage").first.bounding_box()
        return box["width"] / box["height"]

    assert shape() == pytest.approx(1, abs=0.02)
    write(editor, "txt2img_width", "256")
    editor.wait_for_function("Math.abs(document.querySelector('.mixdiff-stage').clientWidth / document.querySelector('.mixdiff-stage').clientHeight - 2) < .05")
    write(editor, "txt2img_width", "128")


def test_after_all_that_there_was_no_error(page):
    assert page.problems == []
