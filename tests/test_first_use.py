"""A first-time user's path in Chromium: a template, three prompts, three objects in place, and the picture brought back from its file."""
from __future__ import annotations

import numpy as np
from PIL import Image

from bench import first_use
from bench.browser import open_accordion
from bench.detector import detect
from bench.scores import has_only, one_background, placed
from lib_mixdiff.plan import Plan
from tests.test_editor import plan_of
from tests.test_page import OF_THE_WEBUI


def test_from_the_closed_accordion_to_three_objects_and_back_from_the_picture(browser, tmp_path):
    problems: list[str] = []

    def fresh():
        page = first_use.fresh(browser)
        page.on("pageerror", lambda error: problems.append(str(error)))
        return page

    page = fresh()
    open_accordion(page)
    first_use.set_size_and_seed(page)
    first_use.take_template(page)
    first_use.write_prompts(page)
    assert page.get_by_label("Enable").first.is_checked()
    plan = Plan.from_dict(plan_of(page))
    first = first_use.generate(page, tmp_path / "first")
    found = detect(np.asarray(Image.open(first).convert("RGB")))
    for i, name in enumerate(first_use.OBJECTS):
        assert placed(found, (i / 3, 0, (i + 1) / 3, 1), name), found
    assert has_only(found, first_use.OBJECTS) and one_background(found, first_use.GROUND), found

    again = fresh()
    first_use.drop(again, first)
    again.locator(".mixdiff-stage").first.wait_for(state="visible")         # the accordion opens
    assert Plan.from_dict(plan_of(again)) == plan and again.get_by_label("Enable").first.is_checked()
    first_use.take_settings(again)
    assert Plan.from_dict(plan_of(again)) == plan
    assert first_use.generate(again, tmp_path / "again").read_bytes() == first.read_bytes()
    assert [problem for problem in problems if OF_THE_WEBUI not in problem] == []
