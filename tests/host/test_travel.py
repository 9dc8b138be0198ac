"""A picture carries its plan, and the plan comes back from it, over HTTP."""
from __future__ import annotations

import base64
import hashlib
import io
import json
import uuid
from urllib.parse import quote

import numpy as np
import pytest
import requests
from PIL import Image

from lib_mixdiff import chunk
from lib_mixdiff.plan import Plan
from tests.host.jobs import LEFT_RIGHT, OTHER, encoded, picture
from tests.test_masks import painted


def files(answer) -> list[bytes]:
    assert answer.status == 200, answer.error
    return [base64.b64decode(image) for image in answer.body["images"]]


def carried(file: bytes) -> tuple[Plan, dict[str, bytes]]:
    """What the chunk of a PNG holds."""
    plan, images, left = chunk.opened(chunk.unpacked(Image.open(io.BytesIO(file)).info["mixdiff"]))
    assert left == []
    return Plan.from_dict(plan), images


def line_of(file: bytes) -> str:
    return Image.open(io.BytesIO(file)).info["parameters"].split("mixdiff: ")[1]


def by_hash(image: str) -> str:
    return "sha256:" + hashlib.sha256(base64.b64decode(image)).hexdigest()


def test_an_api_picture_carries_its_plan_and_its_masks(host):
    mask = painted(0, 0, 0.5, 1)
    made = files(host.txt2img({"regions": [{"mask": mask, "prompt": OTHER, "window": "constant"}]}))
    plan, images = carried(made[0])
    assert plan == Plan.from_dict({"regions": [{"mask": by_hash(mask), "prompt": OTHER, "window": "constant"}]})
    assert images == {by_hash(mask): base64.b64decode(mask)}
    assert "\n" not in line_of(made[0]) and mask[:40] not in line_of(made[0]), "the infotext stays one readable line"


@pytest.mark.parametrize("job", ["txt2img", "img2img"])
def test_each_picture_of_a_job_carries_its_own_seeds(host, job):
    fields = {"init_images": [picture()]} if job == "img2img" else {}
    answer = host.run(job, {"regions": [{"box": [0, 0, 0.5, 1], "seed": 40}, {"box": [0.5, 0, 1, 1]}]}, batch_size=2, n_iter=2, **fields)
    made = files(answer)[answer.info["index_of_first_image"]:]
    assert [carried(file)[0].regions[0].seed for file in made] == [40, 41, 42, 43]
    assert all(carried(file)[0].regions[1].seed is None for file in made)


def test_a_small_guide_picture_travels_and_a_large_one_does_not(host):
    small = encoded(Image.new("RGB", (64, 64), "red"))
    noise = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)))
    plan, images = carried(files(host.txt2img({"guides": [{"image": noise, "box": [0, 0, 0.5, 1]}, {"image": small, "box": [0.5, 0, 1, 1]}]}))[0])
    assert [guide.image for guide in plan.guides] == [by_hash(noise), by_hash(small)] and set(images) == {by_hash(small)}


def test_a_plain_job_carries_nothing(host):
    for plan in (None, {}, [False, LEFT_RIGHT]):
        assert set(Image.open(io.BytesIO(files(host.txt2img(plan))[0])).info) == {"parameters"}


def test_what_the_chunk_says_makes_the_same_picture(host):
    first = host.txt2img({"regions": [{"mask": painted(0, 0, 0.5, 1), "prompt": OTHER, "seed": -1}]})
    plan, _ = carried(files(first)[0])
    assert host.txt2img(plan.to_dict()).body["images"] == first.body["images"]


def test_the_grid_and_the_saved_files_carry_it_too(host, tmp_path):
    answer = host.txt2img(LEFT_RIGHT | {"regions": [{**region, "seed": 7} for region in LEFT_RIGHT["regions"]]}, batch_size=2, save_images=True,
                          override_settings={"return_grid": True, "grid_save": True, "samples_save": True})
    if answer.status == 501:
        pytest.skip(answer.error)
    grid, *rest = files(answer)
    assert answer.info["index_of_first_image"] == 1
    assert [carried(file)[0].regions[0].seed for file in (grid, *rest)] == [7, 7, 8]


