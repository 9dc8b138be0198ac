"""Masks of a plan: what of them is read, and what a cell sees of them."""
from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from lib_mixdiff.assets import opened, store
from lib_mixdiff.boxes import WHOLE
from lib_mixdiff.errors import PlanError
from lib_mixdiff.masks import bounds, grey, in_cells
from lib_mixdiff.plan import Plan
from lib_mixdiff.regions import Canvas, located, placed

LEVELS = np.array([[0, 128, 255], [255, 0, 51]], np.uint8)


def encoded(image: Image.Image, **options) -> str:
    data = io.BytesIO()
    image.save(data, "PNG", **options)
    return base64.b64encode(data.getvalue()).decode()


def painted(x0: float, y0: float, x1: float, y1: float, size: tuple[int, int] = (128, 128), value: int = 255) -> str:
    """A mask that is `value` in a box of fractions."""
    image = Image.new("L", size)
    image.paste(value, tuple(round(f * n) for f, n in zip((x0, y0, x1, y1), size * 2)))
    return encoded(image)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "I;16"])
def test_a_mask_reads_the_same_in_every_kind_of_png(tmp_path, mode):
    image = Image.fromarray(LEVELS)
    image = Image.fromarray(LEVELS.astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
    assert torch.allclose(grey(opened(encoded(image), tmp_path)), torch.from_numpy(LEVELS / 255.0), atol=1e-4)


def test_what_is_transparent_is_out(tmp_path):
    image = Image.new("RGBA", (2, 1), (255, 255, 255, 255))
    image.putpixel((1, 0), (255, 255, 255, 0))
    assert grey(opened(encoded(image), tmp_path)).tolist() == [[1.0, 0.0]]
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 255, 255, 255, 255, 255])
    palette.putpixel((1, 0), 1)
    assert grey(opened(encoded(palette, transparency=b"\xff\x00"), tmp_path)).tolist() == [[1.0, 0.0]]


def test_every_cell_is_the_mean_of_what_it_shows():
    """Against the mean of a mask that is enlarged until cells hold whole pixels."""
    gen = torch.Generator().manual_seed(0)
    for height, width, rows, columns in ((5, 7, 3, 4), (4, 4, 16, 8), (64, 64, 8, 8), (3, 9, 5, 2)):
        mask = torch.rand(height, width, generator=gen, dtype=torch.float64)
        large = mask.repeat_interleave(rows, 0).repeat_interleave(columns, 1)
        assert torch.allclose(in_cells(mask, rows, columns), large.view(rows, height, columns, width).mean((1, 3)))


def test_a_view_shows_its_part_and_goes_on_beyond_the_border():
    mask = torch.rand(16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose(in_cells(mask, 8, 4, (0.25, 0.5, 0.5, 1.0)), mask[8:, 4:8])
    beyond = in_cells(mask, 16, 32, (-0.5, 0.0, 1.5, 1.0))
    assert torch.allclose(beyond[:, 8:24], mask) and torch.allclose(beyond[:, :8], mask[:, :1]) and torch.allclose(beyond[:, 24:], mask[:, -1:])


def test_bounds_are_tight():
    mask = torch.zeros(8, 10)
    assert bounds(mask) is None
    mask[2, 3] = mask[5, 7] = 0.01
    assert bounds(mask) == (0.3, 0.25, 0.8, 0.75)
    assert bounds(mask, (0.5, 0.0, 1.0, 1.0)) == (0.7, 0.625, 0.8, 0.75)
    assert bounds(mask, (0.0, 0.0, 1.0, 0.1)) is None


def members(plan: dict, tmp_path, canvas: Canvas | None = None):
    plan, canvas = Plan.from_dict(plan), canvas or Canvas(16, 16)
    return placed(located(plan, canvas, lambda image: opened(image, tmp_path)), plan, canvas, 7.0)


def test_a_rectangular_mask_without_a_box_is_the_box(tmp_path):
    for mask in (painted(0.25, 0, 0.75, 0.5), painted(0.25, 0, 0.75, 0.5, (512, 256))):
        (_, one), (_, base) = members({"regions": [{"mask": mask}]}, tmp_path)
        (_, boxed), (_, boxed_base) = members({"regions": [{"box": [0.25, 0, 0.75, 0.5]}]}, tmp_path)
        assert one.crop == boxed.crop and torch.equal(one.share, boxed.share) and torch.equal(base.share, boxed_base.share)


def test_grey_is_in_part(tmp_path):
    (_, one), (_, base) = members({"regions": [{"mask": painted(0, 0, 1, 1, value=51)}], "base": {"feather": 0}}, tmp_path)
    assert torch.allclose(one.share, torch.tensor(0.2)) and torch.allclose(base.share, torch.tensor(0.8))


def test_a_mask_beside_the_canvas_is_no_member_and_an_empty_one_is_refused(tmp_path):
    left = {"regions": [{"mask": painted(0, 0, 0.25, 1)}]}
    assert [index for index, _ in members(left, tmp_path, Canvas(16, 16, view=(0.5, 0.0, 1.0, 1.0)))] == [None]
    for wrong in ({"mask": painted(0, 0, 1, 1, value=0)}, {"mask": painted(0, 0, 0.5, 1), "box": [0.5, 0, 1, 1]}):
        with pytest.raises(PlanError, match=r"^regions\[1\]\.mask: nothing is in"):
            members({"regions": [{"name": "a"}, wrong]}, tmp_path)


def test_who_has_no_say_is_not_asked(tmp_path):
    assert [index for index, _ in members({"base": {"share": 1}, "regions": [{}]}, tmp_path)] == [None]
    corner = {"regions": [{"box": [0, 0, 1, 1], "mask": painted(0, 0, 0.25, 1)}]}
    assert [index for index, _ in members(corner, tmp_path, Canvas(16, 16, view=(0.5, 0.0, 1.0, 1.0)))] == [None]


def test_an_image_by_its_hash_is_the_image_or_an_error(tmp_path):
    mask = painted(0, 0, 0.5, 1)
    digest, size = store(tmp_path, base64.b64decode(mask))
    assert size == (128, 128)
    for spelled in (digest, mask, "data:image/png;base64," + mask):
        assert torch.equal(grey(opened(spelled, tmp_path)), grey(opened(mask, tmp_path)))
    assert bounds(grey(opened(digest, tmp_path))) == (0, 0, 0.5, 1) and in_cells(grey(opened(digest, tmp_path)), 16, 16, WHOLE).sum() == 128
    for wrong in ("sha256:" + 64 * "0", "iVBORw0KGgo" + 17 * "A"):
        with pytest.raises(PlanError, match=r"not an image|there is no image"):
            opened(wrong, tmp_path)
