"""A first-time user's path through the page, a host's or the WebUI's: three objects side by side, and their picture brought back."""
from __future__ import annotations

from pathlib import Path
from typing import Any

WAIT_MS = 120_000
TEMPLATE, GROUND = "three columns", "gray"
OBJECTS = ("red circle", "blue square", "yellow cross")
SETTINGS = {"width": 128, "height": 128, "seed": 2}     # the size that the shapes checkpoint is trained at; a seed that works


def fresh(browser: Any, **viewport: int) -> Any:
    """A new page, as it comes."""
    page = browser.new_page(viewport={"width": 1280, "height": 1100, **viewport})
    page.set_default_timeout(WAIT_MS)
    page.goto(f"{browser.host.url}/?__theme=light")
    page.wait_for_selector("#txt2img_generate")
    page.locator(".mixdiff-files").first.wait_for(state="attached")
    return page


def open_accordion(page: Any) -> None:
    page.get_by_text("mixdiff", exact=True).first.click()
    page.locator(".mixdiff-stage").first.wait_for(state="visible")


def set_size_and_seed(page: Any) -> None:
    for name, value in SETTINGS.items():
        page.locator(f"#txt2img_{name} input[type=number]").first.fill(str(value))


def take_template(page: Any) -> None:
    page.get_by_label("Template").first.select_option(TEMPLATE)


def write_prompts(page: Any) -> None:
    for i, name in enumerate(OBJECTS):
        page.locator(".mixdiff-panel").nth(i).get_by_label("Prompt", exact=True).click()
        page.keyboard.type(f"a {name} on a {GROUND} background")
    page.get_by_text("U-Net calls").first.wait_for()


def generate(page: Any, into: Path) -> Path:
    """The first picture of this page, downloaded with the gallery's button."""
    page.locator("#txt2img_generate").click()
    page.locator("#txt2img_gallery img[data-testid=detailed-image]").wait_for()
    with page.expect_download() as download:
        page.locator("#txt2img_gallery a[download]").first.click()
    file = into / download.value.suggested_filename
    download.value.save_as(file)
    return file


def drop(page: Any, file: Path) -> None:
    """As from the desktop, on the accordion's title."""
    title = page.get_by_text("mixdiff", exact=True).first
    title.scroll_into_view_if_needed()
    box = title.bounding_box()
    event = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2,
             "data": {"items": [], "files": [str(file)], "dragOperationsMask": 1}}
    session = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, **event})
    page.get_by_text("The plan of").first.wait_for()


def take_settings(page: Any) -> None:
    page.get_by_role("button", name="Take its prompt, seed and settings, too").first.click()
    page.wait_for_function("seed => document.querySelector('#txt2img_seed input').value === seed", arg=str(SETTINGS["seed"]))
