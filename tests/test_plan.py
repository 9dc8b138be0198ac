"""Laws of the plan: what is wrong is refused by name, what is right survives every way through JSON."""
import dataclasses
import json
import pickle
import random
import time

import pytest

from lib_mixdiff import models
from lib_mixdiff import plan as plan_module
from lib_mixdiff.errors import LONGEST, PlanError
from lib_mixdiff.models import Afa, Experts
from lib_mixdiff.plan import Amdm, Base, Guide, Plan, Region, Tiles, schema
from lib_mixdiff.ranges import Range
from lib_mixdiff.records import Record
from tests.bad_plans import MANY, PNG, TABLE, amdm, experts, guide, phrase, region, when

HASH = "sha256:" + "0123456789abcdef" * 4
URI = "data:image/jpeg;base64,/9j/4AAQSkZJ"
FULL = {
    "v": 1,
    "model": {"experts": [
        {"model": "high", "range": {"unit": "timestep", "from": 1000, "to": 600}, "text_encoder": "loaded"},
        {"model": {"afa": {"aggregator": "aggregator.safetensors", "models": ["a", "b"], "mode": "last"}},
         "range": {"unit": "timestep", "from": 600, "to": 100}, "text_encoder": "own"}]},
    "canvas": [2048, 768],
    "base": {"share": 0.2, "feather": 32},
    "tiles": {"width": 512, "height": 640, "overlap": [128, 200], "window": "quartic", "grid": "fixed", "coords": "own",
              "batch": 4},
    "regions": [
        {"name": "left", "enabled": True, "box": [0, 0, 0.5, 1], "mask": HASH, "prompt": "a cat", "negative_prompt": "",
         "cfg_scale": 7.5, "seed": 2**32 - 1, "weight": 0.25, "window": "constant",
         "range": {"unit": "steps", "from": 0.1, "to": 0.8}, "model": "other", "coords": "canvas", "control_units": [0, 2]},
        {"name": "right", "enabled": False, "box": None, "mask": None, "prompt": None, "negative_prompt": None, "cfg_scale": None,
         "seed": -1, "weight": 0, "window": "gaussian", "range": None, "model": None, "coords": "own", "control_units": []}],
    "guides": [{"name": "sketch", "enabled": True, "image": URI, "box": [0.1, 0.2, 0.3, 0.4], "mask": PNG, "fit": "contain",
                "strength": 1}],
    "paint": {"strength": 0.7, "scale": "std", "range": {"unit": "sigma", "from": 14.6, "to": 0.3},
              "phrases": [{"phrase": "rabbit mage", "mask": HASH, "strength": 10, "in": ["base", "left"]}]},
    "amdm": {"steps": 8, "weight": 0, "eta": 0.1, "mix": "lerp", "models": [
        {"name": "layout", "weight": 2, "eta": 0, "seed": 5, "prompt": "a dog", "negative_prompt": "blur", "cfg_scale": 1,
         "control_units": None, "plan": {"v": 1, "model": "third", "base": {"share": 1, "feather": 0}, "tiles": None,
                                         "regions": [], "guides": [], "paint": Plan().to_dict()["paint"]}}]},
    "hires": {"tiles": {"batch": 2}, "guides": [], "amdm": None},
    "ui": {"colours": ["#f00"], "locked": {"left": True}},
}
# section 3's block, of each object what it shows as defaults
DEFAULTS = {
    Plan: {"v": 1, "model": None, "canvas": None, "base": {"share": 0.0, "feather": 64}, "tiles": None, "regions": [], "guides": [],
           "paint": {"strength": 0.2, "scale": "max", "range": None, "phrases": []}, "amdm": None, "hires": {}, "ui": {}},
    Tiles: {"width": None, "height": None, "overlap": None, "window": "gaussian", "grid": "shifted", "coords": "canvas",
            "batch": None},
    Region: {"name": None, "enabled": True, "box": None, "mask": None, "prompt": None, "negative_prompt": None, "cfg_scale": None,
             "seed": None, "weight": 1.0, "window": "gaussian", "range": None, "model": None, "coords": "own",
             "control_units": None},
    Guide: {"name": None, "enabled": True, "image": PNG, "box": None, "mask": None, "fit": "cover", "strength": 0.6},
    plan_module.Phrase: {"phrase": "rabbit mage", "mask": PNG, "strength": 1.0, "in": None},
    Amdm: {"steps": None, "weight": 1.0, "eta": 0.3, "mix": "slerp", "models": [
        {"name": None, "weight": 1.0, "eta": 0.3, "seed": None, "prompt": None, "negative_prompt": None, "cfg_scale": None,
         "control_units": None, "plan": {"v": 1, "model": None, "base": {"share": 0.0, "feather": 64}, "tiles": None, "regions": [],
                                         "guides": [], "paint": {"strength": 0.2, "scale": "max", "range": None, "phrases": []}}}]},
    models.Expert: {"model": None, "range": None, "text_encoder": "own"},
    models.Aggregation: {"aggregator": None, "models": ["a"], "mode": "full"},
    Range: {"unit": "timestep", "from": 1000, "to": 0},
}
REQUIRED = {Guide: {"image": PNG}, plan_module.Phrase: {"phrase": "rabbit mage", "mask": PNG}, Amdm: {"models": [{}]},
            models.Aggregation: {"models": ["a"]}}


