"""`python -m minihost.demo`: draws, measures and writes out/demo/index.html, section by section."""
from __future__ import annotations

import time

from minihost.client import served
from minihost.demo import checkpoints, composition, ensembled, guided, mixed, painted, placement, tiled
from minihost.demo.page import OUT, Section, write


def main() -> None:
    start, sections = time.time(), list[Section]()
    with served() as on:
        print(f"embedded host up after {time.time() - start:.0f} s", flush=True)
        for make in (lambda on: placement.section(on, "columns"), lambda on: placement.section(on, "quadrants"), *composition.SECTIONS,
                     *tiled.SECTIONS, *guided.SECTIONS, *painted.SECTIONS, *checkpoints.SECTIONS, *mixed.SECTIONS,
                     *ensembled.SECTIONS):
            sections.append(made := make(on))
            write(sections, f"Drawn and measured in {time.time() - start:.0f} s.")
            print(f"{time.time() - start:4.0f} s  {made.title} ({made.figure}): {made.result}", flush=True)
    print(OUT / "index.html")


if __name__ == "__main__":
    main()
