"""Styles and wildcards in the prompts of a plan, on either host."""
from __future__ import annotations

import json
from itertools import count
from pathlib import Path

import pytest

from minihost.client import ROOT
from tests.host.jobs import LEFT_RIGHT

NAME = "mixdiff-test-colour"
PLAN = {"regions": [{"box": [0, 0, 0.5, 1], "prompt": f"a __{NAME}__ circle", "negative_prompt": f"__{NAME}__"}, {"box": [0.5, 0, 1, 1]}],
        "hires": {"base": {"share": 0.1}}}


@pytest.fixture
def colours(host):
    """The folder of wildcards beside the WebUI's own, with a file of two lines."""
    model = Path(host.get("/sdapi/v1/sd-models")[0]["filename"])
    home = model.parents[2] if model.parent.name == "Stable-diffusion" else ROOT / "out" / "webui"
    (home / "wildcards").mkdir(exist_ok=True, parents=True)
    file = home / "wildcards" / f"{NAME}.txt"
    file.write_text("red\nblue\n")
    yield file
    file.unlink()


def plan_under(answer, picture: int) -> dict:
    line = answer.info["infotexts"][picture].split("mixdiff: ")[1]
    return json.loads(json.JSONDecoder().raw_decode(line)[0])


def test_each_batch_has_its_lines_and_each_picture_comes_back(host, colours):
    answer = host.txt2img(PLAN, seed=3, n_iter=4, batch_size=2, enable_hr=True, hr_scale=1.5, denoising_strength=0.7, hr_second_pass_steps=2, hr_upscaler="Latent")
    if answer.status == 501:
        pytest.skip(answer.error)
    assert answer.status == 200, answer.error
    plans = [plan_under(answer, picture + answer.info["index_of_first_image"]) for picture in range(8)]
    said = [plan["regions"][0]["prompt"] for plan in plans]
    assert said[::2] == said[1::2] and set(said) == {"a red circle", "a blue circle"}, "by the seed of the batch's first picture"
    assert all(plan["regions"][0]["negative_prompt"] in ("red", "blue") for plan in plans)
    first = next(batch for batch in count(1) if said[2 * batch] != said[0])
    again = host.txt2img(plans[2 * first], seed=3 + 2 * first, batch_size=2, enable_hr=True, hr_scale=1.5, denoising_strength=0.7, hr_second_pass_steps=2, hr_upscaler="Latent")
    assert [(a == b).all() for a, b in zip(again.pictures, answer.pictures[2 * first:])] == [True, True], "without the file's help"


def test_a_wildcard_that_is_not_there_is_named_and_there_is_no_picture(host, colours):
    plan = {"regions": [{"prompt": "a circle"}, {"prompt": "a __mixdiff-test-nothing__ circle"}]}
    answer = host.txt2img(plan)
    assert answer.status == 422 and "regions[1].prompt" in answer.error and "__mixdiff-test-nothing__" in answer.error and NAME in answer.error
    with pytest.raises(Exception, match="422"):
        host.post("/mixdiff/v1/check", {"plan": plan})
    assert host.post("/mixdiff/v1/check", {"plan": PLAN})["plan"]["regions"][0]["prompt"] == PLAN["regions"][0]["prompt"]


def test_the_jobs_styles_are_the_regions_too(host):
    """As if they had been written into each prompt; and once, where they stand already."""
    styles = {style["name"]: style for style in host.get("/sdapi/v1/prompt-styles")} if "/sdapi/v1/prompt-styles" in host.get("/openapi.json")["paths"] else {}
    if not (style := styles.get("mixdiff-probe")):
        pytest.skip("needs a WebUI with the style mixdiff-probe")
    positive, negative = (style[key] or "" for key in ("prompt", "negative_prompt"))
    plan = {"regions": [{**region, "negative_prompt": "blurry"} for region in LEFT_RIGHT["regions"]]}

    def with_style(text: str, style: str) -> str:
        return style.replace("{prompt}", text) if "{prompt}" in style else ", ".join(filter(None, (text, style)))

    written = {"regions": [{**r, "prompt": with_style(r["prompt"], positive), "negative_prompt": with_style("blurry", negative)} for r in plan["regions"]]}
    fields = {"prompt": "a gray background", "negative_prompt": "dark"}
    expected = host.txt2img(written, **{"prompt": with_style(fields["prompt"], positive), "negative_prompt": with_style(fields["negative_prompt"], negative)})
    for each in (plan, written):
        answer = host.txt2img(each, styles=["mixdiff-probe"], **fields)
        assert answer.status == 200 and (answer.pictures[0] == expected.pictures[0]).all()
        assert plan_under(answer, answer.info["index_of_first_image"])["regions"][0]["prompt"] == written["regions"][0]["prompt"]