def through_json(plan: Plan, defaults: bool) -> Plan:
    return Plan.from_dict(json.loads(json.dumps(plan.to_dict(defaults))))


@pytest.mark.parametrize(("wrong", "field", "remedy"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_bad_plans_are_refused(wrong, field, remedy):
    with pytest.raises(PlanError) as caught:
        Plan.from_dict(wrong)
    error = caught.value
    assert error.field == field and remedy in error.remedy
    assert vars(error)["status_code"] == 422
    sentence = str(error)
    assert sentence.startswith(f"{field}: ") and sentence.endswith(f"; {error.remedy}.") and "\n" not in sentence
    assert len(sentence) - len(error.remedy) < 4 * LONGEST


def test_names_of_bad_plans_differ():
    assert len({row[0] for row in TABLE}) == len(TABLE) >= 60


def test_the_sentence():
    with pytest.raises(PlanError) as caught:
        Plan.from_dict(region(cfg_scale=0.5))
    assert str(caught.value) == "regions[1].cfg_scale: 0.5 is too small; use a number from 1 to 100."
    assert (caught.value.value, caught.value.remedy) == (0.5, "use a number from 1 to 100")
    assert str(PlanError("regions[0].model", "x", "load one of a, b")) == 'regions[0].model: "x" does not fit; load one of a, b.'


def test_bad_text_says_where():
    with pytest.raises(PlanError, match="line 2, column 16"):
        Plan.from_dict('{"v": 1,\n "regions": [],}')


def test_checked_where_it_is_made():
    with pytest.raises(PlanError, match=r"^share: 2 is too large"):
        Base(share=2)
    with pytest.raises(PlanError, match=r"^regions\[0\].seed: "):
        Plan(regions=[{"seed": -2}])
    with pytest.raises(PlanError, match=r"^amdm.models\[0\].plan: "):
        Plan(amdm={"models": [{"plan": Plan(canvas=(64, 64))}]})
    assert Plan(regions=[Region(prompt="a cat")]) == Plan.from_dict({"regions": [{"prompt": "a cat"}]})


@pytest.mark.parametrize("defaults", [True, False])
def test_the_full_plan_survives(defaults):
    plan = Plan.from_dict(FULL)
    assert plan.to_dict() == FULL
    assert through_json(plan, defaults) == plan == Plan.from_dict(json.dumps(FULL))
    assert json.dumps(through_json(plan, defaults).to_dict()) == json.dumps(plan.to_dict())
    assert hash(through_json(plan, defaults)) == hash(plan)
    assert pickle.loads(pickle.dumps(plan)) == plan
    assert not plan.is_neutral


def test_without_defaults():
    assert Plan().to_dict(defaults=False) == {"v": 1}
    assert Plan(regions=[{"prompt": "a cat"}]).to_dict(defaults=False) == {"v": 1, "regions": [{"prompt": "a cat"}]}
    assert Plan(tiles={}).to_dict(defaults=False) == {"v": 1, "tiles": {}}
    assert Plan(hires=False).to_dict(defaults=False) == {"v": 1, "hires": False}


@pytest.mark.parametrize("record", DEFAULTS, ids=lambda record: record.__name__)
def test_defaults_are_the_design_s(record):
    assert record.from_dict(REQUIRED.get(record, {})).to_dict() == DEFAULTS[record]


def test_every_key_of_the_full_plan_is_tested():
    """FULL holds every key of every record, so that the round trip misses none."""
    def keys(value):
        if isinstance(value, dict):
            yield from value
        for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from keys(each)
    records = [each for each in vars(plan_module).values() if isinstance(each, type) and issubclass(each, Record)]
    assert {name for record in records if record is not Record for name in record.keyed()} <= set(keys(FULL))


def frozen_parts(value):
    if isinstance(value, Record):
        yield value
        for each in dataclasses.fields(value):
            yield from frozen_parts(getattr(value, each.name))
    if isinstance(value, tuple):
        for each in value:
            yield from frozen_parts(each)


def test_frozen():
    plan = Plan.from_dict(FULL)
    parts = list(frozen_parts(plan))
    assert len({type(part) for part in parts}) == 15
    for part in parts:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(part, dataclasses.fields(part)[0].name, None)
    with pytest.raises(TypeError):
        plan.ui["colours"] = None
    plan.ui["colours"].append("#0f0")
    given = {"colours": []}
    kept = Plan(ui=given)
    given["colours"].append("#0f0")
    assert plan.ui["colours"] == ["#f00"] and kept.ui == {"colours": []}


def test_what_is_taken_for_what():
    assert repr(Plan.from_dict({"base": {"feather": 3.0}, "canvas": [512.0, 512]}).to_dict(False)) == \
        "{'v': 1, 'base': {'feather': 3}, 'canvas': [512, 512]}"
    assert Plan.from_dict(region(box=[0.7, 0, 0.1 + 0.2 + 0.7000000000000001, 1])).regions[1].box == (0.7, 0, 1, 1)
    assert Plan.from_dict(region(mask=HASH.upper().replace("SHA", "sha"))).regions[1].mask == HASH
    assert Plan.from_dict("  \n") == Plan.from_dict({}) == Plan()
    assert Range.from_dict({"unit": "steps"}).to_dict() == {"unit": "steps", "from": 0, "to": 1}
    assert Range.from_dict({"from": 500, "to": None}).to_dict() == {"unit": "timestep", "from": 500, "to": 0}


@pytest.mark.parametrize("good", [
    {"regions": [{}] * (MANY - 1)},
    {"regions": [{"weight": 0}, {"weight": 1e-3}]},
    {"regions": [{"weight": 0, "enabled": False}]},
    {"regions": [{"name": "a"}], "guides": [{"name": "a", "image": PNG}]},
    {"tiles": {"width": 64, "overlap": [63, 4095]}},
    experts(when(1000, 500), when(500, 0)),
    experts(when(0, 0.5, "steps"), when(0.5, 1, "steps")),
    experts(when(1000, 500), when(0, 0.9, "steps")),  # the schedule decides
    experts({"model": {"experts": [{"model": "a"}]}}),
    {"model": {"afa": {"models": ["a"], "mode": "merge", "aggregator": "file"}}},
    amdm(weight=0), amdm(steps=0), guide(strength=0), phrase(phrase="  a"),
    {"hires": {"tiles": {"width": 64}, "ui": {"a": None}}},
])
def test_good_plans_are_taken(good):
    plan = Plan.from_dict(good)
    assert through_json(plan, True) == through_json(plan, False) == plan


@pytest.mark.parametrize(("plan", "neutral"), [
    ({}, True), ({"base": {"share": 1}, "ui": {"a": 1}, "hires": {"base": {"share": 0.5}}}, True), ({"hires": False}, True),
    ({"paint": {"strength": 3}}, True), ({"regions": [{"enabled": False}], **guide(enabled=False)}, True),
    (region(), False), (guide(), False), (phrase(), False), (amdm(), False), ({"model": "a"}, False), (experts({}), False),
    ({"canvas": [64, 64]}, False), ({"tiles": {}}, False), ({"hires": {"tiles": {}}}, False), ({"hires": region()}, False),
])
def test_neutral(plan, neutral):
    assert Plan.from_dict(plan).is_neutral is neutral


# hires

def test_hires_patch():
    """RFC 7396: objects merge, null removes, the rest replaces."""
    plan = Plan.from_dict(FULL)
    patched = plan.for_hires()
    changed = {"canvas": None, "hires": {}, "guides": [], "amdm": None, "tiles": FULL["tiles"] | {"batch": 2}}
    assert patched.to_dict() == FULL | changed
    assert patched.for_hires() == patched
    assert Plan().for_hires() == Plan()
    assert Plan(hires=False).for_hires() is None
    assert Plan(regions=[{}], hires={"regions": []}).for_hires() == Plan()
    assert Plan(tiles={"width": 512}, hires={"tiles": {"width": None}}).for_hires() == Plan(tiles={})
    assert Plan(canvas=[512, 512]).for_hires().is_neutral
    swapped = Plan.from_dict({**experts({}), "hires": {"model": {"experts": None, "afa": {"models": ["a"]}}}})
    assert isinstance(swapped.model, Experts) and isinstance(swapped.for_hires().model, Afa)


def test_the_editor_s_own_may_be_large():
    """It is read in one go, not once for each of its keys: 20,000 of them once took minutes."""
    ui, start = {str(index): [index] for index in range(20_000)}, time.process_time()
    plan = Plan.from_dict({"ui": ui})
    assert plan.to_dict()["ui"] == ui and plan == Plan.from_dict(plan.to_dict())
    plan.ui["7"].append(0)
    assert plan.ui["7"] == [7] and time.process_time() - start < 10


@pytest.mark.parametrize(("target", "patch", "result"), [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}), ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}), ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}), ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}), ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]), ({"a": "b"}, ["c"], ["c"]), ({"a": "foo"}, None, None), ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}), ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
])
def test_merge_patch_is_the_rfc_s(target, patch, result):
    """Appendix A of RFC 7396."""
    assert plan_module.merged(target, patch) == result


