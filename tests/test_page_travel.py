"""The page in Chromium: a picture dropped on a fresh page brings its plan back, presets are kept, and what is left out is said."""
from __future__ import annotations

import base64
import hashlib
import io
import json
import uuid

import numpy as np
import pytest
import requests
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lib_mixdiff import chunk
from tests.test_editor import plan_of
from tests.test_masks import painted
from tests.test_page import generate, write

OTHER = "a blue square on a teal background"


@pytest.fixture
def fresh(browser):
    """Opens the page anew, with the accordion open."""
    problems, pages = [], []

    def fresh(opened: bool = True):
        page = browser.new_page(viewport={"width": 1280, "height": 1100})
        pages.append(page)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda said: said.type == "error" and "Failed to load resource" not in said.text and problems.append(said.text))
        page.goto(browser.host.url)
        page.wait_for_selector("#script_txt2img_mixdiff_mixdiff .mixdiff-files", state="attached")
        if opened:
            page.get_by_text("mixdiff", exact=True).first.click()
            page.locator(".mixdiff-files").first.wait_for(state="visible")
        return page

    yield fresh
    for page in pages:
        page.close()
    assert problems == []


def drop(page, file: bytes, name: str, at: str = "[id$=_mixdiff_mixdiff]") -> None:
    data = page.evaluate_handle("""([text, name]) => { const data = new DataTransfer();
        data.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name)); return data; }""", [base64.b64encode(file).decode(), name])
    for event in ("dragover", "drop"):
        page.locator(at).first.dispatch_event(event, {"dataTransfer": data})


def note(page):
    return page.locator(".mixdiff-told").first


def said(page, text: str) -> None:
    page.wait_for_function("text => document.querySelector('.mixdiff-told').innerText.includes(text)", arg=text)


def new_mask() -> tuple[str, bytes]:
    """One that the host has never seen, by its hash."""
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng().integers(1, 256, (16, 16), np.uint8)).save(file, "PNG")
    return "sha256:" + hashlib.sha256(file.getvalue()).hexdigest(), file.getvalue()


def bundle(mask: str, file: bytes) -> dict:
    return {"plan": {"regions": [{"mask": mask, "prompt": OTHER}]}, "images": {mask: base64.b64encode(file).decode()}}


def test_a_picture_of_the_page_dropped_on_a_fresh_page_is_the_same_plan_and_the_same_picture(fresh):
    def draw(page) -> bytes:
        for field, text in (("prompt", "a red circle on a gray background"), ("seed", "7"), ("steps", "2")):
            write(page, f"txt2img_{field}", text)
        generate(page)
        page.wait_for_function("""() => { const info = document.querySelector("#html_info_txt2img");
            return (info.querySelector("textarea")?.value ?? info.innerText).includes("mixdiff"); }""")
        image = page.locator("#txt2img_gallery img").first
        image.wait_for(state="visible")
        return requests.get(image.evaluate("image => image.src"), timeout=30).content

    page, mask = fresh(), painted(0, 0, 0.5, 1)
    page.locator("[id$=mixdiff_plan] textarea").first.fill(json.dumps({"regions": [{"mask": mask, "prompt": OTHER, "seed": 5}, {"box": [0.5, 0, 1, 1]}]}))
    page.locator("[id$=mixdiff_enabled] input").first.check()
    first = draw(page)
    again = fresh(opened=False)
    drop(again, first, "00001.png")
    said(again, "The plan of 00001.png.")
    assert again.locator("[id$=_mixdiff_mixdiff] .mixdiff-files").first.is_visible(), "it opens"
    name = "sha256:" + hashlib.sha256(base64.b64decode(mask)).hexdigest()
    assert plan_of(again) == {"v": 1, "regions": [{"mask": name, "prompt": OTHER, "seed": 5}, {"box": [0.5, 0, 1, 1]}]}
    assert again.locator("[id$=mixdiff_enabled] input").first.is_checked()
    assert draw(again) == first, "byte for byte"


