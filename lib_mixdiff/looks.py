"""Where a phrase looks: how much of the network's attention goes to its words, by place and step (eDiff-I, arXiv:2211.01324, Fig. 3)."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from lib_mixdiff.boxes import Box

LONGEST = 96            # cells of a map's longer side that are kept
PANEL_PX, GAP_PX, LINE_PX = 112, 6, 14
LEAST_PX = 460          # for the title
STEPS = 8               # that a picture shows at most
INK, PAPER = "#e8e8e8", "#101014"


class Looks:
    """Of the pictures of one pass. A map says for each cell of the canvas which share of the attention the phrase has there, from 0 to 1:
    summed over its tokens; the mean over layers, heads, and where pieces overlap over these. Of a step's several evaluations, the last."""

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        self.step = 0
        self.maps: dict[tuple[int, int], dict[int, Tensor]] = {}                    # by image and phrase, by step: (height, width)
        self._seen: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}               # of the step at hand: sums and counts by cell

    def at(self, step: int) -> None:
        """What comes from now on belongs to this step."""
        self.finish()
        self.step = step

    def see(self, image: int, phrase: int, crop: Box, share: Tensor) -> None:
        """A layer's (height, width) in its own cells, of a call whose network sees `crop` of the canvas."""
        key = image, phrase
        if key not in self._seen:
            zeros = share.new_zeros(self.height, self.width)
            self._seen[key] = zeros, zeros.clone()
        total, count = self._seen[key]
        total[crop.of] += F.interpolate(share[None, None], (crop.height, crop.width), mode="bilinear")[0, 0]
        count[crop.of] += 1

    def finish(self) -> None:
        zoom = min(1.0, LONGEST / max(self.height, self.width))
        size = max(1, round(zoom * self.height)), max(1, round(zoom * self.width))
        for key, (total, count) in self._seen.items():
            mean = total / count.clamp(min=1)
            self.maps.setdefault(key, {})[self.step] = F.interpolate(mean[None, None], size, mode="area")[0, 0].cpu()
        self._seen.clear()

    def picture(self, image: int, title: str, names: Sequence[str], colors: Sequence[str],
                most: float | None = None) -> Image.Image | None:
        """With a title, a row for each phrase, by its index in `names`, and a column for each of some steps; black is nothing, white is
        `most`, or the phrase's largest share in any step, and below each map its mean. None where no phrase of this image was seen."""
        self.finish()
        rows = [(phrase, maps) for (of, phrase), maps in sorted(self.maps.items(), key=lambda item: item[0]) if of == image]
        if not rows:
            return None
        steps = sorted({step for _, maps in rows for step in maps})
        steps = [steps[i] for i in sorted({round(i) for i in np.linspace(0, len(steps) - 1, min(STEPS, len(steps)))})]
        zoom = PANEL_PX / max(self.height, self.width)
        width, height = max(8, round(zoom * self.width)), max(8, round(zoom * self.height))
        size = max(LEAST_PX, GAP_PX + len(steps) * (width + GAP_PX)), 2 * LINE_PX + len(rows) * (height + 2 * LINE_PX + GAP_PX)
        whole = Image.new("RGB", size, PAPER)
        draw = ImageDraw.Draw(whole)
        draw.text((GAP_PX, 1), title, INK)
        for column, step in enumerate(steps):
            draw.text((GAP_PX + column * (width + GAP_PX), LINE_PX), f"step {step + 1}", INK)
        for row, (phrase, maps) in enumerate(rows):
            top = 2 * LINE_PX + row * (height + 2 * LINE_PX + GAP_PX)
            white = most or max(float(each.max()) for each in maps.values()) or 1.0
            draw.text((GAP_PX, top), names[phrase].encode("latin-1", "replace").decode("latin-1"), colors[phrase % len(colors)])
            for column, step in enumerate(steps):
                if step not in maps:
                    continue
                left = GAP_PX + column * (width + GAP_PX)
                panel = Image.fromarray(heated(maps[step].numpy() / white, colors[phrase % len(colors)]))
                whole.paste(panel.resize((width, height), Image.Resampling.NEAREST), (left, top + LINE_PX))
                draw.text((left, top + LINE_PX + height), f"{float(maps[step].mean()):.1%}", INK)
        return whole


def heated(share: np.ndarray, color: str) -> np.ndarray:
    """(height, width) in 0..1 to (height, width, 3) uint8: from black over the colour to white."""
    middle = np.array(list(bytes.fromhex(color[1:])), np.float64)
    low, high = np.clip(2 * share, 0, 1)[..., None], np.clip(2 * share - 1, 0, 1)[..., None]
    return (low * middle + high * (255 - middle)).round().astype(np.uint8)
