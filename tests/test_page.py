"""The page in Chromium: a plan typed into the accordion makes its picture, and what is wrong with one is shown."""
from __future__ import annotations

import json
import re

import pytest
import requests

PLAN = {"regions": [{"box": [0, 0, 0.5, 1], "prompt": "a blue cross on a gray background"},
                    {"box": [0.5, 0, 1, 1], "prompt": "a red square on a gray background"}]}
OF_THE_WEBUI = "reading 'props'"      # gradio's own error, also without any extension: outputs that are not on the page


@pytest.fixture(scope="module")
def page(browser):
    page = browser.new_page(viewport={"width": 1280, "height": 1100})
    page.host, page.problems = browser.host, []
    page.on("pageerror", lambda error: OF_THE_WEBUI in str(error) or page.problems.append(str(error)))
    hosts_own = re.findall(r'(?:src|href)="(https?://[^"]+)"', requests.get(page.host.url, timeout=60).text)
    page.on("request", lambda request: request.url.startswith((page.host.url, "data:", "blob:", *hosts_own)) or page.problems.append(request.url))
    page.on("response", lambda answer: answer.status == 404 and "/mixdiff/" in answer.url and page.problems.append(f"not found: {answer.url}"))
    page.goto(page.host.url)
    page.wait_for_selector("#txt2img_generate")
    return page


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