def test_a_foreign_plan_says_what_it_left_out(fresh):
    page = fresh()
    foreign = {"v": 2, "<img src=x onerror=alert(1)>": 1, "regions": [{"prompt": "a"}, {"box": "left"}]}
    drop(page, json.dumps(foreign).encode(), "old.json")
    said(page, "Left out")
    assert plan_of(page) == {"v": 1, "regions": [{"prompt": "a"}]}
    assert note(page).locator("li").count() == 3 and "regions[1].box" in note(page).inner_text() and note(page).locator("img").count() == 0
    drop(page, b'{"workflow": {}}', "other.json")
    said(page, "Nothing of other.json was understood")
    drop(page, b"no plan", "notes.txt")
    said(page, "there is no plan in these 7 bytes")
    assert plan_of(page) == {"v": 1, "regions": [{"prompt": "a"}]}, "what was there stays"


def test_the_canvas_keeps_its_own_drops(fresh):
    page = fresh()
    drop(page, b'{"regions": [{"prompt": "a"}]}', "a.json", at=".mixdiff-stage")
    assert note(page).inner_text() == "", "it would say that it reads"
    drop(page, b'{"regions": [{"prompt": "b"}]}', "b.json", at=".mixdiff-files")
    said(page, "The plan of b.json.")
    assert plan_of(page)["regions"] == [{"prompt": "b"}]


def test_a_picture_on_the_canvas_is_a_guide_and_its_plan_is_offered(fresh):
    page, file, about = fresh(), io.BytesIO(), PngInfo()
    about.add_text("parameters", "a cat\nSteps: 3, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 64x64")
    about.add_text("mixdiff", chunk.packed(bundle(*new_mask())))
    Image.new("RGB", (64, 64)).save(file, "PNG", pnginfo=about)
    drop(page, file.getvalue(), "a.png", at=".mixdiff-stage")
    said(page, "a.png is a guide now")
    assert len(plan_of(page)["guides"]) == 1
    note(page).get_by_role("button").click()
    said(page, "The plan of a.png.")
    assert "guides" not in plan_of(page) and plan_of(page)["regions"][0]["prompt"] == OTHER


def test_a_file_is_chosen_by_the_button_and_taken_back(fresh):
    page = fresh()
    page.locator("[id$=mixdiff_plan] textarea").first.fill('{"regions": [{"prompt": "before"}]}')
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Read a picture or plan…").click()
    chooser.value.set_files({"name": "bundle.json", "mimeType": "application/json", "buffer": json.dumps(bundle(*new_mask())).encode()})
    said(page, "The plan of bundle.json.")
    assert plan_of(page)["regions"][0]["prompt"] == OTHER
    page.evaluate("() => { const editor = document.querySelector('.mixdiff-editor').mixdiff; editor.undo(editor.past, editor.future); }")
    assert plan_of(page)["regions"] == [{"prompt": "before"}]


def test_a_pasted_infotext_says_what_is_not_here(fresh):
    page, (mask, file) = fresh(opened=False), new_mask()

    def paste(plan: object) -> None:
        write(page, "txt2img_prompt", f"a cat\nSteps: 3, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 64x64, mixdiff: {json.dumps(json.dumps(plan))}")
        page.locator("#paste").first.click()

    pasted = page.locator("[id$=mixdiff_left_out] li")
    paste({"glow": 1, "regions": [{"mask": mask}]})
    pasted.first.wait_for(state="visible")
    assert [sentence.split(": ")[0] for sentence in pasted.all_inner_texts()] == ["glow", "regions[0].mask"]
    assert plan_of(page)["regions"] == [{"mask": mask}]
    drop(page, json.dumps(bundle(mask, file)).encode(), "bundle.json")
    said(page, "The plan of bundle.json.")
    assert pasted.count() == 0, "that was of another plan"
    paste({"glow": 1, "regions": [{"mask": mask}]})
    pasted.first.wait_for(state="visible")
    assert [sentence.split(": ")[0] for sentence in pasted.all_inner_texts()] == ["glow"], "the mask is here now"
    drop(page, json.dumps(bundle(mask, file)).encode(), "again.json")
    said(page, "The plan of again.json.")
    assert pasted.count() == 0
    paste({"glow": 1, "regions": [{"mask": mask}]})
    pasted.first.wait_for(state="visible", timeout=5000)        # the same words as before
    paste({"regions": [{"mask": mask}]})
    page.wait_for_function("!document.querySelector('[id$=mixdiff_left_out] li')")


