"""Finds the things of the shapes world in a picture: colour, shape and place of each, and the background.

By segmentation: each pixel takes the nearest colour of the palette; connected pixels off the background are shared out among the
colours that are solid there; a patch has the shape whose outline, at the patch's own area and centroid, overlaps it best. What is
doubtful is reported with `color` or `shape` None, never guessed, so that it counts as a failure in every score.
"""
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from minihost.shapes import world

PALETTE = {**world.COLORS, **world.BACKGROUNDS}
SHAPE_AREA = {"circle": math.pi, "square": 1.76**2, "triangle": 2.0, "cross": 4 * 0.68 - 0.68**2}     # at radius 1
SHAPE_MIDDLE = {"triangle": 1 / 3}      # centroid below the centre, in radii
AREA_PX = 60.0              # a smaller patch is no thing; the smallest one drawn has 162
SOLID_PX = 16               # pixels of a patch whose neighbours all have its colour; fewer: an edge or noise; the least drawn is 40
SOFT_PX = (1.5, 2.0)        # sigmas of the softened outlines: of a slight blur, of a VAE that knows the shape only roughly
OVERLAP = 0.75              # least intersection over union with an outline: at 0.7 an ellipse begins to pass for a circle
LEAD = 0.02                 # least lead of that over the next best shape's
CERTAIN = 0.7               # distance to the nearest colour over that to the next: above, the colour is in doubt
ONE_COLOR = 40.0            # RGB distance: below half of that between any two backgrounds, above shading and noise
HALO_PX = 3                 # around things: their soft edges are neither thing nor background


@dataclass(frozen=True)
class Found:
    """One patch: its centroid, box (x0, y0, x1, y1) and area in px, pixel i spanning i to i + 1; `overlap` with its shape, 0 to 1."""
    color: str | None
    shape: str | None
    x: float
    y: float
    box: tuple[int, int, int, int]
    area: int
    overlap: float

    @property
    def name(self) -> str | None:
        """"red circle", or None where colour or shape is in doubt."""
        return f"{self.color} {self.shape}" if self.color and self.shape else None


@dataclass(frozen=True)
class Detection:
    """`background` is None where most of the picture has none of the four colours; `background_share` is the share of the
    pixels outside all things (and their halo) that have the background's colour: 1 where it is one colour."""
    width: int
    height: int
    background: str | None
    background_share: float
    things: tuple[Found, ...]

    @property
    def names(self) -> list[str]:
        """The names of the things that have one, sorted."""
        return sorted(t.name for t in self.things if t.name)


def nearest(pixels: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Index of the nearest of `colors` (n, 3) for pixels (..., 3)."""
    return np.argmin(((pixels[..., None, :] - colors) ** 2).sum(-1), -1)


def color_of(rgb: np.ndarray) -> str | None:
    """The palette's name of a colour, None where two are about as near."""
    apart = {name: float(np.linalg.norm(rgb - c)) for name, c in PALETTE.items()}
    first, second = sorted(apart, key=apart.__getitem__)[:2]
    return first if first in world.COLORS and apart[first] <= CERTAIN * apart[second] else None


def shape_of(patch: np.ndarray, x: float, y: float) -> tuple[str | None, float]:
    """The shape that a patch (height, width) of booleans with centroid x, y has, or None, and its overlap with the best outline.

    Each shape has outlines as drawn and softened, of one area: a blurred cross loses its inner corners, a blurred square its outer.
    So a small upright diamond passes for a cross: after the shapes VAE the two cannot be told apart.
    """
    rows, columns = np.mgrid[0:patch.shape[0], 0:patch.shape[1]] + 0.5
    area = int(patch.sum())
    overlap = dict.fromkeys(world.SHAPES, 0.0)
    for shape in world.SHAPES:
        radius = math.sqrt(area / SHAPE_AREA[shape])
        middle = SHAPE_MIDDLE.get(shape, 0.0) * radius
        cover = np.clip(0.5 - world.distance(shape, columns - x, rows - y + middle, radius), 0.0, 1.0)
        for soft in (cover, *(ndimage.gaussian_filter(cover, sigma) for sigma in SOFT_PX)):
            outline = soft >= np.partition(soft, -area, axis=None)[-area]
            overlap[shape] = max(overlap[shape], float((patch & outline).sum() / (patch | outline).sum()))
    best, second = sorted(overlap, key=overlap.__getitem__, reverse=True)[:2]
    sure = overlap[best] >= OVERLAP and overlap[best] - overlap[second] >= LEAD
    return best if sure else None, overlap[best]


def detect(picture: np.ndarray) -> Detection:
    """What stands in a picture (height, width, 3) uint8."""
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise ValueError(f"picture of shape {picture.shape} and {picture.dtype}: (height, width, 3) uint8 is needed")
    pixels = picture.astype(np.float64)
    names = list(PALETTE)
    classes = nearest(pixels, np.array([PALETTE[n] for n in names], np.float64))
    ground = int(np.bincount(classes.ravel()).argmax())
    ground_rgb = np.median(pixels[classes == ground], axis=0)
    solid = ndimage.minimum_filter(classes, 3) == ndimage.maximum_filter(classes, 3)

    things: list[Found] = []
    islands, count = ndimage.label(classes != ground)
    for island in range(1, count + 1):
        here = islands == island
        inside = here & solid
        counts = np.bincount(classes[inside], minlength=len(names))
        colors = [i for i in range(len(names)) if counts[i] >= SOLID_PX]
        if not colors:
            continue
        rgbs = [np.median(pixels[inside & (classes == i)], axis=0) for i in colors]
        # Only colours that are solid here compete, as they are here: the soft edge of a white thing on brown is not gray.
        owner = np.where(here, nearest(pixels, np.array([*rgbs, ground_rgb])), len(colors))
        for k, rgb in enumerate(rgbs):
            if names[colors[k]] in world.BACKGROUNDS:
                continue        # a second background: not a thing, it lowers the share
            patches, patch_count = ndimage.label(owner == k)
            for patch in (patches == j for j in range(1, patch_count + 1)):
                area = int(patch.sum())
                if area < AREA_PX or (patch & inside & (classes == colors[k])).sum() < SOLID_PX:
                    continue
                y, x = (float(c) + 0.5 for c in ndimage.center_of_mass(patch))
                down, across = ndimage.find_objects(patch.astype(np.uint8))[0]
                shape, overlap = shape_of(patch, x, y)
                things.append(Found(color_of(rgb), shape, x, y, (across.start, down.start, across.stop, down.stop), area, overlap))
                islands[patch] = -1
    free = ~ndimage.binary_dilation(islands == -1, iterations=HALO_PX)
    close = np.linalg.norm(pixels - ground_rgb, axis=-1) <= ONE_COLOR
    share = float(close[free].mean()) if free.any() else 0.0
    background = names[ground] if names[ground] in world.BACKGROUNDS else None
    return Detection(picture.shape[1], picture.shape[0], background, share, tuple(things))