def test_it_comes_back_with_png_info(host):
    made = files(host.txt2img(LEFT_RIGHT))[0]
    found = host.post("/sdapi/v1/png-info", {"image": base64.b64encode(made).decode()})
    assert json.loads(found["parameters"]["mixdiff"]) == Plan.from_dict(LEFT_RIGHT).to_dict(defaults=False)
    assert carried(made)[0] == Plan.from_dict(LEFT_RIGHT)


# --- back ---

def read(host, file: bytes, type: str = "application/octet-stream") -> tuple[int, dict]:
    answer = requests.post(f"{host.url}/mixdiff/v1/read", data=file, headers={"Content-Type": type}, timeout=60)
    return answer.status_code, answer.json()


def test_a_picture_is_read_and_makes_itself_again(host):
    mask = painted(0.25, 0, 0.75, 1)
    first = host.txt2img({"regions": [{"mask": mask, "prompt": OTHER, "seed": -1}], **{"guides": [{"image": picture(64, 64), "box": [0, 0, 0.5, 0.5]}]}})
    status, found = read(host, files(first)[0])
    assert status == 200 and found["left_out"] == []
    assert Plan.from_dict(found["plan"]) == carried(files(first)[0])[0]
    assert host.txt2img(found["plan"]).body["images"] == first.body["images"]


def test_the_images_of_a_picture_from_elsewhere_are_kept(host):
    """One that no test has sent before: its chunk is all there is."""
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng().integers(1, 256, (16, 16), np.uint8)).save(file, "PNG")
    name = "sha256:" + hashlib.sha256(file.getvalue()).hexdigest()
    document = {"plan": {"regions": [{"mask": name, "prompt": OTHER}]}, "images": {name: base64.b64encode(file.getvalue()).decode()}}
    missing = read(host, json.dumps(document["plan"]).encode())[1]["left_out"]
    assert len(missing) == 1 and missing[0].startswith("regions[0].mask: ") and "is not here" in missing[0]
    assert host.txt2img(document["plan"]).status == 422
    assert read(host, chunk.packed(document).encode()) == (200, {"plan": {"v": 1, **document["plan"]}, "left_out": []})
    assert host.txt2img(document["plan"]).status == 200


def test_a_foreign_plan_is_read_as_far_as_it_is_understood_and_not_made(host):
    foreign = {"v": 7, "glow": 3, "regions": [{"prompt": OTHER, "box": [0, 0, 0.5, 1], "seed": "x"}, {"box": [2, 2, 3, 3]}]}
    status, found = read(host, json.dumps(foreign).encode())
    assert (status, found["plan"]) == (200, {"v": 1, "regions": [{"prompt": OTHER, "box": [0, 0, 0.5, 1]}]})
    assert {sentence.split(": ")[0] for sentence in found["left_out"]} == {"v", "glow", "regions[0].seed", "regions[1].box"}
    assert host.txt2img(foreign).status == 422


def test_a_job_from_an_infotext_is_strict(host):
    """The API's own field, which goes another way than pasting."""
    made = host.txt2img(LEFT_RIGHT).info["infotexts"][0]
    answer = host.txt2img(infotext=made.replace("regions", "glow"))
    if answer.status == 501:
        pytest.skip(answer.error)
    assert answer.status == 422 and "glow" in answer.error
    assert "mixdiff: " in host.txt2img(infotext=made).info["infotexts"][0]


@pytest.mark.parametrize("file, said", [(b"", "no plan"), (b"nothing", "no plan"), (base64.b64decode(picture()), "no plan"), (b"{", "not JSON")])
def test_a_file_without_a_plan_is_named(host, file, said):
    status, found = read(host, file)
    assert status == 422 and said in found["errors"]


