"""The demo's page: sections of pictures beside each other, each with its score, its regions drawn over it and its plan folded below."""
from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

OUT = Path(__file__).parent.parent.parent / "out" / "demo"
STYLE = """
:root { color-scheme: light dark; --text: #222; --soft: #5a5a5a; --back: #fff; --card: #f3f3f4; --line: #d5d5d8;
  --good: #08702a; --bad: #a02020; --link: #0b57b0 }
@media (prefers-color-scheme: dark) { :root { --text: #e2e2e2; --soft: #a8a8a8; --back: #181818; --card: #232325; --line: #3a3a3d;
  --good: #6fcf87; --bad: #ef8080; --link: #86b7ff } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; color: var(--text);
  background: var(--back) }
h1, h2 { font-weight: 600; line-height: 1.25 } h2 { margin: 3rem 0 .3rem; scroll-margin-top: 1rem }
h2 small { font-weight: 400; color: var(--soft) } a { color: var(--link) } p { max-width: 52rem; margin: .4rem 0 }
table { border-collapse: collapse; margin-top: 1rem } td:first-child { min-width: 9rem }
td, th { padding: .25rem 1.2rem .25rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line) }
.rows { display: flex; flex-wrap: wrap; gap: 1rem; margin-top: 1rem }
.row { padding: .8rem 1rem; background: var(--card); border-radius: 8px; max-width: 100%; box-sizing: border-box }
.row > p { color: var(--soft); font-size: .9rem; margin: 0 0 .7rem }
.shots { display: flex; flex-wrap: wrap; gap: 1rem 1.2rem; align-items: flex-start }
figure { margin: 0; max-width: 100% } .picture { position: relative; border-radius: 4px; overflow: hidden; line-height: 0 }
.picture img { width: 100%; height: auto } .picture svg { position: absolute; inset: 0; width: 100%; height: 100% }
.frame { fill: none; stroke: #fff; stroke-width: 1.4; transition: opacity .15s } .picture:hover .frame { opacity: 0 }
.frame.good { stroke: #14a03c } .frame.bad { stroke: #dc1e1e } .frame.neutral { stroke-dasharray: 4 3 }
.picture svg.asked { position: static; display: block; height: auto; background: var(--back) }
.asked rect { fill: var(--link); fill-opacity: .1; stroke: var(--link); stroke-opacity: .7; opacity: 1 !important }
.asked text { fill: var(--text); font: 8px system-ui, sans-serif; text-anchor: middle }
figcaption { font-size: .88rem; margin-top: .4rem } .good { color: var(--good) } .bad { color: var(--bad) } .seen { color: var(--soft) }
details { font-size: .8rem; margin-top: .2rem } pre { white-space: pre-wrap; margin: .3rem 0; max-height: 22rem; overflow: auto }
"""
WIDEST_PX, LARGEST_ZOOM = 1110, 2.0         # of a row's pictures together
SMALL_PX, SMALL_ZOOM = 400, 1.28            # rows so narrow stand two beside each other where a section has several


@dataclass(frozen=True)
class Frame:
    """A part of a picture, a box in fractions of it or cells (height, width) of booleans: what it is for, and whether it holds that
    (None: nobody asked)."""
    area: Sequence[float] | np.ndarray
    title: str = ""
    good: bool | None = None


@dataclass(frozen=True)
class Shot:
    """One picture, or with `picture` (width, height) px instead of pixels a drawing of what was asked for."""
    title: str
    picture: np.ndarray | tuple[int, int]
    score: str = ""
    good: bool | None = None
    seen: str = ""
    frames: Sequence[Frame] = ()
    plan: dict | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) px."""
        return self.picture if isinstance(self.picture, tuple) else (self.picture.shape[1], self.picture.shape[0])


@dataclass(frozen=True)
class Row:
    """Shots beside each other, of one prompt and seed."""
    about: str
    shots: Sequence[Shot]


@dataclass(frozen=True)
class Section:
    """`key` names its pictures' files; `about` is HTML; `result` is its line in the list of contents."""
    key: str
    title: str
    figure: str
    about: str
    result: str
    rows: Sequence[Row]


def write(sections: Sequence[Section], note: str) -> None:
    """The page of these sections and their pictures, into OUT."""
    OUT.mkdir(parents=True, exist_ok=True)
    contents = "".join(f'<tr><td><a href="#{s.key}">{s.title}</a></td><td>{s.figure}</td><td>{s.result}</td></tr>' for s in sections)
    body = "".join(f'<h2 id="{s.key}">{s.title} <small>{s.figure}</small></h2><p>{s.about}</p><div class="rows">{_rows(s)}</div>'
                   for s in sections)
    (OUT / "index.html").write_text(
        f"""<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>mixdiff: demo</title><style>{STYLE}</style><h1>mixdiff, measured</h1>
<p>Figures of <i>Mixture of Diffusers</i> (Barbero Jiménez 2023), <i>eDiff-I</i>, <i>AMDM</i> and <i>AFA</i> made again in a world of
coloured shapes. The checkpoints here know nothing else, so that a detector can tell what stands where. Pictures in a row have the same
prompts, seed, steps and sampler unless they say otherwise, and none is picked by hand. A frame is green where it holds what was asked
for, red where it does not; point at a picture to see it without frames.</p>
<table><tr><th>method</th><th>of the paper</th><th>measured</th></tr>{contents}</table>
{body}<p class="seen">{note}</p></html>""", encoding="utf-8")