# pasting

@pytest.mark.parametrize("wrong", [row[1] for row in TABLE], ids=[row[0] for row in TABLE])
def test_pasting_never_fails(wrong):
    before = json.dumps(wrong)
    plan, left = Plan.salvage(wrong)
    assert isinstance(plan, Plan) and left and through_json(plan, False) == plan
    assert json.dumps(wrong) == before


def test_pasting_keeps_the_rest():
    plan, left = Plan.salvage(json.dumps({
        "v": 2, "sparkle": True, "base": {"share": 0.5, "glow": 1},
        "regions": [{"prompt": "a", "seed": "x"}, "junk", {"prompt": "b", "glow": 1}, "junk", {"prompt": "c", "weight": -1}],
        "guides": [{"fit": "cover"}], "hires": {"tiles": {"width": 3, "batch": 2}}}))
    assert plan == Plan.from_dict({"base": {"share": 0.5}, "regions": [{"prompt": "a"}, {"prompt": "b"}, {"prompt": "c"}],
                                   "hires": {"tiles": {"batch": 2}}})
    assert [sentence.split(": ")[0] for sentence in left] == [  # numbered as pasted
        "sparkle", "v", "base.glow", "regions[0].seed", "regions[1]", "regions[2].glow", "regions[3]", "regions[4].weight",
        "guides[0].image", "hires.tiles.width"]
    assert Plan.salvage(FULL) == (Plan.from_dict(FULL), [])


