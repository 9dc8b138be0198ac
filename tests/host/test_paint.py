"""Paint-with-words over HTTP, on either host: what is not painted is the plain job, what is said the same way is painted the same."""
from __future__ import annotations

import numpy as np
import pytest
import requests
from PIL import Image

from tests.host.jobs import LONG, encoded

TWO = "a red circle and a blue square on a gray background"
FILLER = "a red square " * 24           # 72 tokens of 75
SAMPLERS = ["Euler", "DDIM"]


def mask(left: float, top: float, right: float, bottom: float, size: int = 128, grey: int = 255) -> str:
    """A box in fractions of the canvas, as a plan has it."""
    pixels = np.zeros((size, size), np.uint8)
    pixels[round(top * size):round(bottom * size), round(left * size):round(right * size)] = grey
    return encoded(Image.fromarray(pixels))


LEFT, RIGHT = mask(0.1, 0.2, 0.4, 0.8), mask(0.6, 0.2, 0.9, 0.8)


def paint(*phrases: tuple, **keys) -> dict:
    """Phrases with their masks, and with more of their keys."""
    return {"paint": {"phrases": [{"phrase": phrase, "mask": where, **(more[0] if more else {})} for phrase, where, *more in phrases], **keys}}


BOTH = paint(("red circle", LEFT), ("blue square", RIGHT))


def latents(host, plan: object = None, route: str = "txt2img", **fields) -> np.ndarray:
    answer = host.run(route, plan, probe={"steady": True}, **{"prompt": TWO, **fields})
    if answer.status == 501:
        pytest.skip(answer.error)
    assert answer.status == 200, answer.error
    return host.latents()


def same(a: np.ndarray, b: np.ndarray, within: float = 1e-2) -> bool:
    return bool(np.abs(a - b).max() < within * max(1.0, np.abs(b).max()))


def other(a: np.ndarray, b: np.ndarray) -> bool:
    """By more than rounding: random checkpoints hardly listen to their prompts."""
    return not same(a, b, 2e-5)


JOBS = {"one": {}, "batch 2": {"batch_size": 2}, "AND": {"prompt": f"{TWO} AND a blue square :0.6"}, "long": {"prompt": f"{LONG} {TWO}"},
        "editing": {"prompt": f"{TWO} [a cross:a triangle:0.5]"}}


@pytest.mark.parametrize("sampler, job", [*(("Euler", job) for job in JOBS), ("DDIM", "one")])
def test_strength_0_is_no_paint_bit_by_bit(host, sampler, job):
    fields = {"sampler_name": sampler, **JOBS[job]}
    plain = latents(host, **fields)
    assert np.array_equal(latents(host, {**BOTH, "paint": {**BOTH["paint"], "strength": 0}}, **fields), plain)
    assert np.array_equal(latents(host, paint(("red circle", LEFT, {"strength": 0})), **fields), plain)
    painted = latents(host, BOTH, **fields)
    assert other(painted, plain) and np.isfinite(painted).all()
    assert np.array_equal(latents(host, **fields), plain), "nothing stays behind"


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_batch_is_its_single_jobs(host, sampler):
    singles = [latents(host, BOTH, sampler_name=sampler, seed=seed) for seed in range(11, 15)]
    batches = {"batch_size": 4} if sampler == "Euler" else {"batch_size": 2, "n_iter": 2}
    assert same(latents(host, BOTH, sampler_name=sampler, **batches), np.concatenate(singles))


@pytest.mark.parametrize("job, phrase", {
    "emphasis": ({"prompt": "a (red:1.2) [circle] and a blue square"}, "red circle"),
    "later chunk": ({"prompt": f"{FILLER} a a a a blue circle"}, "blue circle"),
    "border of chunks": ({"prompt": f"{FILLER} a a blue circle"}, "blue circle"),
    "BREAK": ({"prompt": f"a green cross BREAK {TWO}"}, "red circle"),
    "AND": ({"prompt": f"a green cross AND {TWO} :0.7"}, "red circle"),
    "editing": ({"prompt": "a [green cross:red circle:0.4] and a blue square", "steps": 5}, "red circle"),
    "alternating": ({"prompt": "a [green|red] circle and a blue square", "steps": 4}, "red circle"),
}.values(), ids=["emphasis", "later chunk", "border of chunks", "BREAK", "AND", "editing", "alternating"])
def test_a_phrase_is_found_where_its_words_are(host, job, phrase):
    """Each of its words stands once, and is found by itself."""
    plain, painted = latents(host, **job), latents(host, paint((phrase, LEFT), strength=1), **job)
    first, second = phrase.split()
    assert other(painted, plain) and other(painted, latents(host, paint((second, LEFT), strength=1), **job))
    apart = latents(host, paint((first, LEFT), (second, LEFT), strength=1), **job)
    if "|" in job["prompt"]:
        assert other(apart, painted), "where red is not, the circle alone is no red circle"
    else:
        assert np.array_equal(apart, painted)


