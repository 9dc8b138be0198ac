"""What only a genuine WebUI's page has, in Chromium: img2img, its keys, PNG info and "Send to"; MIXDIFF_WEBUI_URL names it."""
from __future__ import annotations

import io
import json
import os

import pytest
from PIL import Image, PngImagePlugin

from lib_mixdiff import chunk
from tests.test_page_travel import bundle, new_mask

URL = os.environ.get("MIXDIFF_WEBUI_URL")
PROMPT = "a red circle on a gray background"
pytestmark = pytest.mark.skipif(not URL, reason="this needs a WebUI with this extension at MIXDIFF_WEBUI_URL")


@pytest.fixture(scope="module")
def page(browser):
    page = browser.new_page(viewport={"width": 1600, "height": 1300})
    page.set_default_timeout(120_000)
    page.problems = []
    page.on("pageerror", lambda error: "/mixdiff/" in (error.stack or "") and page.problems.append(error.stack))        # the WebUI has its own
    page.on("response", lambda answer: answer.status >= 400 and "/mixdiff/" in answer.url and page.problems.append(answer.url))
    page.goto(URL, wait_until="domcontentloaded")
    page.wait_for_selector("#script_img2img_mixdiff_mixdiff .mixdiff-files", state="attached")
    return page


def show(page, tab: str) -> None:
    page.locator("#tabs > .tab-nav button").get_by_text(tab, exact=True).click()


def home(page, tab: str):
    """The accordion of this tab, open."""
    found = page.locator(f"#script_{tab}_mixdiff_mixdiff")
    if not found.locator(".mixdiff-stage").is_visible():
        found.locator(".label-wrap").first.click()
        found.locator(".mixdiff-stage").wait_for(state="visible")
    return found


def plan(page, tab: str):
    return page.locator(f"#script_{tab}_mixdiff_mixdiff_plan textarea")


def png(image: Image.Image) -> dict:
    file = io.BytesIO()
    image.save(file, "PNG")
    return {"name": "in.png", "mimeType": "image/png", "buffer": file.getvalue()}


def test_img2img_is_drawn_on_at_its_size_over_the_image_of_its_tab(page):
    def comes(width: int, height: int) -> None:
        """A region of all."""
        page.wait_for_function("""([width, height]) => {
            const home = document.querySelector("#script_img2img_mixdiff_mixdiff"), stage = home.querySelector(".mixdiff-stage");
            const [, , across, down] = [...home.querySelectorAll(".mixdiff-panel [data-key=box]")].map((field) => Number(field.value));
            return across === width && down === height && Math.abs(stage.clientWidth / stage.clientHeight - width / height) < .05;
        }""", arg=[width, height])

    show(page, "img2img")
    editor = home(page, "img2img")
    plan(page, "img2img").fill(json.dumps({"regions": [{"prompt": PROMPT}]}))
    for side, px in (("width", "256"), ("height", "128")):
        page.locator(f"#img2img_{side} input[type=number]").fill(px)
    comes(256, 128)
    page.locator("#img2img_res_switch_btn").click()
    comes(128, 256)
    editor.locator("select:has(option[value=input])").select_option("input")
    for tab, field, size in (("img2img", "img2img_image", (192, 128)), ("Inpaint", "img2maskimg", (128, 192))):
        page.locator("#mode_img2img > .tab-nav button").get_by_text(tab, exact=True).click()
        page.locator(f"#{field} input[type=file]").set_input_files(png(Image.new("RGB", size, "teal")))
        page.wait_for_function("width => document.querySelector('#script_img2img_mixdiff_mixdiff .mixdiff-backdrop').naturalWidth === width", arg=size[0])
    page.locator("#img2img_tabs_resize .tab-nav button").nth(1).click()
    page.locator("#img2img_scale input[type=number]").fill("1.5")
    comes(192, 288)
    page.locator("#img2img_tabs_resize .tab-nav button").nth(0).click()
    comes(128, 256)
    show(page, "txt2img")


def test_the_keys_for_emphasis_work_in_a_regions_prompt(page):
    editor = home(page, "txt2img")
    plan(page, "txt2img").fill(json.dumps({"regions": [{"prompt": PROMPT}]}))
    prompt = editor.locator(".mixdiff-panel textarea[data-key=prompt]").first
    prompt.click()
    prompt.evaluate("field => field.setSelectionRange(3, 3)")
    prompt.press("Control+ArrowUp")
    page.wait_for_function("document.querySelector('#script_txt2img_mixdiff_mixdiff_plan textarea').value.includes('a (red:1.1) circle')")


def test_png_info_folds_the_chunk_away_and_sends_the_plan(page):
    (mask, data), file, texts = new_mask(), io.BytesIO(), PngImagePlugin.PngInfo()
    document = bundle(mask, data)
    texts.add_text("parameters", f"a cat\nSteps: 2, Sampler: Euler, CFG scale: 7, Seed: 7, mixdiff: {json.dumps(json.dumps(document['plan']))}")
    texts.add_text("mixdiff", chunk.packed(document))
    Image.new("RGB", (128, 128)).save(file, "PNG", pnginfo=texts)
    show(page, "PNG Info")
    page.locator("#pnginfo_image input[type=file]").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": file.getvalue()})
    page.locator("#tab_pnginfo details.mixdiff-chunk summary").wait_for(state="visible")
    assert not page.get_by_text(chunk.packed(document)).is_visible()
    page.wait_for_load_state("networkidle")
    for tab in ("img2img", "txt2img"):
        show(page, "PNG Info")
        page.locator(f"#tab_pnginfo #{tab}_tab").click()
        page.wait_for_function("([tab, mask]) => document.querySelector(`#script_${tab}_mixdiff_mixdiff_plan textarea`).value.includes(mask)",
                               arg=[tab, mask])
        assert page.locator(f"#script_{tab}_mixdiff_mixdiff_enabled input").is_checked()
    home(page, "txt2img").locator(".mixdiff-mask").wait_for(state="attached")
    page.wait_for_load_state("networkidle")


def test_reload_ui_doubles_nothing(page, browser):
    def regions() -> bytes:
        answer = browser.host.txt2img({"regions": [{"prompt": PROMPT}]}, prompt="a gray background", width=64, height=64, steps=2, seed=3)
        assert answer.status == 200, answer.error
        return answer.pictures[0].tobytes()

    before = regions()
    show(page, "Settings")
    with page.expect_navigation(timeout=300_000):
        page.locator("#settings_restart_gradio").click()
    page.wait_for_selector("#script_txt2img_mixdiff_mixdiff .mixdiff-files", state="attached")
    for tab in ("img2img", "txt2img"):
        show(page, tab)
        assert home(page, tab).locator(".mixdiff-stage").count() == home(page, tab).locator(".mixdiff-files").count() == 1
    assert regions() == before
    assert page.locator("#tabs > .tab-nav button", has_text="AFA").count() == page.locator(".mixdiff-training progress").count() == 1
    plot = next(script for script in browser.host.get("/sdapi/v1/script-info") if script["name"] == "x/y/z plot")
    assert len([label for label in plot["args"][0]["choices"] if label == "[mixdiff] regions[N].prompt"]) == 1
    plan(page, "txt2img").fill(json.dumps({"regions": [{"prompt": PROMPT}]}))
    home(page, "txt2img").locator(".mixdiff-panel").first.wait_for(state="visible")


def test_all_that_was_without_an_error_of_ours(page):
    assert page.problems == []
