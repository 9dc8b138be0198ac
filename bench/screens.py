"""The editor as it looks, light, dark and narrow, its panels, the presets, the tab AFA, and a row of the demo, into docs/: `make demo &&
python -m bench.screens`. The tab shows folders: run it where their names tell nothing."""
from __future__ import annotations

import io
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import requests
from PIL import Image, ImageDraw, ImageFilter

from bench.browser import opened, show
from minihost.shapes import folder

ROOT = Path(__file__).parent.parent
DOCS, DEMO = ROOT / "docs", ROOT / "out" / "demo" / "index.html"
SCREENS = {"light": ("light", 1600), "dark": ("dark", 1600), "narrow": ("light", 700)}
PROMPT = "a (yellow square:1.1) on a brown background"
COLORS = 256        # of a file: below 200 kB


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


STACK = {"experts": [{"model": "shapes-high", "range": {"unit": "steps", "to": 0.35}},
                     {"model": "shapes", "range": {"unit": "steps", "from": 0.35, "to": 0.7}},
                     {"model": "shapes-low", "range": {"unit": "steps", "from": 0.7}}]}
PROMPTS = ["a red circle on a gray background", "a blue square on a pink background", "a yellow cross on a teal background",
           "a green triangle on a brown background"]
ENSEMBLE = {"afa": {"models": ["shapes-a", "shapes-b", "shapes-c"], "aggregator": "shapes-abc"}}
PANELS = {"regions": [{"box": [0, 0, 0.5, 1], "prompt": "a red circle on a gray background"},
                      {"box": [0.5, 0, 1, 1], "prompt": "a blue square on a gray background", "model": ENSEMBLE}],
          "base": {"share": 0.1}, "model": STACK, "tiles": {"width": 64, "height": 64}, "hires": {"tiles": {"grid": "fixed"}},
          "amdm": {"steps": 8, "models": [{"name": "ink", "prompt": "a yellow cross", "weight": 0.5, "plan": {"model": "shapes-b"}}]}}
TRAINING = {"target": "afa", "name": "colours and shapes", "models": ["shapes-a", "shapes-b"], "steps": 150, "batch": 8, "lr": 1e-3,
            "log_every": 2, "validation": 0.1, "validate_every": 15, "sample_every": 150, "guidance": 5, "prompts": PROMPTS}
FINISHED = "document.querySelector('.mixdiff-training .mixdiff-note').innerText.includes('Finished')"


def trained(page: Any) -> None:
    """A training of the tab, of a minute or two."""
    with TemporaryDirectory(prefix="pictures-") as pictures:
        folder.write(Path(pictures), 200, ["64x64"])
        ask = f"{page.host.url}/mixdiff/v1/train"
        requests.delete(f"{ask}/{TRAINING['name']}", timeout=60)
        (ROOT / "out" / "models" / "AFA" / f"{TRAINING['name']}.safetensors").unlink(missing_ok=True)
        requests.post(f"{ask}/start", json={"config": {**TRAINING, "data": pictures}}, timeout=60).raise_for_status()
        for theme in ("light", "dark"):
            page.goto(f"{page.host.url}/?__theme={theme}")
            page.locator("#tabs > .tab-nav button", has_text="AFA").click()
            page.locator("#mixdiff_training_afa_data :is(textarea, input)").fill(pictures)
            page.locator("#mixdiff_training_afa_look").click()
            page.locator("#mixdiff_training_afa_pictures img").first.wait_for()
            page.locator("#mixdiff_training_afa_name :is(textarea, input)").fill(TRAINING["name"])
            field = page.locator("#mixdiff_training_afa_models input")
            for name in TRAINING["models"]:
                field.fill(name)
                page.locator("#mixdiff_training_afa_models ul.options li", has_text=name).first.click()
            field.press("Escape")
            page.wait_for_function(FINISHED, timeout=900_000)
            page.wait_for_timeout(1500)
            keep(page.locator("#mixdiff_training").screenshot(), f"training-{theme}")


def panels(page: Any, theme: str) -> None:
    """All of them, in columns, and the presets that come along."""
    page.set_viewport_size({"width": 2000, "height": 1300})
    page.add_style_tag(content=".mixdiff-side { columns: 3; column-gap: 1.2rem } .mixdiff-side > * { break-inside: avoid } "
                               ".mixdiff-body { display: block !important } .mixdiff-cards, .mixdiff-list { max-height: none !important }")
    page.locator(".mixdiff-shelf summary").first.click()
    page.wait_for_timeout(1500)
    keep(page.locator(".mixdiff-shelf").first.screenshot(), f"presets-{theme}")
    page.locator("[id$=mixdiff_plan] textarea").first.fill(json.dumps(PANELS))
    page.locator(".mixdiff-list fieldset").nth(1).locator("legend").first.click()
    page.locator(".mixdiff-stretch").first.wait_for()
    page.wait_for_timeout(1500)
    keep(page.locator(".mixdiff-side").first.screenshot(), f"panels-{theme}")


def main() -> None:
    with opened() as page:
        page.set_viewport_size({"width": 1400, "height": 1300})
        trained(page)
        show(page)
        for theme in ("light", "dark"):
            show(page, theme)
            panels(page, theme)
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
