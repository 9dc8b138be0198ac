"""Pasting keeps what it knows and says what it left out; generation stays strict."""
from __future__ import annotations

import base64
import hashlib
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lib_mixdiff import chunk
from lib_mixdiff.errors import PlanError
from lib_mixdiff.plan import MOST_LEFT_OUT, Plan
from tests.host.jobs import encoded

ROOT = Path(__file__).parent.parent
NOWHERE = "sha256:" + 64 * "0"
WHITE = base64.b64decode(encoded(Image.new("L", (16, 16), "white")))
WHITE_NAME = "sha256:" + hashlib.sha256(WHITE).hexdigest()
MASKED = {"regions": [{"mask": WHITE_NAME, "prompt": "a, \"b\": c"}]}
LINE = "a cat\nNegative prompt: a dog\nSteps: 3, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 64x64, mixdiff: {}, Version: x"


def where(left: list[str]) -> list[str]:
    return [sentence.split(": ")[0] for sentence in left]


# --- the plan ---

def test_a_region_without_its_place_is_dropped_alone():
    """It would act on the whole canvas."""
    plan, left = Plan.salvage({"regions": [{"prompt": "a", "box": [0.5, 0, 0.5, 1]}, {"prompt": "b", "mask": "C:/mask.png"}, {"prompt": "c"}],
                               "guides": [{"image": NOWHERE, "box": "left"}], "hires": {"regions": [{"box": [0, 0, 1, 2]}, {"prompt": "d"}]}})
    assert plan == Plan.from_dict({"regions": [{"prompt": "c"}], "hires": {"regions": [{"prompt": "d"}]}})
    assert where(left) == ["regions[0].box", "regions[1].mask", "guides[0].box", "hires.regions[0].box"]


@pytest.mark.parametrize("value, plan", [({"box": [0, 1], "base": {"share": 0.5}}, {"base": {"share": 0.5}}),
                                         ({"base": {"mask": "x", "share": 0.5}}, {"base": {"share": 0.5}})])
def test_a_place_where_none_belongs_is_but_a_key(value, plan):
    assert Plan.salvage(value)[0] == Plan.from_dict(plan)


@pytest.mark.parametrize("value", [None, 3, [], "[]", "{", '{"regions": [', "junk", {"v": 99}, {"regions": "all"}, {"a": {"b": {}}}, {"regions": 300 * [{}]},
                                   '{"a": NaN}'])
def test_what_is_not_understood_at_all_leaves_the_empty_plan(value):
    plan, left = Plan.salvage(value)
    assert plan == Plan() and len(left) == 1


def test_thousands_of_unknown_things_come_to_an_end():
    plan, left = Plan.salvage({f"key{n}": n for n in range(100_000)})
    assert plan == Plan() and len(left) == MOST_LEFT_OUT + 2 and "the rest" in left[-1]


def test_an_image_that_cannot_be_kept_takes_its_region_along():
    def refuse(plan: Plan) -> Plan:
        def image(name: str) -> str:
            if name == NOWHERE:
                raise PlanError("", name, "choose another")
            return name
        return plan.with_each(["image", "mask"], image)

    plan, left = Plan.salvage({"regions": [{"glow": 1, "mask": WHITE_NAME}, {"mask": NOWHERE}], "guides": [{"image": NOWHERE}]}, refuse)
    assert plan == Plan.from_dict({"regions": [{"mask": WHITE_NAME}]}) and where(left) == ["regions[0].glow", "regions[1].mask", "guides[0].image"]


# --- files ---

@pytest.fixture
def travel(monkeypatch, tmp_path):
    """lib_mixdiff.host.travel, with images kept in an empty folder."""
    if str(ROOT / "minihost") not in sys.path:
        sys.path.append(str(ROOT / "minihost"))
    from modules import shared

    from lib_mixdiff.host import travel
    monkeypatch.setattr(shared, "data_path", str(tmp_path))
    return travel


def png(**texts: str) -> bytes:
    file, info = io.BytesIO(), PngInfo()
    for key, text in texts.items():
        info.add_text(key, text)
    Image.new("RGB", (64, 64)).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def line(plan: object) -> str:
    return LINE.replace("{}", json.dumps(json.dumps(plan)))


def masked() -> dict:
    return chunk.bundled(Plan.from_dict(MASKED), lambda name: WHITE)


def in_exif(format: str, infotext: str, prefix: bytes = b"UNICODE\0", encoding: str = "utf-16-be") -> bytes:
    """As piexif.helper.UserComment.dump, which the WebUI uses."""
    image, file = Image.new("RGB", (64, 64)), io.BytesIO()
    exif = image.getexif()
    exif[0x8769] = {0x9286: prefix + infotext.encode(encoding)}
    image.save(file, format, exif=exif)
    return file.getvalue()


@pytest.mark.parametrize("file", [
    lambda: png(mixdiff=chunk.packed(masked())), lambda: json.dumps(masked()).encode(), lambda: b"\xef\xbb\xbf \n" + json.dumps(masked()).encode(),
    lambda: chunk.packed(masked()).encode() + b"\n"], ids=["chunk", "preset", "preset with blanks", "chunk alone"])
def test_a_file_brings_its_masks(travel, tmp_path, file):
    assert travel.read(file()) == {"plan": Plan.from_dict(MASKED).to_dict(defaults=False), "left_out": []}
    assert (tmp_path / "mixdiff" / "assets" / WHITE_NAME[7:]).read_bytes() == WHITE


