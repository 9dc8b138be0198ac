"""One prompt against regions, in three columns and four quadrants."""
from __future__ import annotations

from collections.abc import Sequence

from bench.detector import detect
from bench.placement import LAYOUTS, SIZE, content, in_place, plan, whole
from minihost.client import Host
from minihost.demo.drawing import draw, of, seen
from minihost.demo.page import Frame, Row, Section, Shot
from minihost.shapes import world

PLANS = 4
IN_PLACE = "in place"
ABOUT = {
    "columns": """One prompt names three objects, but cannot say where they stand. Three regions, a prompt each, can.""",
    "quadrants": """The same with four regions.""",
}
TITLES = {"columns": "One prompt against three columns", "quadrants": "One prompt against four quadrants"}


def asked(boxes: Sequence[Sequence[float]], names: Sequence[str], width: int, height: int, title: str = "Asked for") -> Shot:
    """A drawing of the boxes with what they are to hold."""
    return Shot(title, (width, height), frames=[Frame(box, name) for box, name in zip(boxes, names)])


def section(on: Host, layout: str) -> Section:
    boxes, rows = LAYOUTS[layout], []
    hits: dict[str, list[bool]] = {"one prompt": [], "regions": []}
    for index in range(PLANS):
        scenes = content(layout, 1000 + index)
        prompt, names, shots = world.caption(whole(scenes)), [s.things[0].name for s in scenes], []
        for title, regions in zip(hits, (None, plan(layout, scenes))):
            picture = draw(on, prompt, 100 + index, regions)
            found = detect(picture)
            right = in_place(found, layout, scenes)
            hits[title] += right
            shots.append(Shot(title.capitalize(), picture, of(right, IN_PLACE), all(right), seen(found),
                              [Frame(box, name, ok) for box, name, ok in zip(boxes, names, right)], regions))
        rows.append(Row(prompt, [asked(boxes, names, SIZE, SIZE), *shots]))
    result = "; ".join(f"{title}: {of(right, 'objects in place')}" for title, right in hits.items())
    return Section(layout, TITLES[layout], "Fig. 1, 13, 14", ABOUT[layout], result, rows)
