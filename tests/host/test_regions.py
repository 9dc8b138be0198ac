"""Regions over HTTP, on either host: neutral plans are the plain job, every other plan is not, and nothing stays behind."""
from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest

from tests.bad_plans import BAD_PLANS
from tests.host.client import lasting
from tests.host.jobs import LEFT_RIGHT, LONG, PROMPT

NEUTRAL_JOBS = {
    "one": {}, "batch 2": {"batch_size": 2}, "two batches": {"n_iter": 2},
    "AND": {"prompt": f"{PROMPT} AND a blue square on a gray background :0.6"},
    "AND, batch 2": {"prompt": f"{PROMPT} AND a blue square on a gray background :0.6", "batch_size": 2},
    "AND at full weight, batch 2": {"prompt": f"{PROMPT} AND a blue square on a gray background", "batch_size": 2, "cfg_scale": 2},
    "long": {"prompt": LONG}, "long, batch 2": {"prompt": LONG, "batch_size": 2},
    "long negative": {"negative_prompt": LONG}, "emphasis": {"prompt": "a (red:1.3) circle on a [gray] background"},
    "64x128": {"height": 128}, "guidance 1": {"cfg_scale": 1},
}
SAMPLERS = ["Euler", "DDIM"]


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("job", NEUTRAL_JOBS)
@pytest.mark.parametrize("own_prompt", [False, True])
def test_one_region_over_all_is_the_plain_job(host, sampler, job, own_prompt):
    fields = {"sampler_name": sampler, "steps": 5, "prompt": PROMPT, "negative_prompt": "", **NEUTRAL_JOBS[job]}
    region = {"prompt": fields["prompt"], "negative_prompt": fields["negative_prompt"]} if own_prompt else {}
    plain = host.txt2img(probe={}, **fields)
    assert plain.status == 200, plain.error
    expected, plain_calls = host.latents(), host.calls()
    again = host.txt2img({"regions": [region]}, probe={}, **fields)
    assert again.status == 200, again.error
    assert np.abs(host.latents() - expected).max() < 1e-2
    assert "mixdiff" in again.info["infotexts"][0], "the plan ran"
    assert sum(c[0] for c in host.calls()) == sum(c[0] for c in plain_calls), "as many rows went through the network"


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("job", ["one", "AND", "AND, batch 2", "long", "long negative", "two batches"])
def test_a_regions_scale_over_all_is_the_jobs_scale(host, sampler, job):
    """Exact, and wrong if a step's rows are not finished: the host sums them with the job's scale."""
    fields = {"sampler_name": sampler, "steps": 4, "prompt": PROMPT, **NEUTRAL_JOBS[job]}
    assert host.txt2img(probe={}, **{**fields, "cfg_scale": 7}).status == 200
    expected = host.latents()
    assert host.txt2img({"regions": [{"cfg_scale": 7}]}, probe={}, **{**fields, "cfg_scale": 3}).status == 200
    assert np.abs(host.latents() - expected).max() < 1e-2 * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_regions_act_in_every_picture_of_a_job(host, sampler):
    singles = []
    for seed in range(11, 15):
        host.txt2img(LEFT_RIGHT, probe={}, sampler_name=sampler, seed=seed, negative_prompt=LONG)
        singles.append(host.latents())
    host.txt2img(LEFT_RIGHT, probe={}, sampler_name=sampler, batch_size=2, n_iter=2, negative_prompt=LONG)
    assert np.abs(host.latents() - np.concatenate(singles)).max() < 1e-2


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_one_network_call_is_the_plain_one(host, sampler):
    fields = {"sampler_name": sampler, "steps": 1}
    host.txt2img(probe={}, **fields)
    expected = host.latents()
    host.txt2img({"regions": [{"prompt": PROMPT}]}, probe={}, **fields)
    assert np.abs(host.latents() - expected).max() < 1e-4 * max(1.0, np.abs(expected).max())


def test_neutral_plans_do_not_run_and_change_no_byte(host):
    plain = host.txt2img()
    for plan in ({}, [True, {}], [True, ""], [False, LEFT_RIGHT], [False, "nonsense"], '{"regions": []}',
                 {"regions": [{"enabled": False, "prompt": "a blue cross"}]}):
        got = host.txt2img(plan)
        assert got.body["images"] == plain.body["images"], plan
        assert "mixdiff" not in got.info["infotexts"][0]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_regions_act_where_they_are_and_run_as_batches(host, sampler):
    plain = host.txt2img(probe={}, sampler_name=sampler)
    host_latents = host.latents()
    got = host.txt2img(LEFT_RIGHT, probe={}, sampler_name=sampler)
    assert got.status == 200, got.error
    assert np.abs(host.latents() - host_latents).max() > 0.05
    assert host.calls() == [[4, 4, 8, 4]] * (3 if sampler == "Euler" else len(host.calls())) != [], "both regions' conds and unconds in one batch"
    assert got.body["images"] != plain.body["images"]
    for spelled in ([True, LEFT_RIGHT], json.dumps(LEFT_RIGHT), [True, json.dumps(LEFT_RIGHT)]):
        assert host.txt2img(spelled, sampler_name=sampler).body["images"] == got.body["images"]


