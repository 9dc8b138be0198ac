"""A first-time user's path through the page: `python -m bench.first_use` pictures it into docs/ and prints the README's table.

Three objects side by side, and their picture brought back. With --url it is a WebUI's page (its buttons need a font with emoji).
"""
from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from bench.browser import browsing, open_accordion

WAIT_MS = 600_000       # at most: a genuine WebUI on a busy machine
SETTLED_MS = 1500
MARGIN_PX = 8
COLORS = 128        # of a file
DOCS = Path(__file__).parent.parent / "docs"
CANVAS = ("[id$=_mixdiff_mixdiff] .label-wrap", ".mixdiff-frame", ".mixdiff-frame + .mixdiff-bar")
CARDS, RESULT = (".mixdiff-list",), ("#txt2img_results",)
TEMPLATE, GROUND = "three columns", "gray"
OBJECTS = ("red circle", "blue square", "yellow cross")
SETTINGS = {"width": 128, "height": 128, "seed": 4}     # the size that the shapes checkpoint is trained at; a seed that works


def fresh(browser: Any, **viewport: int) -> Any:
    """A new page, as it comes."""
    page = browser.new_page(viewport={"width": 1280, "height": 1100, **viewport})
    page.set_default_timeout(WAIT_MS)
    page.goto(f"{browser.host.url}/?__theme=light")
    page.wait_for_selector("#txt2img_generate")
    page.locator(".mixdiff-files").first.wait_for(state="attached")
    return page


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


class Shots:
    """Captioned pictures of parts of pages."""

    def __init__(self, into: Path) -> None:
        self.into, self.captions = into, []

    def take(self, page: Any, parts: tuple[str, ...], caption: str) -> None:
        """The smallest rectangle that holds the parts, each the first of a selector, and a margin."""
        self.captions.append(caption)
        page.wait_for_timeout(SETTLED_MS)
        page.evaluate("scrollTo(0, 0)")
        page.mouse.move(0, 0)
        boxes = [page.locator(part).first.bounding_box() for part in parts]
        left, top = (min(box[side] for box in boxes) - MARGIN_PX for side in ("x", "y"))
        right, bottom = (max(box[side] + box[length] for box in boxes) + MARGIN_PX for side, length in (("x", "width"), ("y", "height")))
        clip = {"x": left, "y": top, "width": right - left, "height": bottom - top}
        shot = Image.open(io.BytesIO(page.screenshot(full_page=True, clip=clip)))
        shot.convert("RGB").quantize(COLORS).save(self.into / self.name(len(self.captions)), optimize=True)

    def name(self, number: int) -> str:
        return f"first-{number}.png"

    def table(self, columns: int = 2) -> str:
        """In Markdown: the captions above their pictures."""
        cells = [(f"{i}. {caption}", f"![{caption}](docs/{self.name(i)})") for i, caption in enumerate(self.captions, 1)]
        rows = [line for at in range(0, len(cells), columns) for line in zip(*cells[at:at + columns])]
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        return "\n".join([lines[0], "|" + "---|" * columns, *lines[1:]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="a WebUI with this extension and the shapes checkpoint; without it an embedded host is started")
    parser.add_argument("--into", type=Path, default=DOCS)
    chosen = parser.parse_args()
    shots, viewport = Shots(chosen.into), {"width": 1060, "height": 540}
    with browsing(chosen.url) as browser, tempfile.TemporaryDirectory() as folder:
        page = fresh(browser, **viewport)
        set_size_and_seed(page)
        open_accordion(page)
        shots.take(page, CANVAS, "Open *mixdiff*, in txt2img or img2img.")
        take_template(page)
        shots.take(page, CANVAS, f"Take the template *{TEMPLATE}*, or drag boxes.")
        write_prompts(page)
        shots.take(page, CARDS, "Write what stands in each.")
        picture = generate(page, Path(folder, "first"))
        shots.take(page, RESULT, "*Generate*: three objects, each in its place.")
        page = fresh(browser, **viewport)
        drop(page, picture)
        shots.take(page, CANVAS, "Another day: drop the picture on *mixdiff*. Its plan is back.")
        take_settings(page)
        generate(page, Path(folder, "again"))
        shots.take(page, RESULT, "With its prompt, seed and settings: the same picture, byte for byte.")
    print(shots.table())


if __name__ == "__main__":
    main()
