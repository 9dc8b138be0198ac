"""`make demo`: pictures of every method on the embedded host beside the plain job, with their measured scores, as one page."""
from __future__ import annotations

import html
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from bench.detector import Detection, detect
from bench.placement import LAYOUTS, SIZE, content, in_place, plan, whole
from minihost.client import Host, served
from minihost.shapes import world

OUT = Path(__file__).parent.parent / "out" / "demo"
ZOOM, PLANS = 2, 6
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff }
h1, h2 { font-weight: 600 } td, th { padding: .3rem .8rem .3rem 0; text-align: left; vertical-align: top }
figure { display: inline-block; margin: 0 1rem 1rem 0; width: 256px; vertical-align: top } img { border-radius: 4px; display: block }
figcaption { font-size: .85rem } .pair { margin: 0 0 1.5rem } .good { color: #08702a } .bad { color: #a02020 }
.prompts { font-size: .9rem; color: #555; margin: 0 0 .4rem }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #181818 } .good { color: #6fcf87 } .bad { color: #ef8080 }
.prompts { color: #aaa } }
"""


def draw(on: Host, prompt: str, seed: int, plan: dict | None = None) -> np.ndarray:
    answer = on.txt2img(plan, prompt=prompt, seed=seed, width=SIZE, height=SIZE, steps=20, cfg_scale=5, sampler_name="Euler")
    if answer.status != 200:
        raise SystemExit(f"the embedded host refused the job: {answer.error}")
    return answer.pictures[0]


def save(picture: np.ndarray, name: str, boxes: list, right: list[bool]) -> str:
    """The picture, enlarged, with its regions' boxes: green where they hold what was asked for."""
    image = Image.fromarray(picture).resize((SIZE * ZOOM, SIZE * ZOOM), Image.NEAREST)
    pen = ImageDraw.Draw(image)
    for (x0, y0, x1, y1), ok in zip(boxes, right):
        pen.rectangle([x0 * SIZE * ZOOM + 1, y0 * SIZE * ZOOM + 1, x1 * SIZE * ZOOM - 2, y1 * SIZE * ZOOM - 2],
                      outline=(20, 160, 60) if ok else (220, 30, 30), width=2)
    image.save(OUT / f"{name}.png")
    return f"{name}.png"


def figure(picture: np.ndarray, found: Detection, name: str, title: str, boxes: list, right: list[bool]) -> str:
    seen = ", ".join(t.name or "something" for t in found.things) or "nothing"
    verdict = f'<span class="{"good" if all(right) else "bad"}">{sum(right)} of {len(right)} in place</span>'
    return (f'<figure><img src="{save(picture, name, boxes, right)}" width="{SIZE * ZOOM}" height="{SIZE * ZOOM}" '
            f'alt="{html.escape(title)}: {html.escape(seen)}"><figcaption><b>{title}</b>: {verdict}<br>seen: {html.escape(seen)}'
            f'</figcaption></figure>')


def main() -> None:
    start = time.time()
    OUT.mkdir(parents=True, exist_ok=True)
    scores: dict[str, dict[str, list[bool]]] = {}
    body = []
    with served() as on:
        print(f"embedded host up after {time.time() - start:.0f} s", flush=True)
        for layout, (boxes, _) in LAYOUTS.items():
            body.append(f"<h2>{'Three columns' if layout == 'columns' else 'Four quadrants'}</h2>")
            for index in range(PLANS):
                scenes = content(layout, 1000 + index)
                prompt, figures = world.caption(whole(scenes)), []
                for title, regions in (("One prompt", None), ("Regions", plan(layout, scenes))):
                    picture = draw(on, prompt, 100 + index, regions)
                    found = detect(picture)
                    right = in_place(found, layout, scenes)
                    scores.setdefault(layout, {}).setdefault(title, []).extend(right)
                    figures.append(figure(picture, found, f"{layout}-{index}-{title.lower().replace(' ', '-')}", title, boxes, right))
                body.append(f'<div class="pair"><p class="prompts">{html.escape(prompt)}</p>{"".join(figures)}</div>')
                print(f"{layout} {index + 1} of {PLANS}: {time.time() - start:.0f} s", flush=True)
    rows = "".join(f"<tr><td>{layout}</td>" + "".join(f"<td>{sum(hits)} of {len(hits)}</td>" for hits in by.values()) + "</tr>"
                   for layout, by in scores.items())
    (OUT / "index.html").write_text(
        f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>mixdiff: demo</title><style>{STYLE}</style>
<h1>mixdiff</h1><p>The same checkpoint, seed, steps and sampler, 128×128 px, each pair once with a prompt that names all objects and once
with a region for each object (Mixture of Diffusers). A detector measured what stands in each box: its shape and colour right, its
centre inside. The checkpoint knows nothing but coloured shapes, so that this can be measured.</p>
<table><tr><th>objects in their boxes</th><th>one prompt</th><th>regions</th></tr>{rows}</table>{"".join(body)}</html>""",
        encoding="utf-8")
    for layout, by in scores.items():
        print(f"{layout}: " + ", ".join(f"{title} {sum(hits)} of {len(hits)} objects in their boxes" for title, hits in by.items()))
    print(f"{OUT / 'index.html'} after {time.time() - start:.0f} s")


if __name__ == "__main__":
    main()
