"""The tab AFA in Chromium: look at a folder, train, pause, reload the page, resume, finish, draw with what was made, bring it back."""
from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lib_mixdiff.plan import Plan
from minihost.shapes import folder
from tests.host.test_training import KEYS, NAME, Trainer, spoil
from tests.test_editor import axe_finds
from tests.test_page import OF_THE_WEBUI
from tests.test_page_models import brought_back, drawn_and_judged

STEPS = 150 if os.environ.get("MIXDIFF_WEBUI_URL") else 60         # there, a minute and more
NOTE = ".mixdiff-training .mixdiff-note"


@pytest.fixture
def page(browser, tmp_path):
    """At the tab, its form filled in, with a folder of bad and good pictures."""
    trainer = Trainer(browser.host)
    if not {"shapes-a", "shapes-b"} <= {model["model_name"] for model in browser.host.get("/sdapi/v1/sd-models")}:
        pytest.skip("needs the checkpoints shapes-a and shapes-b")
    trainer.forget()
    folder.write(tmp_path / "good", 8, ["64x64"])
    page = browser.new_page(viewport={"width": 1400, "height": 1100})
    page.problems, page.bad = [], spoil(tmp_path / "good", tmp_path / "pictures")
    page.on("pageerror", lambda error: page.problems.append(error.stack or str(error)))
    opened(page, browser.host.url)
    page.data = tmp_path / "pictures"
    yield page
    trainer.forget()
    page.close()


def opened(page, url: str) -> None:
    page.goto(url)
    page.locator("#tabs > .tab-nav button", has_text="AFA").click()
    page.locator(NOTE).wait_for(state="visible")


def write(page, key: str, text: object) -> None:
    page.locator(f"#mixdiff_training_afa_{key} :is(textarea, input)").first.fill(str(text))


def choose(page, *checkpoints: str) -> None:
    field = page.locator("#mixdiff_training_afa_models input")
    for name in checkpoints:
        field.fill(name)
        page.locator("#mixdiff_training_afa_models ul.options li", has_text=name).first.click()
    field.blur()


def press(page, name: str) -> None:
    page.locator(".mixdiff-training").get_by_role("button", name=name).click()


def chosen(page) -> None:
    """Ours, of several that there may be."""
    page.locator(".mixdiff-training select").select_option(NAME)


def says(page, *words: str, seconds: float = 120) -> None:
    page.wait_for_function("([note, words]) => words.every((word) => document.querySelector(note).innerText.includes(word))", arg=[NOTE, words],
                           timeout=1000 * seconds)


def test_from_a_folder_to_a_picture_and_back(page, browser, tmp_path):
    write(page, "data", page.data)
    page.locator("#mixdiff_training_afa_look").click()
    shown = page.locator("#mixdiff_training_afa_pictures").first
    shown.get_by_text("8 pictures can be used").wait_for()
    assert all(Path(name).stem in shown.inner_text() for name in page.bad) and shown.locator("img").count() == 8
    page.locator("#mixdiff_training_afa_train").click()
    page.locator("#mixdiff_training_afa_note", has_text="models").first.wait_for()         # none was chosen
    choose(page, "shapes-a", "shapes-b")
    write(page, "name", NAME)
    for key, value in {"steps": STEPS, "batch": 2, "lr": 0.001, "prompts": "a red circle", "validation": 0.2}.items():
        write(page, key, value)
    page.locator("#mixdiff_training_afa_train").click()
    chosen(page)
    says(page, "step ", f" of {STEPS}", "left")
    press(page, "Ends after the step at hand and frees")
    says(page, "Paused")
    assert page.evaluate("document.activeElement.matches('.mixdiff-training select')"), "the button that was pressed is gone"
    opened(page, browser.host.url)
    chosen(page)
    says(page, "Paused", f" of {STEPS}")
    assert page.locator(".mixdiff-curves polyline").count() >= 2 and page.locator(".mixdiff-sheet img").is_visible()
    assert page.locator(".mixdiff-training details", has_text=f"{len(page.bad)} pictures are left out").count() == 1
    press(page, "Goes on")
    says(page, "Training: step")
    says(page, "Finished", f"{NAME}.safetensors", seconds=600)
    press(page, "Puts the plan")
    says(page, "Its plan is in txt2img")
    page.locator("#tabs > .tab-nav button", has_text="txt2img").first.click()
    plan = json.loads(page.locator("[id$=mixdiff_plan] textarea").first.input_value())
    assert plan["model"]["afa"] == {"aggregator": NAME, "models": ["shapes-a", "shapes-b"]}
    assert page.locator("[id$=mixdiff_enabled] input").first.is_checked()
    drawn_and_judged(page, tmp_path / "first")
    brought_back(browser, tmp_path, Plan.from_dict(plan))
    assert [problem for problem in page.problems if OF_THE_WEBUI not in problem] == []


def test_one_that_a_killed_webui_left_says_so_and_offers_to_resume(page, browser):
    """There is no state of it, then: the WebUI writes that when it ends."""
    trainer = Trainer(browser.host)
    assert trainer.start(data=str(page.data), skip_bad=True, steps=1)["code"] == 200
    (Path(trainer.ended()["home"]) / f"{NAME}.state.json").unlink()
    chosen(page)
    says(page, "the WebUI ended without it", "step 1 of 1", seconds=20)
    assert page.locator(".mixdiff-training").get_by_role("button", name="Goes on").is_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(page, browser, theme):
    """With a training that has failed, which shows more than none."""
    Trainer(browser.host).ask("start", {"config": {**KEYS, "data": str(page.data), "skip_bad": False}})
    chosen(page)
    says(page, "It has failed", "skip_bad")
    page.locator("#mixdiff_training_afa_more").get_by_text("More settings").click()
    assert axe_finds(page, theme, "document.querySelector('#mixdiff_training')") == []
