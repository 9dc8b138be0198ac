"""The routes under /mixdiff/v1, on either host."""
from __future__ import annotations

import base64
import hashlib
import io

import pytest
import requests
from PIL import Image

from lib_mixdiff import __version__
from lib_mixdiff.influence import rgb
from tests.bad_plans import BAD_PLANS
from tests.host.jobs import LAWFUL, LEFT_RIGHT, picture


@pytest.fixture
def ask(host):
    def ask(method: str, name: str, **body) -> tuple[int, dict]:
        answer = requests.request(method, f"{host.url}/mixdiff/v1/{name}", timeout=60, **body)
        return answer.status_code, answer.json()
    return ask


def test_the_schema_and_the_version(ask):
    status, schema = ask("GET", "schema")
    assert status == 200 and set(schema["$defs"]["Plan"]["properties"]) >= {"regions", "base", "hires", "amdm"}
    assert ask("GET", "version") == (200, {"mixdiff": __version__, "plan": 1})


def test_a_plan_is_written_out_and_its_cost_is_what_it_takes(host, ask):
    fields = {"width": 128, "height": 128, "steps": 6, "batch_size": 2, "cfg_scale": 5, "sampler_name": "Euler", "prompt": "a red circle AND a cross"}
    for plan in (LEFT_RIGHT, {"regions": [{"box": [0, 0, 0.5, 1]}]}, {"regions": [{"prompt": "a cross AND a circle"}]}, {}):
        status, found = ask("POST", "check", json={"plan": plan, "job": fields})
        assert status == 200 and found["plan"]["regions"] == [{**found["plan"]["regions"][i], **r} for i, r in enumerate(plan.get("regions", []))]
        assert host.txt2img(plan, probe={}, **fields).status == 200
        calls = host.calls()
        cells = sum(rows * height * width for rows, _, height, width in calls)
        assert (found["cost"]["calls"], found["cost"]["passes"][0]["rows"]) == (len(calls), sum(c[0] for c in calls))
        assert found["cost"]["work"] == pytest.approx(cells / (6 * 6 * 16 * 16))
        assert found["cost"]["memory"] == pytest.approx(max(rows * height * width for rows, _, height, width in calls) / (6 * 16 * 16))


def test_the_parts_of_the_cost_are_all_of_it(ask):
    """What each part of a plan takes: two of three boxes draw, in tiles, beside another model, with a hires pass."""
    regions = [{"box": [0, 0, 0.5, 1]}, {"box": [0, 0, 1, 1], "enabled": False}, {"box": [0.5, 0, 1, 0.5]}]
    plan = {"regions": regions, "tiles": {"width": 64, "height": 64}, "model": {"afa": {"models": ["shapes", "shapes"], "mode": "noise"}},
            "amdm": {"steps": 2, "models": [{"weight": 0}, {"plan": {}}]}}
    fields = {"width": 256, "height": 128, "steps": 6, "cfg_scale": 5, "sampler_name": "Euler", "enable_hr": True, "denoising_strength": 0.5}
    status, found = ask("POST", "check", json={"plan": plan, "job": fields})
    assert status == 200, found
    for each in found["cost"]["passes"]:
        shares = each["shares"]
        assert set(shares) == {"regions[0]", "regions[2]", "base", "amdm.models[1]", "amdm", "tiles", "model"}
        assert sum(shares[name] for name in ("regions[0]", "regions[2]", "base", "amdm")) == pytest.approx(1)
        assert shares["amdm"] == shares["amdm.models[1]"] and shares["regions[0]"] > shares["regions[2]"] > 0
        assert shares["model"] == pytest.approx((1 - shares["amdm"]) / 2), "the second of two U-Nets"
        assert 0 < shares["tiles"] < 1 - shares["amdm"]
    first, second = (each["share"] for each in found["cost"]["passes"])
    assert first + second == pytest.approx(1) and second > first
    assert ask("POST", "check", json={"job": fields})[1]["cost"]["passes"][0]["shares"] == {"base": 1}


def test_a_setting_of_several_choices_is_read_and_changed(ask):
    """As the page's panels do, for maps of who leads and of where words look."""
    before = ask("GET", "settings")[1]
    assert before["mixdiff_leads"]["choices"] == ["no", "some blocks", "all blocks"]
    try:
        assert ask("PUT", "settings", json={"mixdiff_leads": "all blocks"})[1]["mixdiff_leads"]["value"] == "all blocks"
    finally:
        again = ask("PUT", "settings", json={"mixdiff_leads": before["mixdiff_leads"]["value"]})
    assert again == (200, before)
    assert ask("PUT", "settings", json={"mixdiff_leads": before["mixdiff_leads"]["value"]}) == (200, before)
    for wrong in ({"mixdiff_leads": "perhaps"}, {"sd_model_checkpoint": "other"}, {"mixdiff_tile_batch": 3}):
        status, found = ask("PUT", "settings", json=wrong)
        assert status == 422 and next(iter(wrong)) in found["errors"]
    assert ask("GET", "settings") == (200, before)


