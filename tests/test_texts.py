"""The template for translators against the page, in Chromium."""
from __future__ import annotations

import json
import os

import pytest

from bench import texts

pytestmark = pytest.mark.skipif(bool(os.environ.get("MIXDIFF_WEBUI_URL")), reason="the template is made of the embedded host's page")


@pytest.fixture(scope="module")
def page(browser):
    return texts.shown(browser)


def test_the_template_is_what_the_page_shows_and_stands_for_itself(page):
    committed = texts.OUT.read_text(encoding="utf-8")
    assert all(text == translated for text, translated in json.loads(committed).items()), "chosen by accident, it leaves the page as it is"
    assert committed == texts.template(page), "the page has other texts now: python -m bench.texts"


def test_the_webui_translates_each_tooltip_and_placeholder(page):
    """Not so of what is built before it is put on the page."""
    found = page.evaluate("""mark => [...document.querySelectorAll(".mixdiff-editor [title], .mixdiff-editor :not([type=checkbox])[placeholder]")]
        .flatMap((each) => [each.title, each.placeholder ?? ""]).filter((text) => /[a-z]/i.test(text) && !text.includes(mark))""", texts.MARK)
    assert len(found) > 40 and set(found) <= texts.of_page(page)
