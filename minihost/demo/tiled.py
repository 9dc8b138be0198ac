"""A canvas in tiles."""
from __future__ import annotations

from bench.detector import detect
from bench.tiles import CANVASES, CELL_PX, GRIDS, SEED, area, as_asked, caption, tiles
from minihost.client import Host
from minihost.demo.drawing import draw, of
from minihost.demo.page import Row, Section, Shot

OVERLAP = 4     # cells, half of a tile


def section(on: Host) -> Section:
    about = f"""A canvas of six times four tiles of the size that the checkpoint was trained on, all with the prompt of the job. With the
paper's overlap, half a tile, nearly every place lies under four tiles that want their things in different places. In a shifted grid the
borders move from step to step, neighbours share half as much, and there are fewer tiles: {area("fixed", OVERLAP, CANVASES[0]):.1f} and
{area("shifted", OVERLAP, CANVASES[0]):.1f} times the canvas. Against the overlap: <code>python -m bench.tiles</code>."""
    prompt, size = caption(0), tuple(CELL_PX * cells for cells in CANVASES[0])
    shots, results = [], []
    for grid in (None, *GRIDS):
        plan = {"tiles": tiles(grid, OVERLAP)} if grid else None
        picture = draw(on, prompt, SEED, plan, *size)
        score = of(as_asked(detect(picture), prompt), "things as asked")
        title = f"{grid.capitalize()} grid" if grid else "No tiles"
        shots.append(Shot(title, picture, score, plan=plan))
        results.append(f"{title.lower()}: {score}")
    return Section("tiles", "A canvas in tiles", "Fig. 8", about, "; ".join(results), [Row(prompt, shots)])


SECTIONS = [section]