def test_the_left_region_does_not_care_what_the_right_one_says_far_from_the_border(host):
    other = json.loads(json.dumps(LEFT_RIGHT))
    other["regions"][1]["prompt"] = "a yellow triangle on a gray background"
    host.txt2img(LEFT_RIGHT, probe={}, steps=1)
    first = host.latents()
    host.txt2img(other, probe={}, steps=1)
    change = np.abs(host.latents() - first)
    assert change[..., :4].max() == 0 and change[..., 4:].max() > 1e-3


def test_what_no_region_covers_is_the_jobs_own_prompt(host):
    host.txt2img(probe={}, steps=1)
    plain = host.latents()
    host.txt2img({"regions": [LEFT_RIGHT["regions"][0]]}, probe={}, steps=1)
    change = np.abs(host.latents() - plain)
    assert change[..., 4:].max() < 1e-4 and change[..., :4].max() > 1e-3


def test_more_weight_pulls_the_overlap(host):
    def overlap(weight):
        host.txt2img({"regions": [{"prompt": "a blue cross on a gray background", "weight": weight}, {"prompt": PROMPT}]}, probe={}, steps=1)
        return host.latents()
    only = host.txt2img({"regions": [{"prompt": "a blue cross on a gray background"}]}, probe={}, steps=1) and host.latents()
    distances = [np.abs(overlap(w) - only).mean() for w in (0, 0.5, 2, 50)]
    assert all(a > b for a, b in pairwise(distances)), distances


def test_the_infotext_brings_the_plan_back(host):
    got = host.txt2img(LEFT_RIGHT)
    text = got.info["infotexts"][0]
    assert text.count("\n") <= 2, "one readable line"
    found = host.post("/sdapi/v1/png-info", {"image": got.body["images"][0]})
    assert json.loads(found["parameters"]["mixdiff"]) == {"v": 1, **LEFT_RIGHT}


@pytest.mark.parametrize("plan", [pytest.param(plan, id=name) for name, plan, _ in BAD_PLANS])
def test_a_bad_plan_gives_no_picture(host, plan):
    answer = host.txt2img([True, plan], steps=1)
    assert answer.status == 422 and "images" not in answer.body, answer.body.keys()


def test_a_bad_plans_message_names_field_value_and_remedy(host):
    for name, plan, field in BAD_PLANS:
        assert field in host.txt2img([True, plan], steps=1).error, name


@pytest.mark.parametrize("args", [[None, LEFT_RIGHT], ["", LEFT_RIGHT], [LEFT_RIGHT, LEFT_RIGHT], [7], [[LEFT_RIGHT]]])
def test_arguments_of_another_form_are_refused(host, args):
    assert host.txt2img(args).status == 422


def test_tiling_is_refused_by_name(host):
    answer = host.txt2img(LEFT_RIGHT, tiling=True)
    if answer.status == 501:
        pytest.skip(answer.error)
    assert answer.status == 422 and "Tiling" in answer.error


@pytest.mark.parametrize("fields, plan, words", [
    ({"prompt": "a street clock at 12:00"}, LEFT_RIGHT, "12:00"),
    ({}, {"regions": [{}, {"prompt": "a circle <lora:some:1>"}]}, "regions[1].prompt"),
    ({}, {"regions": [{"model": "other"}]}, "regions[0].model"),
    ({}, {"regions": [{"control_units": []}]}, "regions[0].control_units"),
    ({}, {"model": "other"}, "model"),
    ({}, {"paint": {"phrases": [{"phrase": "circle", "mask": "sha256:" + 64 * "0"}]}}, "paint"),
    ({}, {"amdm": {"models": [{"control_units": [0]}]}}, "amdm.models[0].control_units"), ({}, {"regions": [{}], "hires": {"model": "other"}}, "hires.model"),
    ({}, {"tiles": {"overlap": 2000}}, "tiles.overlap"),
])
def test_what_is_not_built_is_refused_by_name(host, fields, plan, words):
    plain = host.txt2img()
    answer = host.txt2img(plan, **fields)
    assert answer.status == 422 and words in answer.error, (answer.status, answer.error)
    assert host.txt2img().body["images"] == plain.body["images"]


def test_nothing_stays_behind(host):
    plain, before = host.txt2img(), lasting(host.state())
    for plan in (LEFT_RIGHT, {"regions": [{}]}, {"regions": 3}, {}, "{", LEFT_RIGHT):
        host.txt2img(plan, probe={}, batch_size=2)
    assert host.txt2img().body["images"] == plain.body["images"]
    assert lasting(host.state()) == before


def test_the_cells_of_an_xyz_plot_are_the_single_jobs(host):
    seeds, nothing = (5, 9), (0, "", [])
    script = {"script_name": "x/y/z plot", "script_args": [1, ", ".join(map(str, seeds)), [], *nothing, *nothing,
                                                           False, True, False, False, False, False, False, 0, False]}
    answer = host.txt2img(LEFT_RIGHT, **script)
    if answer.status == 501:
        pytest.skip(answer.error)
    assert answer.status == 200, answer.error
    for seed in seeds:
        alone = host.txt2img(LEFT_RIGHT, seed=seed).pictures[0]
        assert any(np.array_equal(cell, alone) for cell in answer.pictures)
