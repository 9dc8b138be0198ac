"""Which of an ensemble's models leads where: its attention maps, by block, place and step (AFA, arXiv:2405.17082, Figure 6)."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from PIL import Image
from torch import Tensor

from lib_mixdiff.ensemble import Seen
from lib_mixdiff.influence import COLORS
from lib_mixdiff.looks import Looks
from lib_mixdiff.paint import Row


class Leads:
    """Of the pictures of one pass. A map says which share of a block's output comes from the model, at each cell of the canvas; the mean
    over the rows of a picture, and where pieces overlap over these."""

    def __init__(self, height: int, width: int, blocks: int | None = None) -> None:
        """Of so many blocks, first and last ones among them; None: of all."""
        self.looks, self.blocks = Looks(height, width), blocks
        self.names: list[tuple[str, str]] = []      # of block and model, by the number of a map
        self._rows: Sequence[Row] = ()              # of the call at hand

    @contextmanager
    def over(self, rows: Sequence[Row]) -> Iterator[None]:
        """For the mosaic: its network's calls inside have these rows."""
        self._rows = rows
        try:
            yield
        finally:
            self._rows = ()

    def watching(self, models: Sequence[str], order: Sequence[int], blocks: Sequence[str]) -> Seen:
        """What an ensemble of these shows its maps of these blocks to; `order`: whose is the first, the second, ..."""
        count = min(self.blocks or len(blocks), len(blocks))
        shown = {blocks[round(i * (len(blocks) - 1) / max(1, count - 1))] for i in range(count)}

        places = {model: [i for i, index in enumerate(order) if models[index] == model] for model in models}    # one may be there twice

        def seen(block: str, maps: Tensor) -> None:
            if block not in shown:
                return
            for model, its in places.items():
                key = block, model
                if key not in self.names:
                    self.names.append(key)
                for row, each in zip(self._rows, maps[:, its].sum(1)):
                    self.looks.see(row.image, self.names.index(key), row.crop, each)

        return seen

    def picture(self, image: int, title: str) -> Image.Image | None:
        """A row for each block and model."""
        models = list(dict.fromkeys(model for _, model in self.names))
        texts = [f"{block}: {model}" for block, model in self.names]
        colors = [COLORS[models.index(model) % len(COLORS)] for _, model in self.names]
        return self.looks.picture(image, f"{title}: which model leads where, and its share", texts, colors, most=1.0)
