"""Several checkpoints in one picture, chosen on the page in Chromium, drawn, judged by the detector, and brought back from the PNG."""
from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import first_use
from bench.browser import open_accordion
from bench.detector import detect
from bench.scores import has_only, one_background
from bench.specialists import scene
from lib_mixdiff.plan import Plan
from minihost.shapes import world
from tests.test_editor import plan_of
from tests.test_editor_model import drag, says
from tests.test_page import write

SEED, WANTED = 700, scene(1000)
NEEDED = {"shapes", "shapes-a", "shapes-b"}


def test_an_expert_bar_dragged_to_two_switches(browser, tmp_path):
    def choose(page):
        panel = fold(page, "Model: checkpoint")
        panel.locator("select[data-key=model]").select_option("experts")
        says(panel, "1–10")
        panel.get_by_role("button", name="Give half").click()
        panel.get_by_role("slider").nth(1).wait_for()
        for index, name in enumerate(("shapes-b", "shapes-a", "shapes")):        # the third took over half of one of the others' steps
            panel.locator("fieldset").nth(index).get_by_label("Checkpoint", exact=True).fill(name)
        says(panel, "shapes-a.safetensors")
        drag(page, panel.get_by_role("slider").nth(1), 0.7)
        drag(page, panel.get_by_role("slider").nth(0), 0.3)
        says(panel, "7–14")
        assert len(re.findall(r"\d+–\d+:", panel.locator(".mixdiff-hint").inner_text())) == 3

    drawn_and_brought_back(browser, tmp_path, choose)


def test_an_amdm_pair(browser, tmp_path):
    def choose(page):
        model = fold(page, "Model: checkpoint")
        model.locator("select[data-key=model]").select_option("checkpoint")
        model.get_by_label("Checkpoint", exact=True).fill("shapes-a")
        panel = fold(page, "AMDM")
        panel.get_by_role("button", name="Add a model").click()
        panel.get_by_label("Steps").fill("16")
        card = panel.locator("fieldset").first
        card.locator("select[data-key=model]").select_option("checkpoint")
        card.get_by_label("Checkpoint", exact=True).fill("shapes-b")
        page.get_by_text("AMDM: 2 models in the first 16 steps.").wait_for()
        assert re.search(r"\d+ %", panel.locator("summary").inner_text()), "its share of the work"

    drawn_and_brought_back(browser, tmp_path, choose)


def fold(page, title: str):
    panel = page.locator(".mixdiff-editor").first.locator("details", has=page.locator("summary", has_text=title)).first
    panel.evaluate("details => { details.open = true; }")
    return panel


def drawn_and_brought_back(browser, folder: Path, choose: Callable) -> None:
    """One thing that no specialist draws by itself; `choose` makes the plan on the page."""
    if not {model["model_name"] for model in browser.host.get("/sdapi/v1/sd-models")} >= NEEDED:
        pytest.skip("needs the checkpoints shapes-a and shapes-b")
    page = first_use.fresh(browser)
    open_accordion(page)
    settings(page)
    choose(page)
    plan = Plan.from_dict(plan_of(page))
    drawn_and_judged(page, folder / "first")
    page.close()
    brought_back(browser, folder, plan)


def drawn_and_judged(page, folder: Path) -> None:
    settings(page)
    found = detect(np.asarray(Image.open(first_use.generate(page, folder)).convert("RGB")))
    assert has_only(found, [WANTED.things[0].name]) and one_background(found, WANTED.background), found


def settings(page) -> None:
    """Of a job of 20 steps, 64x64."""
    write(page, "txt2img_prompt", world.caption(WANTED))
    for name, value in {"width": 64, "height": 64, "steps": 20, "cfg_scale": 5, "seed": SEED}.items():
        write(page, f"txt2img_{name}", str(value))
    sampler = page.locator("#txt2img_sampling input").first
    if sampler.input_value() != "Euler":
        sampler.fill("Euler")
        page.locator("#txt2img_sampling ul.options li", has_text=re.compile(r"^\W*Euler\W*$")).click()


def brought_back(browser, folder: Path, plan: Plan) -> None:
    """The first picture's plan, on a fresh page; with its settings the same bytes."""
    first, page = next((folder / "first").iterdir()), first_use.fresh(browser)
    first_use.drop(page, first)
    assert Plan.from_dict(plan_of(page)) == plan
    page.get_by_role("button", name="Take its prompt, seed and settings, too").first.click()
    page.wait_for_function("seed => document.querySelector('#txt2img_seed input').value === seed", arg=str(SEED))
    assert first_use.generate(page, folder / "again").read_bytes() == first.read_bytes()
    page.close()
