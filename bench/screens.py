"""The editor as it looks, light, dark and narrow, and a row of the demo, into docs/: `make demo && python -m bench.screens`."""
from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import requests
from PIL import Image, ImageDraw, ImageFilter

from bench.browser import opened, show

ROOT = Path(__file__).parent.parent
DOCS, DEMO = ROOT / "docs", ROOT / "out" / "demo" / "index.html"
SCREENS = {"light": ("light", 1600), "dark": ("dark", 1600), "narrow": ("light", 700)}
PROMPT = "a (yellow square:1.1) on a brown background"
COLORS = 96         # of a file: below 150 kB


def stored(page: Any, image: Image.Image) -> str:
    data = io.BytesIO()
    image.save(data, "PNG")
    return requests.put(f"{page.host.url}/mixdiff/v1/assets", data=data.getvalue(), timeout=60).json()["sha256"]


def plan(page: Any) -> dict:
    """Three regions, one of them painted, a guide, and words of the job's prompt."""
    mask, words, guide = Image.new("L", (128, 128)), Image.new("L", (128, 128)), Image.new("RGB", (64, 64), (120, 160, 150))
    ImageDraw.Draw(words).ellipse((86, 104, 108, 126), "white")
    ImageDraw.Draw(mask).line([(14, 100), (40, 84), (70, 104), (112, 92)], "white", 26, "curve")
    ImageDraw.Draw(guide).rectangle((18, 18, 46, 46), (240, 150, 40))
    return {"regions": [{"box": [0, 0, 0.5625, 0.625], "prompt": "a red circle on a teal background"},
                        {"box": [0.4375, 0, 1, 0.625], "prompt": "a blue cross on a teal background",
                         "negative_prompt": "a circle", "seed": 7},
                        {"mask": stored(page, mask.filter(ImageFilter.GaussianBlur(3))), "name": "shore", "prompt": "a brown background"}],
            "guides": [{"name": "square", "image": stored(page, guide),
                        "box": [0.625, 0.4375, 0.9375, 0.75], "strength": 0.4}],
            "paint": {"phrases": [{"phrase": "yellow square", "mask": stored(page, words.filter(ImageFilter.GaussianBlur(2)))}]}}


def keep(screenshot: bytes, name: str) -> None:
    Image.open(io.BytesIO(screenshot)).convert("RGB").quantize(COLORS).save(DOCS / f"{name}.png", optimize=True)


def main() -> None:
    with opened() as page:
        page.set_viewport_size({"width": 1280, "height": 1100})
        page.goto(DEMO.as_uri())
        keep(page.locator("#quadrants ~ .rows .row").first.screenshot(), "regions")
        for name, (theme, width) in SCREENS.items():
            page.set_viewport_size({"width": width, "height": 1300})
            show(page, theme)
            page.locator("#txt2img_prompt textarea").fill(PROMPT)
            page.locator("[id$=mixdiff_plan] textarea").first.fill(json.dumps(plan(page), indent=1))
            page.locator(".mixdiff-box").nth(1).focus()
            page.wait_for_function("document.querySelector('.mixdiff-note').innerText.includes('U-Net calls')")
            page.wait_for_timeout(500)
            keep(page.locator(".mixdiff-editor").first.screenshot(), f"editor-{name}")


if __name__ == "__main__":
    main()
