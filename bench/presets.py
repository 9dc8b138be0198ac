"""The presets that come with mixdiff, each drawn on the embedded host, into lib_mixdiff/host/shipped: `python -m bench.presets`."""
from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from PIL import Image, ImageDraw

from bench.detector import detect
from bench.scores import has_only, placed
from lib_mixdiff.documents import changed
from lib_mixdiff.influence import COLORS
from minihost.client import Host, served

SHIPPED = Path(__file__).parent.parent / "lib_mixdiff" / "host" / "shipped"
GROUND = "on a gray background"
LEFT, RIGHT = (0, 0, 0.5, 1), (0.5, 0, 1, 1)
# name: what the job says, what is changed in the preset's plan, and what has to be seen, each where
PICTURES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, tuple]]] = {
    "Three objects in a row": ({"width": 128, "height": 128, "seed": 4}, {}, {
        "red circle": (0, 0, 1 / 3, 1), "blue square": (1 / 3, 0, 2 / 3, 1), "yellow cross": (2 / 3, 0, 1, 1)}),
    "A wide picture in tiles": ({"width": 256, "height": 64, "prompt": f"a red circle {GROUND}"}, {}, {"red circle": (0, 0, 1, 1)}),
    "A sketch as guide": ({"width": 128, "height": 64, "seed": 2, "prompt": f"a red circle and a blue square {GROUND}"}, {}, {
        "red circle": LEFT, "blue square": RIGHT}),
    "Painted words": ({"width": 128, "height": 64, "seed": 6}, {}, {"red circle": LEFT, "blue square": RIGHT}),
    # of 16 x 8 cells the layout is decided later than of a picture of 512 x 512 px
    "A layout for a plain prompt": ({"width": 128, "height": 64, "prompt": f"a red circle and a blue square {GROUND}"}, {"steps": 16}, {
        "red circle": LEFT, "blue square": RIGHT}),
    "An ensemble of two checkpoints": ({"width": 64, "height": 64, "prompt": f"a red circle {GROUND}"},
                                       {"models": ["shapes-a", "shapes-b"]}, {"red circle": (0, 0, 1, 1)}),
    "Two experts, by steps": ({"width": 64, "height": 64, "prompt": f"a red circle {GROUND}"},
                              {"experts": ["shapes-high", "shapes-low"]}, {"red circle": (0, 0, 1, 1)}),
}
ZOOM, BAR_PX = 2, 8
JOB = {"steps": 20, "cfg_scale": 5, "sampler_name": "Euler", "seed": 0, "prompt": "a gray background"}


def plan_of(on: Host, name: str, changes: dict[str, Any]) -> dict[str, Any]:
    """The preset's plan for this host's checkpoints, its images in it."""
    document = on.get(f"/mixdiff/v1/presets/{quote(name)}")
    plan = changed(document["plan"], ["image", "mask"], document["images"].__getitem__)
    if "steps" in changes:
        plan["amdm"]["steps"] = changes["steps"]
    if "models" in changes:
        plan["model"]["afa"]["models"] = changes["models"]
    for expert, model in zip(plan.get("model", {}).get("experts", ()), changes.get("experts", ())):
        expert["model"] = model
    return plan


def drawn(on: Host, name: str) -> tuple[np.ndarray, bool]:
    """(height, width, 3) uint8, and whether it shows what it should."""
    fields, changes, wanted = PICTURES[name]
    answer = on.txt2img(plan_of(on, name, changes), **{**JOB, **fields})
    if answer.status != 200:
        raise SystemExit(f"{name}: {answer.error}")
    found = detect(answer.pictures[0])
    return answer.pictures[0], all(placed(found, box, thing) for thing, box in wanted.items()) and (
        has_only(found, list(wanted)) or (len(wanted) == 1 and set(found.names) == set(wanted)))


def shown(picture: np.ndarray, plan: dict[str, Any]) -> Image.Image:
    """With what was drawn on the canvas, or of a stack a bar of whose steps they are."""
    image = Image.fromarray(picture).resize((ZOOM * picture.shape[1], ZOOM * picture.shape[0]), Image.Resampling.LANCZOS)
    plans = [plan, *(model["plan"] for model in (plan.get("amdm") or {}).get("models", ()))]
    for color, mask in zip(COLORS, [phrase["mask"] for phrase in (plan.get("paint") or {}).get("phrases", ())]):
        area = Image.open(io.BytesIO(base64.b64decode(mask))).resize(image.size).point(lambda grey: 90 if grey > 127 else 0)
        image.paste(color, (0, 0), area)
    draw = ImageDraw.Draw(image)
    regions = [] if plan.get("paint") else [region["box"] for each in plans for region in each.get("regions") or ()]
    for color, box in zip(COLORS, regions):
        draw.rectangle([round(side * edge) for side, edge in zip((image.width - 1, image.height - 1) * 2, box)], outline=color, width=3)
    for color, expert in zip(COLORS, (plan.get("model") or {}).get("experts", ())):
        first, last = (round(image.width * (expert["range"].get(end) or usual)) for end, usual in (("from", 0), ("to", 1)))
        draw.rectangle([first, image.height - BAR_PX, last, image.height], color)
    return image


def main() -> None:
    with served() as host:
        for name in PICTURES:
            picture, right = drawn(host, name)
            print(f"{name}: {'as it should be' if right else 'NOT what it should show'}")
            image = shown(picture, plan_of(host, name, PICTURES[name][1]))
            for model in PICTURES[name][1].get("models", ())[::-1]:        # beside what each draws alone
                alone = host.txt2img({"model": model}, **{**JOB, **PICTURES[name][0]}).pictures[0]
                image = beside(shown(alone, {}), image)
            image.save(SHIPPED / f"{'A stack of experts' if name.endswith('by steps') else name}.webp", quality=80, method=6)


def beside(left: Image.Image, right: Image.Image) -> Image.Image:
    both = Image.new("RGB", (left.width + BAR_PX + right.width, right.height), "white")
    both.paste(left, (0, 0))
    both.paste(right, (left.width + BAR_PX, 0))
    return both


if __name__ == "__main__":
    main()