def test_presets_are_saved_loaded_renamed_exported_imported_and_deleted(fresh):
    page, name = fresh(), f"test {uuid.uuid4().hex} é"
    answers: list = []
    page.on("dialog", lambda dialog: dialog.accept(answer) if (answer := answers.pop(0)) is not None else dialog.dismiss())

    def press(button: str, *given: str | None) -> None:
        answers.extend(given)
        page.get_by_role("button", name=button, exact=True).first.click()

    def presets() -> list[str]:
        return [each for each in page.locator(".mixdiff-presets option").all_inner_texts() if each.startswith(name)]

    text = page.locator("[id$=mixdiff_plan] textarea").first
    assert page.get_by_role("button", name="Load", exact=True).count() == 0, "those of a preset are hidden while none is chosen"
    text.fill(json.dumps({"regions": [{"mask": painted(0, 0, 0.5, 1), "prompt": "first"}]}))
    press("Save as preset…", name)
    said(page, f"Kept as preset {name}.")
    assert presets() == [name]
    text.fill('{"regions": [{"prompt": "second"}]}')
    press("Save as preset…", name.upper(), None)                # not to be overwritten
    press("Load")
    said(page, f"The plan of preset {name}.")
    assert plan_of(page)["regions"][0]["prompt"] == "first" and plan_of(page)["regions"][0]["mask"].startswith("sha256:")
    text.fill('{"regions": [{"prompt": "second"}]}')
    press("Save as preset…", name, "")
    said(page, f"Kept as preset {name}.")
    text.fill("")
    press("Load")
    page.wait_for_function("document.querySelector('[id$=mixdiff_plan] textarea').value.includes('second')")
    press("Rename…", name + " 2")
    said(page, f"called {name} 2 now")
    assert presets() == [name + " 2"]
    press("Rename…", "../evil")
    said(page, "cannot be the name of a file")
    with page.expect_download() as download:
        press("Export")
    assert download.value.suggested_filename == f"{name} 2.json"
    exported = download.value.path().read_bytes()
    with page.expect_file_chooser() as chooser:
        press("Import…", name + " 3")
    chooser.value.set_files({"name": "x.json", "mimeType": "application/json", "buffer": exported})
    said(page, f"Kept as preset {name} 3.")
    assert presets() == [name + " 2", name + " 3"]
    press("Delete…", None)
    press("Delete…", "")
    said(page, f"Deleted the preset {name} 3.")
    page.locator(".mixdiff-presets").first.select_option(name + " 2")
    press("Delete…", "")
    said(page, f"Deleted the preset {name} 2.")
    assert presets() == [] and answers == []


def test_the_png_info_tab_folds_the_chunk_away_and_keeps_its_masks(fresh):
    """The tab is the WebUI's (modules/extras.py, run_pnginfo): its HTML is put here in its place."""
    page, (mask, file) = fresh(opened=False), new_mask()
    text = chunk.packed(bundle(mask, file))
    page.evaluate("""text => { const tab = document.createElement("div"); tab.id = "tab_pnginfo"; document.body.append(tab);
        for (const [name, value] of [["parameters", "a cat"], ["mixdiff", text]])
            tab.innerHTML += `<div>\n<p><b><p>${name}</p></b></p>\n<p><p>${value}</p></p>\n</div>\n`; }""", text)
    page.wait_for_selector("#tab_pnginfo details summary")
    assert page.locator("#tab_pnginfo details").count() == 1 and page.get_by_text("a cat", exact=True).is_visible()
    assert not page.get_by_text(text).is_visible()
    page.locator("#tab_pnginfo summary").click()
    assert page.get_by_text(text).is_visible()
    page.wait_for_load_state("networkidle")
    assert page.evaluate("""async plan => (await (await fetch("mixdiff/v1/read", {method: "POST", headers: {"Content-Type": "application/octet-stream"},
        body: plan})).json()).left_out""", json.dumps(bundle(mask, file)["plan"])) == []


def test_all_controls_of_the_row_have_names_and_are_reached_by_keyboard(fresh):
    page = fresh()
    page.get_by_role("button", name="Read a picture or plan…").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Preset"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Save as preset…", "those of a preset are hidden while none is chosen"
