"""Guide images: the prediction is the image inside a box, while the noise is high (Mixture of Diffusers, Algorithm 2)."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from lib_mixdiff.boxes import CELL_PX, Box, latent_box
from lib_mixdiff.masks import bounded, grey, in_cells
from lib_mixdiff.plan import Guide
from lib_mixdiff.regions import Canvas

LAST_TIMESTEP = 1000


@dataclass(frozen=True)
class Shown:
    """What a canvas shows of a guide's image."""
    box: Box                # of the canvas
    picture: Image.Image    # RGB, the box's size in px
    mask: Tensor            # (box height, box width) in 0..1


@dataclass(frozen=True)
class Pull:
    """A guide on the canvas of one pass."""
    latent: Tensor          # (1, channels, height, width) of x0
    mask: Tensor            # (1, 1 or channels, height, width) in 0..1
    holds_above: float      # timestep, 1..1000: the higher the strength, the lower


def shown(guide: Guide, image: Image.Image, canvas: Canvas, mask: Image.Image | None) -> Shown | None:
    """None where nothing of it lies on the canvas; PlanError where its mask is empty. Transparent parts of the image do not guide."""
    height, width, fractions, pixels = canvas.height, canvas.width, guide.box, None
    if mask is not None:
        pixels = grey(mask)
        fractions = bounded(pixels, guide.box, guide.mask)
    whole = latent_box(fractions, height, width, canvas.view)
    target, source = fitted(image.size, guide.fit, whole)
    if (box := target.cut(height, width)) is None:
        return None
    part, (left, top, right, bottom) = box.inside(target), source
    across, down = (right - left) / target.width, (bottom - top) / target.height
    area = (left + part.left * across, top + part.top * down, left + part.right * across, top + part.bottom * down)
    size = (CELL_PX * box.width, CELL_PX * box.height)
    opaque = torch.ones(box.height, box.width, dtype=torch.float64)
    if "A" in image.getbands() or "transparency" in image.info:
        alpha = image.convert("RGBA").getchannel("A")
        opaque = grey(alpha.resize((box.width, box.height), Image.Resampling.BOX, area))
    if pixels is not None:
        opaque = opaque * in_cells(pixels, height, width, canvas.view)[box.of]
    if image.mode.startswith(("I", "F")):       # 16 bit, which Pillow would cut off at 255
        image = Image.fromarray((255 * grey(image)).round().byte().numpy())
    return Shown(box, image.convert("RGB").resize(size, Image.Resampling.LANCZOS, area), opaque)


def fitted(image: tuple[int, int], fit: str, box: Box) -> tuple[Box, tuple[float, float, float, float]]:
    """Which cells of a box show which area (left, top, right, bottom) px of an image of so many px, (width, height), centred.

    cover: the whole box, part of the image; contain: part of the box, to whole cells, the whole image; stretch: all of both.
    """
    width, height = image
    if fit == "cover":
        zoom = max(box.width / width, box.height / height)
        seen_x, seen_y = min(box.width / zoom, width), min(box.height / zoom, height)         # but for rounding they are
        return box, ((width - seen_x) / 2, (height - seen_y) / 2, (width + seen_x) / 2, (height + seen_y) / 2)
    if fit == "contain":
        zoom = min(box.width / width, box.height / height)
        across, down = max(1, round(width * zoom)), max(1, round(height * zoom))
        left, top = box.left + (box.width - across) // 2, box.top + (box.height - down) // 2
        box = Box(top, left, top + down, left + across)
    return box, (0.0, 0.0, float(width), float(height))


def holds_above(strength: float) -> float:
    return (1 - strength) * LAST_TIMESTEP


def pulled(x: Tensor, pulls: Sequence[Pull], scale: float = 1.0, noise: Tensor | float = 0.0) -> Tensor:
    """x (images, channels, height, width) with `scale * image + noise` where guides are, a later one on top, as a fresh tensor;
    x itself where there are none."""
    for pull in pulls:
        x = torch.lerp(x.float(), scale * pull.latent.float() + noise, pull.mask.float()).to(x.dtype)
    return x