def test_a_picture_brings_its_infotext_too(travel):
    """For the prompt and the settings; the plan is the chunk's."""
    other = line({"regions": [{"prompt": "another"}]})
    assert travel.read(png(parameters=other, mixdiff=chunk.packed(masked()))) == {
        "plan": Plan.from_dict(MASKED).to_dict(defaults=False), "left_out": [], "infotext": other}
    assert travel.read(in_exif("JPEG", other))["infotext"] == other
    assert "infotext" not in travel.read(png(parameters="a cat\nSteps: 3, Sampler: Euler, Seed: 1", mixdiff=chunk.packed(masked()))), (
        "pasting it would switch mixdiff off")


@pytest.mark.parametrize("file", [
    lambda text: png(parameters=text), lambda text: in_exif("JPEG", text), lambda text: in_exif("WEBP", text), lambda text: text.encode(),
    lambda text: in_exif("JPEG", text, b"ASCII\0\0\0", "ascii"), lambda text: in_exif("JPEG", text, bytes(8), "utf-8")],
    ids=["png", "jpeg", "webp", "txt", "jpeg, ascii", "jpeg, undefined"])
def test_a_line_of_parameters_brings_hashes_and_says_what_is_not_here(travel, file):
    found = travel.read(file(line(MASKED)))
    assert found["plan"] == Plan.from_dict(MASKED).to_dict(defaults=False)
    assert where(found["left_out"]) == ["regions[0].mask"] and WHITE_NAME[:50] in found["left_out"][0]
    travel.read(png(mixdiff=chunk.packed(masked())))
    assert travel.read(file(line(MASKED)))["left_out"] == []


def test_a_plan_with_images_in_it(travel):
    plan = {"regions": [{"mask": base64.b64encode(WHITE).decode()}, {"mask": base64.b64encode(WHITE[:40]).decode()}]}
    found = travel.read(json.dumps(plan).encode())
    assert found["plan"]["regions"] == [{"mask": WHITE_NAME}] and where(found["left_out"]) == ["regions[1].mask"]


def test_a_broken_chunk_falls_back_to_the_line(travel):
    found = travel.read(png(parameters=line({"base": {"share": 0.5}, "glow": 1}), mixdiff="AAAA"))
    assert found["plan"]["base"] == {"share": 0.5} and where(found["left_out"]) == ["mixdiff", "glow"]


def test_an_image_of_the_chunk_that_is_none(travel):
    bad = "sha256:" + hashlib.sha256(b"no image").hexdigest()
    document = {"plan": {"regions": [{"mask": bad}]}, "images": {bad: base64.b64encode(b"no image").decode()}}
    assert where(travel.read(json.dumps(document).encode())["left_out"]) == ["asset", "regions[0].mask"]


@pytest.mark.parametrize("data", [b"", b"no plan", bytes(1000), WHITE, WHITE[:50], png(parameters="a cat\nSteps: 3, Sampler: Euler, Seed: 1"),
                                  png(mixdiff="AAAA"), b"{", "é".encode("utf-16")])
def test_a_file_without_a_plan_says_so(travel, data):
    with pytest.raises(PlanError, match="plan"):
        travel.read(data)


def test_texts_behind_the_pixels_are_found(travel):
    """Where other programs put them."""
    with_text, plain = png(mixdiff=chunk.packed(masked())), png()
    end = plain.index(b"IEND") - 4
    start = with_text.index(b"tEXt") - 4
    length = 12 + int.from_bytes(with_text[start:start + 4], "big")
    moved = plain[:end] + with_text[start:start + length] + plain[end:]
    assert travel.read(moved)["left_out"] == []


def test_a_saved_file_carries_it(travel):
    travel.read(png(mixdiff=chunk.packed(masked())))
    saved = SimpleNamespace(filename="00001.png", pnginfo={"parameters": line(MASKED)})
    travel.carry_in_file(saved)
    assert chunk.opened(chunk.unpacked(saved.pnginfo["mixdiff"]))[1] == {WHITE_NAME: WHITE}
    for filename, texts in (("00001.jpg", {"parameters": line(MASKED)}), ("1.png", {"parameters": LINE.replace(", mixdiff: {}", "")}), ("1.png", {}),
                            ("1.png", {"parameters": line({"glow": 1})}), ("1.png", {"parameters": line(MASKED), "mixdiff": "its own"})):
        before = dict(texts)
        travel.carry_in_file(SimpleNamespace(filename=filename, pnginfo=texts))
        assert texts == before


# --- the paste button and "Send to" ---

def test_pasting_an_infotext(travel):
    def paste(plan: object) -> dict:
        params = {"Prompt": "a cat", "mixdiff": json.dumps(plan)}
        travel.pasted("", params)
        return params

    good = paste({"base": {"share": 0.5}})
    assert good == {"Prompt": "a cat", "mixdiff": '{"base": {"share": 0.5}}'} and travel.left_out(good) == ""
    found = paste({"base": {"share": 0.5}, "<b>": 1, "regions": [{"mask": NOWHERE}]})
    assert json.loads(found["mixdiff"]) == {"base": {"share": 0.5}, "regions": [{"mask": NOWHERE}], "v": 1}
    assert "&lt;b&gt;" in travel.left_out(found) and "regions[0].mask" in travel.left_out(found) and "<b>" not in travel.left_out(found)
    assert travel.left_out(found) != travel.left_out(found), "the page sees a change each time"
    plain = {"Prompt": "a cat"}
    travel.pasted("", plain)
    assert plain == {"Prompt": "a cat"} and travel.left_out(plain) == ""