def test_a_phrase_is_its_words(host):
    prompt = "a (red:1.2) circle and a blue square"
    together = latents(host, paint(("red circle", LEFT)), prompt=prompt)
    assert np.array_equal(latents(host, paint(("red", LEFT), ("circle", LEFT)), prompt=prompt), together)
    assert np.array_equal(latents(host, paint(("(red:1.4) circle", LEFT)), prompt=prompt), together), "emphasis is no part of it"
    assert other(latents(host, paint(("circle", LEFT)), prompt=prompt), together)


def test_the_larger_of_two_masks_holds_and_grey_is_less(host):
    grey = mask(0.1, 0.2, 0.4, 0.8, grey=51)
    assert np.array_equal(latents(host, paint(("red circle", LEFT), ("red circle", grey))), latents(host, paint(("red circle", LEFT))))
    assert same(latents(host, paint(("red circle", grey))), latents(host, paint(("red circle", LEFT, {"strength": 0.2}))), 1e-3)
    assert np.array_equal(latents(host, paint(("red circle", LEFT, {"strength": 0.5}))), latents(host, paint(("red circle", LEFT), strength=0.1)))
    assert same(latents(host, paint(("red circle", mask(0.125, 0.25, 0.5, 0.75, 512)))),
                latents(host, paint(("red circle", mask(0.125, 0.25, 0.5, 0.75, 64)))), 1e-4), "of any resolution"


def test_ranges_and_scales(host):
    plain, always = latents(host, steps=4), latents(host, BOTH, steps=4)
    never = {"unit": "sigma", "from": 1e-6, "to": 0}
    assert same(latents(host, paint(("red circle", LEFT), range=never), steps=4), plain, 1e-4)
    whole = {"unit": "steps", "from": 0, "to": 1}
    assert np.array_equal(latents(host, {"paint": {**BOTH["paint"], "range": whole}}, steps=4), always)
    half = latents(host, {"paint": {**BOTH["paint"], "range": {**whole, "to": 0.5}}}, steps=4)
    std = latents(host, {"paint": {**BOTH["paint"], "scale": "std"}}, steps=4)
    assert other(half, always) and other(half, plain) and other(std, always) and other(std, plain)


def test_painted_in_a_region_and_in_tiles_as_in_the_base(host):
    base = latents(host, BOTH, sampler_name="DDIM")
    region = {"name": "all", "prompt": TWO}
    assert same(latents(host, {**BOTH, "regions": [region]}, prompt="a green cross", sampler_name="DDIM"), base)
    assert same(latents(host, {**BOTH, "tiles": {"width": 64, "height": 64}}, sampler_name="DDIM"), base)
    tiles, size = {"tiles": {"width": 64, "height": 128, "overlap": 32}}, {"width": 128, "height": 128}
    assert other(latents(host, {**BOTH, **tiles}, sampler_name="DDIM", **size), latents(host, tiles, sampler_name="DDIM", **size))


def test_in_names_where(host):
    regions = {"regions": [{"name": "west", "box": [0, 0, 0.5, 1], "prompt": TWO}, {"name": "east", "box": [0.5, 0, 1, 1]}]}

    def drawn(*where: str):
        return latents(host, {**regions, **paint(("red circle", mask(0, 0.2, 1, 0.8), {"in": list(where)} if where else {}))})

    plain, everywhere = latents(host, regions), drawn()
    west, east, both = drawn("west"), drawn("east"), drawn("west", "east")
    assert np.array_equal(both, everywhere)
    first = np.abs(west - plain)
    assert other(west, plain) and other(east, plain) and other(west, east)
    assert first[..., :4].mean() > first[..., 4:].mean()
    regions["regions"][1]["enabled"] = False
    assert same(drawn("east"), latents(host, regions), 1e-4), "what is painted in a region rests with it"
    assert other(drawn("base"), latents(host, regions))


HALVES = {"regions": [{"name": "west", "box": [0, 0, 0.5, 1], "prompt": "a red circle"}, {"box": [0.5, 0, 1, 1], "prompt": "a cross"}]}


