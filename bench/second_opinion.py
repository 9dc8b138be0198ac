"""A second way to find the things of the shapes world, to judge the first one by: analysis by synthesis.

No pixel is classified and no patch is cut out. The picture less its background is explained as a sum of drawn things (matching
pursuit): the thing whose drawing lowers the squared error most is taken away, again and again, until none explains enough.
With coverage a of a template, D = colour - background and residual R, the error falls by 2 D . sum(a R) - |D|^2 sum(a^2).
"""
from __future__ import annotations

from functools import cache

import numpy as np
from scipy import fft, ndimage

from minihost.shapes import world

RADII = np.arange(8.0, 14.5, 1.0)
SOFT_PX = (1.0, 2.5)    # sigmas of a template's blur: little, as of a JPEG, and much, as of a VAE
ENOUGH = 0.5            # the fall of the error over that of a perfect drawing
LEAD = 0.005            # over the next best shape or colour in that place, as a share of the fall: below, it has no name
PLACE_PX = 5
AT_MOST = 12            # things in a picture


@cache
def templates(height: int, width: int) -> tuple[list[str], np.ndarray, np.ndarray, tuple[int, int]]:
    """Shape of each template, its cover around (0, 0) of the padded size, at which nothing wraps round, and its spectrum's conjugate."""
    size = fft.next_fast_len(height + 40), fft.next_fast_len(width + 40)
    y, x = (np.where(i <= n - i, i, i - n) for i, n in zip(np.mgrid[0:size[0], 0:size[1]], size))
    kinds = [(shape, radius, sigma) for shape in world.SHAPES for radius in RADII for sigma in SOFT_PX]
    covers = np.stack([ndimage.gaussian_filter(np.clip(0.5 - world.distance(shape, x, y, radius), 0.0, 1.0), sigma, mode="wrap")
                       for shape, radius, sigma in kinds]).astype(np.float32)
    return [kind[0] for kind in kinds], covers, np.conj(fft.rfft2(covers)), size


def look(picture: np.ndarray) -> tuple[str, list[tuple[str | None, float, float]]]:
    """The background, and (name, centroid x, y in px) of each thing in a picture (height, width, 3) uint8; name None: in doubt."""
    height, width = picture.shape[:2]
    shapes, covers, spectra, size = templates(height, width)
    names = list(world.COLORS)
    ground_rgb = np.median(picture.reshape(-1, 3), axis=0)
    background = min(world.BACKGROUNDS, key=lambda n: np.linalg.norm(ground_rgb - world.BACKGROUNDS[n]))
    residual = (picture - ground_rgb).astype(np.float32)                        # (h, w, 3)
    # Of the palette, not of the picture: a shift of all colours changes no difference.
    differences = np.array([world.COLORS[n] for n in names], np.float32) - np.array(world.BACKGROUNDS[background], np.float32)
    perfect = (differences**2).sum(1) * (covers**2).sum((1, 2))[:, None]        # (templates, colours)
    y, x = np.mgrid[0:height, 0:width]
    things: list[tuple[str | None, float, float]] = []
    while len(things) < AT_MOST:
        seen = fft.rfft2(residual, size, axes=(0, 1))                           # (H, W/2 + 1, 3)
        falls = np.stack([2 * fft.irfft2(seen * spectrum[..., None], size, axes=(0, 1))[:height, :width]
                          @ differences.T - p for spectrum, p in zip(spectra, perfect)])       # (templates, h, w, colours)
        k, row, column, color = np.unravel_index(falls.argmax(), falls.shape)
        fall = falls[k, row, column, color]
        if fall < ENOUGH * perfect[k, color]:
            break
        near = falls[:, max(0, row - PLACE_PX):row + PLACE_PX + 1, max(0, column - PLACE_PX):column + PLACE_PX + 1].max((1, 2))
        rival = max(near[[shape != shapes[k] for shape in shapes]].max(), np.delete(near, color, 1).max())
        cover = np.roll(covers[k], (row, column), (0, 1))[:height, :width]
        residual -= cover[..., None] * differences[color]
        centroid = (float((cover * axis).sum() / cover.sum()) + 0.5 for axis in (x, y))
        things.append((f"{names[color]} {shapes[k]}" if fall - rival >= LEAD * fall else None, *centroid))
    return background, things
