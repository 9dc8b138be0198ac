"""The chunk of a PNG: what goes in comes out, and what others write there does no harm."""
from __future__ import annotations

import base64
import hashlib
import io
import json
import random
import tracemalloc
import zlib

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lib_mixdiff import chunk
from lib_mixdiff.errors import PlanError
from lib_mixdiff.plan import Plan

LINE = {"regions": [{"box": [0, 0, 0.5, 1], "prompt": "日本語 “a, b: c”\n\x00", "seed": 7}], "ui": {"mask": "sha256:the editor's own"}}


def file_of(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)      # nothing here opens it


class Shelf(dict):
    """Files by their hash."""

    def put(self, data: bytes) -> str:
        name = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self[name] = data
        return name

    def __missing__(self, name: str) -> bytes:
        raise PlanError("", name, "send it", "there is no image {value} here")


def back(text: str) -> tuple[Plan, dict[str, bytes]]:
    plan, images, left = chunk.opened(chunk.unpacked(text))
    assert left == []
    return Plan.from_dict(plan), images


def through_png(text: str) -> str:
    """Written as the WebUI writes it (a text of `PngInfo`), read by Pillow before the pixels."""
    file, texts = io.BytesIO(), PngInfo()
    texts.add_text(chunk.KEY, text)
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=texts)
    return Image.open(file).info[chunk.KEY]


def test_a_plan_comes_back_whole():
    plan = Plan.from_dict(LINE)
    text = chunk.carried(plan, Shelf().__getitem__)
    assert text.isascii() and back(through_png(text)) == (plan, {})
    assert chunk.unpacked(text)["plan"] == plan.to_dict(), "with all defaults: they may change"


def test_masks_travel_and_guides_while_it_stays_small():
    shelf = Shelf()
    mask, small, large = shelf.put(file_of(200_000)), shelf.put(file_of(20_000, 1)), shelf.put(file_of(60_000, 2))
    guides = [{"image": image, "mask": None} for image in (large, small)]
    plan = Plan.from_dict({"guides": guides, "hires": {"regions": [{"mask": shelf.put(file_of(300, 3))}]}})
    assert set(back(chunk.carried(plan, shelf.__getitem__))[1].values()) == {file_of(20_000, 1), file_of(300, 3)}
    assert len(chunk.carried(plan, shelf.__getitem__)) <= 64 * 1024
    masked = Plan.from_dict({"regions": [{"mask": mask}], "guides": guides})
    assert set(back(chunk.carried(masked, shelf.__getitem__))[1]) == {mask}, "masks always; then there is no room for guides"
    assert set(chunk.bundled(masked, shelf.__getitem__)["images"]) == {mask, small, large}


def test_what_is_not_here_or_too_large_goes_by_its_hash(monkeypatch):
    shelf = Shelf()
    plan = Plan.from_dict({"regions": [{"mask": "sha256:" + 64 * "0"}, {"mask": shelf.put(file_of(3000))}]})
    assert back(chunk.carried(plan, shelf.__getitem__)) == (plan, {plan.regions[1].mask: file_of(3000)})
    monkeypatch.setattr(chunk, "LARGEST", 2000)
    assert back(chunk.carried(plan, shelf.__getitem__)) == (plan, {})


def test_the_mask_of_a_guide_counts_as_a_mask():
    shelf = Shelf()
    plan = Plan.from_dict({"guides": [{"image": shelf.put(file_of(10)), "mask": shelf.put(file_of(200_000, 1))}]})
    assert set(back(chunk.carried(plan, shelf.__getitem__))[1]) == {plan.guides[0].mask}


def packed(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data)).decode()


@pytest.mark.parametrize("text, problem", [
    ("", "lost its end"), ("no base64!", "cannot be unpacked"), ("AAAA", "cannot be unpacked"), ("é", "cannot be unpacked"),
    (packed(b"{}")[:-8], "lost its end"), (packed(b"\xff"), "cannot be unpacked"), (packed(b"{"), "not JSON"), (packed(100_000 * b"["), "too much"),
    (packed(b'{"plan": {}, "plan": {}}'), "twice"), (packed(b'{"plan": NaN}'), "NaN")])
def test_what_is_no_chunk_is_named(text, problem):
    with pytest.raises(PlanError) as caught:
        chunk.unpacked(text)
    assert str(caught.value).startswith("mixdiff") and problem in str(caught.value)


@pytest.mark.parametrize("value", [None, [], "plan", 3, {}, {"images": {}}])
def test_what_is_no_document_is_named(value):
    with pytest.raises(PlanError, match="holds no plan"):
        chunk.opened(value)


def test_a_bomb_does_not_go_off():
    bomb = packed(bytes(chunk.UNPACKED + 1))
    tracemalloc.start()
    with pytest.raises(PlanError, match="becomes more than 64 MB"):
        chunk.unpacked(bomb)
    assert tracemalloc.get_traced_memory()[1] < 2.5 * chunk.UNPACKED
    tracemalloc.stop()


def test_an_image_under_a_wrong_name_is_left_out():
    shelf = Shelf()
    good, other = shelf.put(b"good"), shelf.put(b"other")
    document = {"plan": {}, "images": {good: base64.b64encode(b"good").decode(), other: base64.b64encode(b"evil").decode(), "../evil": "AAAA",
                                       "sha256:x": 3, "sha256:": None}}
    plan, images, left = chunk.opened(json.loads(json.dumps(document)))
    assert (plan, images) == ({}, {good: b"good"})
    assert len(left) == 4 and all(sentence.startswith("images.") for sentence in left)
    assert chunk.opened({"plan": 1, "images": []})[2][0].startswith("images: [] is not an object")