def _rows(section: Section) -> str:
    rows = []
    for i, row in enumerate(section.rows, 1):
        width = sum(shot.size[0] for shot in row.shots)
        zoom = SMALL_ZOOM if width <= SMALL_PX and len(section.rows) > 1 else min(LARGEST_ZOOM, WIDEST_PX / width)
        shots = "".join(_figure(shot, f"{section.key}-{i}-{k}.png", zoom) for k, shot in enumerate(row.shots, 1))
        # as wide as its pictures: a long caption wraps
        room = f"calc({round(width * zoom)}px + {1.2 * (len(row.shots) - 1) + 2:.1f}rem)"
        about = f"<p>{html.escape(row.about)}</p>" if row.about else ""
        rows.append(f'<div class="row" style="width:{room}">{about}<div class="shots">{shots}</div></div>')
    return "".join(rows)


def _figure(shot: Shot, name: str, zoom: float) -> str:
    width, height = shot.size
    if isinstance(shot.picture, tuple):
        picture = ""
    else:
        Image.fromarray(shot.picture).save(OUT / name)
        picture = f'<img src="{name}" width="{width}" height="{height}" alt="{html.escape(f"{shot.title}: {shot.seen}")}">'
    score = f': <span class="{_verdict(shot.good)}">{html.escape(shot.score)}</span>' if shot.score else ""
    seen = f'<br><span class="seen">{html.escape(shot.seen)}</span>' if shot.seen else ""
    plan = ""
    if shot.plan is not None:
        plan = f"<details><summary>plan</summary><pre>{html.escape(_readable(shot.plan))}</pre></details>"
    return (f'<figure style="width:{int(width * zoom)}px"><div class="picture">{picture}{_frames(shot)}</div>'
            f"<figcaption><b>{html.escape(shot.title)}</b>{score}{seen}{plan}</figcaption></figure>")


def _verdict(good: bool | None) -> str:
    return "neutral" if good is None else "good" if good else "bad"


def _frames(shot: Shot) -> str:
    width, height = shot.size
    asked = isinstance(shot.picture, tuple)
    marks = []
    for frame in shot.frames:
        look = f'class="frame {_verdict(frame.good)}"'
        title = f"<title>{html.escape(frame.title)}</title>"
        if isinstance(frame.area, np.ndarray):
            marks.append(f'<path {look} d="{_outline(frame.area, width / frame.area.shape[1])}">{title}</path>')
            continue
        x0, y0, x1, y1 = (edge * size for edge, size in zip(frame.area, (width, height, width, height)))
        marks.append(f'<rect {look} x="{x0 + 1:.1f}" y="{y0 + 1:.1f}" width="{x1 - x0 - 2:.1f}" height="{y1 - y0 - 2:.1f}">{title}</rect>')
        if asked:
            words = frame.title.split()
            middle = (y0 + y1) / 2 + 9 * (0.75 - len(words) / 2)
            marks += [f'<text x="{(x0 + x1) / 2:.1f}" y="{middle + 9 * line:.1f}">{html.escape(word)}</text>'
                      for line, word in enumerate(words)]
    return f'<svg viewBox="0 0 {width} {height}"{" class=asked" if asked else ""}>{"".join(marks)}</svg>'


def _outline(cells: np.ndarray, cell_px: float) -> str:
    """The path along the border of cells (height, width) of booleans, a pixel inside them."""
    around, path = np.pad(cells, 1), []
    for y, x in np.argwhere(cells):
        left, top, right, bottom = (edge * cell_px + inset for edge, inset in ((x, 1), (y, 1), (x + 1, -1), (y + 1, -1)))
        for (down, across), line in {(-1, 0): (left - 1, top, right + 1, top), (1, 0): (left - 1, bottom, right + 1, bottom),
                                     (0, -1): (left, top - 1, left, bottom + 1), (0, 1): (right, top - 1, right, bottom + 1)}.items():
            if not around[y + 1 + down, x + 1 + across]:
                path.append("M{:.0f} {:.0f}L{:.0f} {:.0f}".format(*line))
    return "".join(path)


def _readable(plan: dict) -> str:
    """The plan's JSON, a region a line, its images named only."""
    def named(item: object) -> object:
        if isinstance(item, dict):
            return {k: f"(base64 of a PNG, {len(v)} characters)" if k in ("image", "mask") and v else named(v) for k, v in item.items()}
        return [named(each) for each in item] if isinstance(item, list) else item

    def line(item: dict) -> str:
        return json.dumps(named(item))

    def lines(value: dict | list | str) -> str:
        if isinstance(value, dict):
            return line(value)
        return json.dumps(value) if isinstance(value, str) else "[\n    " + ",\n    ".join(map(line, value)) + "]"

    return "{" + ",\n ".join(f"{json.dumps(key)}: {lines(value)}" for key, value in plan.items()) + "}"
