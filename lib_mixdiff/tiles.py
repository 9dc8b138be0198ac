"""A canvas, or a region of it, in tiles: denoisers of one size, averaged by their windows (Mixture of Diffusers, section 3.1)."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch

from lib_mixdiff.boxes import CELL_PX, Box
from lib_mixdiff.errors import PlanError
from lib_mixdiff.mosaic import Member
from lib_mixdiff.plan import Tiles
from lib_mixdiff.windows import WINDOWS

OVERLAP, BATCH = 0.25, 4        # of a tile, and tiles in one call of the network, where neither plan nor settings say
GOLDEN = (5 ** 0.5 - 1) / 2     # whose multiples, modulo 1, are spread as evenly as can be, however many there are


@dataclass(frozen=True)
class Grid:
    """Tiles of height x width latent cells that overlap by so many at least; lower and narrower what they are laid over, lower and
    narrower they are. A shifted one has a phase, 0 to 1, which `at` gives it: as many tiles, of which neighbours share half as much,
    so that their borders can lie elsewhere in each step."""
    height: int
    width: int
    overlap_y: int
    overlap_x: int
    window: str = "gaussian"
    batch: int = BATCH
    own: bool = False       # SDXL: each tile a picture of its own, not a part of what it is cut from
    phase: float | None = None

    @classmethod
    def of(cls, tiles: Tiles, native: int) -> Grid:
        """What a plan asks for, in whole cells; a model draws best at `native` px. PlanError where tiles of that size cannot overlap so."""
        sizes = [-(-(side or native) // CELL_PX) for side in (tiles.height, tiles.width)]
        asked = tiles.overlap if isinstance(tiles.overlap, tuple) else (tiles.overlap, tiles.overlap)
        overlaps = [round(OVERLAP * size) if px is None else -(-px // CELL_PX) for px, size in zip(reversed(asked), sizes)]
        for size, overlap in zip(sizes, overlaps):
            if overlap >= size:
                raise PlanError("overlap", tiles.overlap, f"use less than {CELL_PX * (size - 1) + 1}", "{value} is too large for tiles of "
                                f"{CELL_PX * size} px").within("tiles")
        return cls(*sizes, *overlaps, tiles.window, tiles.batch or BATCH, tiles.coords == "own", 0.0 if tiles.grid == "shifted" else None)

    def at(self, step: int) -> Grid:
        return self if self.phase is None else replace(self, phase=GOLDEN * step % 1)

    @property
    def largest(self) -> int:
        """Cells that one call of the network may hold for each of the host's rows."""
        return self.batch * self.height * self.width

    def boxes(self, over: Box) -> list[Box]:
        """Row by row, each inside of `over`, all of one size."""
        height, width = min(self.height, over.height), min(self.width, over.width)
        return [Box(over.top + top, over.left + left, over.top + top + height, over.left + left + width)
                for top in starts(over.height, height, self.overlap_y, self.phase)
                for left in starts(over.width, width, self.overlap_x, self.phase)]

    def tiles(self, members: Iterable[tuple[int | None, Member]]) -> list[tuple[int | None, Member]]:
        """What `regions.placed` returned, each member in its tiles."""
        return [(index, tile) for index, member in members for tile in self.cut(member)]

    def cut(self, member: Member) -> Iterator[Member]:
        """A member's tiles, whose sum of predictions by share is that member's: D_r = sum_t w_t D_t / sum_t w_t."""
        boxes = self.boxes(member.crop)
        if len(boxes) == 1:
            yield member
            return
        window = WINDOWS[self.window](boxes[0].height, boxes[0].width)
        total = torch.zeros(member.crop.height, member.crop.width, dtype=torch.float64)
        for box in boxes:
            total[box.inside(member.crop).of] += window
        for box in boxes:
            at = box.inside(member.crop).of
            if bool((member.share[at] > 0).any()):
                share = (member.share[at].double() * window / total[at]).float()
                yield replace(member, crop=box, share=share, frame=box if self.own else member.frame)


def starts(length: int, tile: int, overlap: int, phase: float | None = None) -> list[int]:
    """Where tiles of so many cells begin that cover `length`: as few as overlap by `overlap` at least. Without a phase they are spread
    evenly. With one, neighbours overlap by half of `overlap`; what more there is lies at the end in phase 0, and at the beginning in 1."""
    if tile >= length:
        return [0]
    gaps = -(-(length - tile) // max(1, tile - overlap))
    if phase is None:
        return [round(i * (length - tile) / gaps) for i in range(gaps + 1)]
    apart = tile - overlap // 2
    shift = round(phase * (gaps * apart - (length - tile)))
    return sorted({min(max(0, i * apart - shift), length - tile) for i in range(gaps + 1)})
