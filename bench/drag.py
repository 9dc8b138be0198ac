"""How long the page works for each move of a dragged region, in Chromium, with 30 regions: `python -m bench.drag`.

The time of one move is that of its event's listeners, of what they leave for the next frame, of the page's own reactions (its
microtasks) and of the layout after it, in milliseconds; painting, which is the browser's own, is not in it. The last move of a drag
and the lifting of the pointer, which writes the plan, are a row of their own.
"""
from __future__ import annotations

import argparse
import json
import statistics
from typing import Any

from bench.browser import opened

REGIONS = 30
MOVES = 10          # of a drag
DRAG = """async ([box, moves]) => {
    const element = document.querySelectorAll(".mixdiff-box")[box], rect = element.getBoundingClientRect(), times = [];
    const raf = window.requestAnimationFrame.bind(window), frame = () => new Promise(raf);
    let waiting = [];
    window.requestAnimationFrame = (act) => waiting.push(act);
    const send = async (type, x, y) => {
        const clientX = rect.x + rect.width / 2 + x, clientY = rect.y + rect.height / 2 + y;
        const event = new PointerEvent(type, {bubbles: true, cancelable: true, pointerId: 1, button: 0, clientX, clientY});
        const start = performance.now();
        element.dispatchEvent(event);
        await null;
        for (const act of waiting.splice(0)) act(performance.now());
        await null;
        document.body.getBoundingClientRect();
        element.getBoundingClientRect();
        times.push(performance.now() - start);
        await frame();
    };
    await send("pointerdown", 0, 0);
    for (let i = 1; i <= moves; i++) await send("pointermove", (box % 2 ? 6 : -6) * i, 5 * i);
    await send("pointerup", (box % 2 ? 6 : -6) * moves, 5 * moves);
    window.requestAnimationFrame = raf;
    return times;
}"""


def plan() -> dict:
    """Six columns of five, each with its prompt."""
    return {"regions": [{"box": [x / 6, y / 5, (x + 1) / 6, (y + 1) / 5], "prompt": f"object {5 * x + y} on a gray background"}
                        for x in range(6) for y in range(5)]}


def measured(page: Any, drags: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each move, and of each lifting, of so many drags."""
    page.locator("[id$=mixdiff_plan] textarea").first.fill(json.dumps(plan()))
    page.locator(".mixdiff-stage").first.scroll_into_view_if_needed()
    moves, ends = [], []
    for drag in range(drags):
        _, *of_moves, end = page.evaluate(DRAG, [drag % REGIONS, MOVES])
        moves += of_moves
        ends.append(end)
    if page.evaluate("document.querySelector('[id$=mixdiff_plan] textarea').value").replace(" ", "") == json.dumps(plan()).replace(" ", ""):
        raise RuntimeError("nothing was dragged")
    return moves, ends


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drags", type=int, default=200)
    chosen = parser.parse_args()
    with opened() as page:
        moves, ends = measured(page, chosen.drags)
    print(f"| {chosen.drags} drags, {REGIONS} regions | events | ms, median | 95 % | most |\n|---|---|---|---|---|")
    for name, times in (("pointermove", moves), ("pointerup", ends)):
        figures = statistics.median(times), statistics.quantiles(times, n=20)[-1], max(times)
        print(f"| {name} | {len(times)} | " + " | ".join(f"{ms:.2f}" for ms in figures) + " |")


if __name__ == "__main__":
    main()