# at random

def random_value(schema: dict, defs: dict, draw: random.Random, depth: int):
    """Something that the schema takes, so that this list of fields is not written a third time."""
    def value_of(inner):
        return random_value(inner, defs, draw, depth + 1)

    if "$ref" in schema:
        return value_of(defs[schema["$ref"].rpartition("/")[2]])
    if "anyOf" in schema:
        return value_of(schema["anyOf"][-1] if depth > 20 else draw.choice(schema["anyOf"]))
    if "enum" in schema:
        return draw.choice(schema["enum"])
    if "const" in schema:
        return schema["const"]
    if "properties" in schema:
        names = [name for name in schema["properties"] if name in schema["required"] or draw.random() < 0.5]
        return {name: value_of(schema["properties"][name]) for name in names}
    kind = schema["type"]
    if kind == "array":
        least = schema["minItems"]
        return [value_of(schema["items"]) for _ in range(draw.randint(least, min(schema["maxItems"], max(least, 2))))]
    if kind == "integer":
        step = schema.get("multipleOf", 1)
        return step * draw.randint(schema["minimum"] // step, schema.get("maximum", 99) // step)
    if kind == "number":
        return draw.choice([draw.uniform(schema["minimum"], schema["maximum"]), schema["minimum"], schema["maximum"]])
    if kind == "string":
        return draw.choice([PNG, URI, HASH]) if "base64" in schema.get("pattern", "") else f"é “{draw.getrandbits(40)}”\n"
    return {"boolean": draw.random() < 0.5, "null": None, "object": {}}[kind]


def random_plans(count: int):
    """Those that break a rule across fields are mended as pasting mends them."""
    whole = schema()
    for seed in range(count):
        yield Plan.salvage(random_value(whole, whole["$defs"], random.Random(seed), 0))[0]


def test_random_plans_survive():
    sizes = []
    for plan in random_plans(300):
        for defaults in (True, False):
            assert Plan.from_dict(plan.to_dict(defaults)) == through_json(plan, defaults) == plan
        sizes.append(len(json.dumps(plan.to_dict(False))))
    assert sorted(sizes)[len(sizes) // 2] > 200  # not all of them trivial


# schema

def test_schema_describes_what_from_dict_takes():
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(json.loads(json.dumps(schema())))
    validator.check_schema(validator.schema)
    for plan in [Plan.from_dict(FULL), Plan(), *random_plans(100)]:
        for defaults in (True, False):
            validator.validate(plan.to_dict(defaults))
    refused = [name for name, wrong, *_ in TABLE if not isinstance(wrong, str) and not validator.is_valid(wrong)]
    across_fields = [name for name, wrong, *_ in TABLE if not isinstance(wrong, str) and validator.is_valid(wrong)]
    assert len(refused) > 2 * len(across_fields)


def test_schema_holds_the_bounds_and_defaults():
    defs = schema()["$defs"]
    assert list(defs["Plan"]["properties"]) == list(Plan.keyed()) and defs["Guide"]["required"] == ["image"]
    assert defs["Region"]["properties"]["weight"] == {"type": "number", "minimum": 0, "maximum": 1000, "default": 1}
    for record, defaults in DEFAULTS.items():
        for name, described in defs[record.__name__]["properties"].items():
            if "default" in described and record is not Range:  # whose ends depend on the unit
                assert described["default"] == defaults[name]
