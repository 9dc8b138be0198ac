"""A canvas, or a region of it, in tiles: denoisers of one size, averaged by their windows (Mixture of Diffusers, section 3.1)."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from lib_mixdiff.boxes import CELL_PX, Box
from lib_mixdiff.errors import PlanError
from lib_mixdiff.mosaic import Member
from lib_mixdiff.plan import Tiles
from lib_mixdiff.windows import WINDOWS

OVERLAP, BATCH = 0.25, 4        # of a tile, and tiles in one call of the network, where the plan does not say


@dataclass(frozen=True)
class Grid:
    """Tiles of height x width latent cells that overlap by so many at least; lower and narrower what they are laid over, lower and
    narrower they are."""
    height: int
    width: int
    overlap_y: int
    overlap_x: int
    window: str = "gaussian"
    batch: int = BATCH

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
        return cls(*sizes, *overlaps, tiles.window, tiles.batch or BATCH)

    @property
    def largest(self) -> int:
        """Cells that one call of the network may hold for each of the host's rows."""
        return self.batch * self.height * self.width

    def boxes(self, over: Box) -> list[Box]:
        """Row by row, each inside of `over`, all of one size."""
        height, width = min(self.height, over.height), min(self.width, over.width)
        return [Box(over.top + top, over.left + left, over.top + top + height, over.left + left + width)
                for top in starts(over.height, height, self.overlap_y) for left in starts(over.width, width, self.overlap_x)]

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
                yield replace(member, crop=box, share=(member.share[at].double() * window / total[at]).float())


def starts(length: int, tile: int, overlap: int) -> list[int]:
    """Where tiles of so many cells begin that cover `length`: as few as overlap by `overlap` at least, spread evenly."""
    if tile >= length:
        return [0]
    gaps = -(-(length - tile) // max(1, tile - overlap))
    return [round(i * (length - tile) / gaps) for i in range(gaps + 1)]