@pytest.mark.parametrize("type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_what_other_sites_pages_can_send_is_not_read(host, type):
    assert read(host, b"{}", type)[0] == 422


# --- presets ---

def ask(host, method: str, name: str, **body) -> tuple[int, dict]:
    answer = requests.request(method, f"{host.url}/mixdiff/v1/presets{name}", timeout=60, **body)
    return answer.status_code, answer.json()


@pytest.fixture
def preset(host):
    """A name that no other run has, cleared afterwards."""
    name = f"test {uuid.uuid4().hex} é"
    yield name
    for each in ask(host, "GET", "")[1]["presets"]:
        if each.startswith(name[:20]):
            ask(host, "DELETE", "/" + quote(each))


def test_a_preset_holds_the_whole_plan_and_all_its_images(host, preset):
    guide = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)))
    plan = {"regions": [{"mask": painted(0, 0, 0.5, 1), "prompt": OTHER, "seed": -1}], "guides": [{"image": guide}]}
    assert ask(host, "PUT", "/" + quote(preset), json={"plan": plan}) == (200, {"name": preset})
    assert preset in ask(host, "GET", "")[1]["presets"]
    status, document = ask(host, "GET", "/" + quote(preset))
    assert status == 200 and len(document["images"]) == 2
    assert document["plan"] == Plan.from_dict(document["plan"]).to_dict() and document["plan"]["regions"][0]["seed"] == -1
    status, found = read(host, json.dumps(document).encode())
    assert status == 200 and found["left_out"] == [] and Plan.from_dict(found["plan"]) == Plan.from_dict(document["plan"])
    assert Plan.from_dict(found["plan"]).guides[0].image == by_hash(guide)


def test_presets_are_not_overwritten_unasked_renamed_and_deleted(host, preset):
    path, other = "/" + quote(preset), preset + " 2"
    assert ask(host, "PUT", path, json={"plan": {}})[0] == ask(host, "PUT", path, json={"plan": LEFT_RIGHT, "overwrite": True})[0] == 200
    for body in ({"plan": {}}, {"plan": {}, "overwrite": "yes"}):
        status, found = ask(host, "PUT", path, json=body)
        assert status == 409 and "already" in found["errors"]
    assert ask(host, "PATCH", path, json={"name": other}) == (200, {"name": other})
    assert ask(host, "GET", path)[0] == ask(host, "DELETE", path)[0] == ask(host, "PATCH", path, json={"name": "x"})[0] == 404
    assert len(ask(host, "GET", "/" + quote(other))[1]["plan"]["regions"]) == 2
    status, found = ask(host, "DELETE", "/" + quote(other))
    assert status == 200 and other not in found["presets"]


@pytest.mark.parametrize("name", ["..%2F..%2Fconfig", "%2e%2e%5cconfig", "%2Fetc%2Fpasswd", "a%00b", "con", "a" * 81, "a%0Ab"])
def test_presets_stay_in_their_folder(host, name):
    before = ask(host, "GET", "")
    for method, body in (("GET", {}), ("PUT", {"json": {"plan": {}}}), ("PATCH", {"json": {"name": "x"}}), ("DELETE", {})):
        answer = requests.request(method, f"{host.url}/mixdiff/v1/presets/{name}", timeout=60, **body)
        assert answer.status_code in (404, 405, 422), (method, answer.status_code)
    assert ask(host, "GET", "") == before


def test_a_bad_preset_is_refused_by_field(host, preset):
    for body, said in (({"json": {"plan": {"regions": [{"weight": -1}]}}}, "regions[0].weight"), ({"data": "{}"}, "application/json"),
                       ({"json": {"plan": {"regions": [{"mask": "iVBORw0KGgo" + 17 * "A"}]}}}, "regions[0].mask")):
        status, found = ask(host, "PUT", "/" + quote(preset), **body)
        assert status == 422 and said in found["errors"]
    assert preset not in ask(host, "GET", "")[1]["presets"]