@pytest.mark.parametrize("plan, sentence", [
    (paint(("red cirle", LEFT)), 'paint.phrases[0].phrase: "red cirle" is not in the prompt, "a red circle and a blue square on a gray background"; use "red circle".'),
    (paint(("red circle", LEFT), ("elephant", LEFT)), "background\"; write it there, or leave the phrase out."),
    (paint(("RED  (cirle)", LEFT)), 'use "red circle".'),
    (paint(("red circle", LEFT, {"in": ["west"]})), 'paint.phrases[0].in[0]: there is no region "west"; use base.'),
    ({**paint(("blue square", LEFT, {"in": ["west"]})), "regions": [{"name": "west", "prompt": "a red circle"}]},
     'is not in the prompt of west, "a red circle"; '),
    ({**HALVES, **paint(("blue square", LEFT))}, "only in the job's own prompt, for which the regions leave no place; write it into a region's"),
    ({**HALVES, **paint(("red circle", LEFT, {"in": ["base"]}))}, "leave no place"),
    ({**HALVES, **paint(("a cross", LEFT))}, "lies where nobody says these words; paint it where \"a cross\" is said"),
    (paint(("red circle", mask(0, 0, 0, 0))), "paint.phrases[0].mask: nothing is in"),
])
def test_what_is_wrong_is_said(host, plan, sentence):
    answer = host.txt2img(plan, prompt=TWO)
    assert answer.status == 422
    assert sentence in answer.error, answer.error
    checked = requests.post(f"{host.url}/mixdiff/v1/check", json={"plan": plan, "job": {"prompt": TWO, "width": 128, "height": 128}}, timeout=60)
    assert checked.status_code == 422 and sentence in checked.json()["errors"], "said before the job, too"


def test_what_the_hires_pass_does_not_say_is_said_before_the_first_pass(host):
    hires = {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.7, "hr_upscaler": "Latent", "steps": 4}
    for fields in ({"prompt": TWO, "hr_prompt": "a detailed picture"}, {"prompt": "a [red circle:green cross:0.5] and a blue square"}):
        answer = host.txt2img(paint(("red circle", LEFT)), probe={}, **fields, **hires)
        assert answer.status == 422 and answer.error.startswith("hires.paint.phrases[0].phrase: \"red circle\" is not in the prompt"), answer.error
        assert 'leave it out there with "hires": {"paint": null}.' in answer.error or "use" in answer.error
        assert host.calls() == []
        job = {**fields, **hires, "width": 128, "height": 128, "sampler_name": "Euler"}
        checked = requests.post(f"{host.url}/mixdiff/v1/check", json={"plan": paint(("red circle", LEFT)), "job": job}, timeout=60)
        assert checked.status_code == 422 and checked.json()["field"] == "hires.paint.phrases[0].phrase"
        assert latents(host, {**paint(("red circle", LEFT)), "hires": {"paint": None}}, **fields, **hires).size


@pytest.mark.parametrize("job", ["AND", "long"])
def test_in_several_calls_it_is_the_same(host, job):
    """Rows of conds and unconds by themselves."""
    fields = {**JOBS[job], "batch_size": 2, "negative_prompt": "a cross"}
    together = latents(host, BOTH, **fields)
    assert same(latents(host, BOTH, **fields, override_settings={"batch_cond_uncond": False}), together)


