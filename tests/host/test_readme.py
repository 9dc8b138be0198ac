"""What stands in the README as an example works."""
from __future__ import annotations

import json
import re

import pytest

from lib_mixdiff.plan import Plan
from minihost.client import ROOT

EXAMPLES = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)]
REQUESTS = [example for example in EXAMPLES if "alwayson_scripts" in example]
PLANS = [example for example in EXAMPLES if "alwayson_scripts" not in example]


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: "+".join(plan))
def test_a_plan_is_one(plan):
    assert not Plan.from_dict(plan).is_neutral


def test_they_are_found():
    assert len(PLANS) >= 2 and len(REQUESTS) >= 1


@pytest.mark.parametrize("request_", REQUESTS)
def test_a_request_is_answered_with_a_picture(host, request_):
    plan, = (args for args in request_["alwayson_scripts"]["mixdiff"]["args"] if isinstance(args, dict))
    answer = host.txt2img(plan, **{**{key: value for key, value in request_.items() if key != "alwayson_scripts"}, "steps": 2})
    assert answer.status == 200 and answer.body["images"], answer.error