@pytest.mark.parametrize("name", ["hires, latent", "hires, resize and cut", "img2img", "img2img, batch 2, n_iter 2", "img2img, 72x104"])
def test_the_cost_of_each_pass(host, ask, name):
    route, fields = LAWFUL[name]
    fields = {"width": 128, "height": 128, "steps": 3, "cfg_scale": 5, "sampler_name": "Euler", "prompt": "a red circle", **fields}
    answer = host.run(route, LEFT_RIGHT, probe={}, **fields)
    if answer.status == 501:
        pytest.skip(answer.error)
    cost = ask("POST", "check", json={"plan": LEFT_RIGHT, "job": fields})[1]["cost"]
    calls = host.calls()
    assert cost["calls"] == len(calls)
    assert sum(p["rows"] for p in cost["passes"]) * fields.get("n_iter", 1) == sum(c[0] for c in calls)


def test_a_bad_plan_is_named_by_field_value_and_remedy(ask):
    for name, plan, field in BAD_PLANS:
        status, found = ask("POST", "check", json={"plan": plan})
        assert status == 422 and field in found["errors"] and found["remedy"] in found["errors"] and "value" in found, name
        assert found["field"] in found["errors"], name


@pytest.mark.parametrize("body", [{"json": []}, {"data": "{"}, {"json": {"job": 3}}, {"json": {"job": {"width": "wide"}}}, {"json": {"job": {"steps": 0}}}])
def test_other_bodies_are_refused(ask, body):
    assert ask("POST", "check", **body)[0] == 422


def test_what_the_job_cannot_have_is_refused_here_too(ask):
    status, found = ask("POST", "check", json={"plan": LEFT_RIGHT, "job": {"tiling": True}})
    assert status == 422 and "Tiling" in found["errors"]


def test_an_image_is_kept_under_its_hash(ask):
    data = base64.b64decode(picture(64, 96))
    for _ in range(2):
        assert ask("PUT", "assets", data=data) == (200, {"sha256": "sha256:" + hashlib.sha256(data).hexdigest(), "width": 64, "height": 96})


@pytest.mark.parametrize("data", [b"", b"no image", base64.b64decode(picture(64, 64))[:200]])
def test_what_is_no_image_is_not_kept(ask, data):
    status, found = ask("PUT", "assets", data=data)
    assert status == 422 and "PNG" in found["errors"]


def test_a_stored_image_comes_back(host, ask):
    data = base64.b64decode(picture(64, 96))
    name = ask("PUT", "assets", data=data)[1]["sha256"].partition(":")[2]
    answer = requests.get(f"{host.url}/mixdiff/v1/assets/{name}", timeout=60)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, data, "image/png")
    assert requests.get(f"{host.url}/mixdiff/v1/assets/{'0' * 64}", timeout=60).status_code == 404


def test_the_influence_of_regions_is_a_picture_at_latent_resolution(host, ask):
    answer = requests.post(f"{host.url}/mixdiff/v1/preview", timeout=60, json={"plan": LEFT_RIGHT, "job": {"width": 128, "height": 64}})
    image = Image.open(io.BytesIO(answer.content))
    assert (answer.status_code, answer.headers["content-type"], image.size) == (200, "image/png", (16, 8))
    left, right = (tuple(rgb(color).astype(int)) for color in ask("GET", "schema")[1]["x-colors"][:2])
    assert image.getpixel((0, 4)) == left and image.getpixel((15, 4)) == right
    status, found = ask("POST", "preview", json={"plan": {"regions": [{"weight": -1}]}})
    assert status == 422 and found["field"] == "regions[0].weight"
    assert ask("POST", "preview", json={"plan": LEFT_RIGHT, "job": {"tiling": True}})[0] == 422


@pytest.mark.parametrize("job, left", [
    ({"width": 16384, "height": 16384}, "16384x16384"), ({"enable_hr": True, "width": 8192, "height": 8192}, "16384x16384"),
    ({"enable_hr": True, "width": 4096, "height": 64, "hr_resize_x": 4}, "0x0"), ({"enable_hr": True, "hr_resize_x": 7, "hr_resize_y": 7}, "0x0")])
def test_a_pass_that_is_empty_or_too_large_is_neither_counted_nor_drawn(ask, job, left):
    for route in ("check", "preview"):
        status, found = ask("POST", route, json={"plan": LEFT_RIGHT, "job": job})
        assert status == 422 and left in found["errors"] and "megapixels" in found["remedy"]


def test_the_tokens_of_a_regions_prompts(ask):
    long = "a red circle " * 30
    plan = {"regions": [{"prompt": "a red circle", "negative_prompt": ""}, {"prompt": f"[{long}:a cross:0.5] AND a cross"}, {}]}
    status, found = ask("POST", "check", json={"plan": plan})
    assert status == 200 and found["tokens"] == [{"prompt": [3, 75], "negative_prompt": [0, 75]},
                                                 {"prompt": [90, 150], "negative_prompt": None}, {"prompt": None, "negative_prompt": None}]