def test_a_shifted_grid_keeps_no_place_of_its_tiles(host):
    plan = {**BOTH, "tiles": {"width": 64, "height": 64, "overlap": 16}}
    assert host.txt2img(plan, probe={"measure": "Words"}, prompt=TWO, width=192, height=192, steps=6).status == 200
    kept = [call["held"] for call in host.trace()["calls"]]
    assert 0 < max(kept) <= 2 * max(kept[:len(kept) // 3])


def test_each_picture_of_a_batch_has_its_prompt(host):
    """As scripts with wildcards write them."""
    prompts, plan = [TWO, f"{FILLER} a small red circle"], paint(("red circle", LEFT))
    singles = [latents(host, plan, prompt=prompt, seed=11 + i, negative_prompt=LONG) for i, prompt in enumerate(prompts)]

    def batch(*prompts):
        return host.txt2img(plan, probe={"steady": True, "prompts": prompts}, prompt=TWO, batch_size=2, negative_prompt=LONG)

    assert batch(prompts[0], prompts[0]).status == 200
    assert same(host.latents()[:1], singles[0])
    assert batch(*prompts).status == 200
    assert same(host.latents()[1:], singles[1]), "the longer one: the other's text is filled up, which changes it a little"
    answer = batch(TWO, "a red square")
    assert answer.status == 422 and '"red circle" is not in the prompt, "a red square"' in answer.error


def test_hires_img2img_and_inpainting(host):
    image = encoded(Image.new("RGB", (64, 64), "gray"))
    for route, fields in (("txt2img", {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.7, "hr_upscaler": "Latent"}),
                          ("img2img", {"init_images": [image], "denoising_strength": 0.8}),
                          ("img2img", {"init_images": [image], "denoising_strength": 0.8, "mask": RIGHT, "inpainting_mask_invert": 0})):
        plain, painted = latents(host, None, route, **fields), latents(host, BOTH, route, **fields)
        assert other(painted, plain) and np.isfinite(painted).all()
    hires = {"enable_hr": True, "hr_scale": 2, "denoising_strength": 0.7, "hr_upscaler": "Latent"}
    second = latents(host, {**BOTH, "hires": {"paint": None}}, **hires)
    assert other(second, latents(host, BOTH, **hires))


def test_the_negative_prompt_is_not_painted(host):
    """Where the phrase stands in it, too: with guidance 0 the unconds are the picture."""
    fields = {"negative_prompt": "a red circle", "cfg_scale": 0}
    assert same(latents(host, BOTH, **fields), latents(host, **fields), 1e-4)
    assert other(latents(host, BOTH, **{**fields, "cfg_scale": 1}), latents(host, **{**fields, "cfg_scale": 1}))


def with_options(host, **options) -> None:
    host.post("/sdapi/v1/options", options)


OPTIMISATIONS = ["None", "sdp - scaled dot product", "sdp-no-mem - scaled dot product without memory efficient attention", "sub-quadratic",
                 "V1 - original v1", "InvokeAI", "Doggettx"]         # with a GPU also "xformers"


def test_all_attention_optimisations_agree_on_one_call(host):
    if "cross_attention_optimization" not in (own := host.get("/sdapi/v1/options")):
        pytest.skip("this host has one way to attend")
    found = {}
    try:
        for name in OPTIMISATIONS:
            with_options(host, cross_attention_optimization=name)
            found[name] = latents(host, BOTH, steps=1), latents(host, steps=1)
        with_options(host, cross_attention_optimization=own["cross_attention_optimization"], upcast_attn=True)
        found["upcast"] = latents(host, BOTH, steps=1), latents(host, steps=1)
    finally:
        with_options(host, cross_attention_optimization=own["cross_attention_optimization"], upcast_attn=own["upcast_attn"])
    first, plain = found["None"]
    assert other(first, plain)
    for name, (painted, _) in found.items():
        assert same(painted, first, 1e-4), name


def test_hypernetworks_act_on_what_is_painted(host):
    if "sd_hypernetwork" not in host.get("/sdapi/v1/options"):
        pytest.skip("this host has no hypernetworks")

    def drawn(plan: object = None, **probe) -> np.ndarray:
        assert host.run("txt2img", plan, probe={"steady": True, **probe}, prompt=TWO).status == 200
        return host.latents()

    faint = {"paint": {**BOTH["paint"], "strength": 1e-5}}
    changed = drawn(hypernetwork=True)
    assert other(changed, drawn()) and same(drawn(faint, hypernetwork=True), changed)
    assert other(drawn(BOTH, hypernetwork=True), drawn(BOTH)) and other(drawn(BOTH, hypernetwork=True), changed)


@pytest.mark.parametrize("strength", [0, 0.4])
def test_where_words_look_is_a_picture_more(host, strength):
    """An option of the host, here of one job."""
    fields = {"prompt": TWO, "batch_size": 2, "override_settings": {"mixdiff_looks": "after a job's pictures"}}
    plan = {"paint": {**BOTH["paint"], "strength": strength}}
    plain = host.run("txt2img", plan, **{**fields, "override_settings": {}})
    looked = host.run("txt2img", plan, **fields)
    assert looked.status == 200, looked.error
    assert len(looked.pictures) == len(plain.pictures) + 2 == len(looked.info["infotexts"]) - looked.info["index_of_first_image"]
    assert looked.info["infotexts"][-2:] == looked.info["infotexts"][looked.info["index_of_first_image"]:][:2]
    for a, b in zip(plain.pictures, looked.pictures):
        assert np.abs(a.astype(int) - b).max() <= 1, "looking changes nothing"
    assert all(picture.shape[1] > 3 * 100 and picture.std() > 10 for picture in looked.pictures[2:])
    again = host.run("txt2img", plan, **{**fields, "override_settings": {}})
    assert len(again.pictures) == len(plain.pictures)
