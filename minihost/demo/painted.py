"""Phrases of one prompt where they are painted (eDiff-I, Fig. 6)."""
from __future__ import annotations

import numpy as np

from bench.detector import detect
from bench.paint import asked, in_area, plan
from minihost.client import Host
from minihost.demo.drawing import draw, of, seen
from minihost.demo.page import Frame, Row, Section, Shot
from minihost.demo.placement import IN_PLACE
from minihost.shapes import world

SEED, PROMPTS, CELL_PX = 500, 4, 4
PAINT = "max 0.3"


def canvas(scene: world.Scene, areas: tuple[np.ndarray, ...]) -> np.ndarray:
    """What a user would paint: the areas in their phrases' colours, on the background's."""
    picture = world.render(world.Scene(scene.width, scene.height, scene.background, ()))
    for thing, area in zip(scene.things, areas):
        picture[area] = world.COLORS[thing.color]
    return picture


def painted(on: Host) -> Section:
    scale, strength = PAINT.split()
    about = f"""One prompt names two objects, and each phrase is painted where it belongs: there every cross-attention looks more at its
tokens, by {strength} log(1 + sigma) times the highest score of the head (<code>"scale": "{scale}"</code>). It is one network call a
step, as without paint. An object is in place where its centroid lies in its area, which is framed. Nothing is said of the rest of the
canvas: what the noise has put there may stay, and an area larger than an object may get more than one. Against strength, scale and size
of the areas: <code>python -m bench.paint</code>."""
    rows = []
    hits: dict[str, list[bool]] = {"without paint": [], "painted": []}
    for index in range(PROMPTS):
        wanted = asked(1000 + index)
        prompt, shots = world.caption(wanted.scene), [Shot("Painted areas", canvas(wanted.scene, wanted.areas))]
        for title, paint in zip(hits, (None, plan(PAINT, wanted))):
            found = detect(picture := draw(on, prompt, SEED + index, paint))
            right = [in_area(found, area, name) for area, name in zip(wanted.areas, wanted.names)]
            hits[title] += right
            frames = [Frame(area[CELL_PX // 2::CELL_PX, CELL_PX // 2::CELL_PX], name, ok)
                      for area, name, ok in zip(wanted.areas, wanted.names, right)]
            shots.append(Shot(title.capitalize(), picture, of(right, IN_PLACE), all(right), seen(found), frames, paint))
        rows.append(Row(prompt, shots))
    result = "; ".join(f"{title}: {of(right, 'objects in place')}" for title, right in hits.items())
    return Section("paint", "Paint with words", "eDiff-I, section 4.3", about, result, rows)


def looks(on: Host) -> Section:
    about = """How much of the cross-attention goes to a phrase's words, by place and step, the mean over all layers and heads, each row
from black (none) to white (its largest); below each map its mean. Where the noise is high, the words decide the layout, and paint moves
it; later the picture itself does, and the words count less and less. In the WebUI: <em>Settings &gt; mixdiff &gt; Where painted words
look</em>."""
    wanted = asked(1000)
    prompt = world.caption(wanted.scene)
    shots = [Shot(title, draw(on, prompt, SEED, plan(cell, wanted), which=-1, mixdiff_looks="after a job's pictures"))
             for title, cell in (("Without paint", "max 0"), ("Painted", PAINT))]
    result = "the first prompt above, without paint and with it"
    return Section("looks", "Where words look", "eDiff-I, Fig. 3", about, result, [Row(prompt, shots)])


SECTIONS = [painted, looks]
