"""The presets that come with mixdiff: each is a plan that draws what its picture shows."""
from __future__ import annotations

import io
from urllib.parse import quote

import pytest
import requests
from PIL import Image

from bench.presets import PICTURES, drawn
from lib_mixdiff.plan import Plan

NAMES = ["Three objects in a row", "A wide picture in tiles", "A sketch as guide", "Painted words", "A layout for a plain prompt", "An ensemble of two checkpoints",
         "Two experts, by sigma", "Two experts, by steps", "Three experts, by sigma", "Three experts, by steps"]


def test_each_has_a_plan_a_picture_and_what_it_is_about(host):
    shipped = {each["name"]: each["about"] for each in host.get("/mixdiff/v1/presets")["shipped"]}
    assert list(shipped) == NAMES and all(shipped.values())
    for name in NAMES:
        plan = Plan.from_dict(host.get(f"/mixdiff/v1/presets/{quote(name)}")["plan"])
        assert not plan.is_neutral, name
        picture = requests.get(f"{host.url}/mixdiff/v1/presets/{quote(name)}/picture", timeout=60)
        assert picture.headers["content-type"] == "image/webp" and Image.open(io.BytesIO(picture.content)).width > 64
    assert requests.get(f"{host.url}/mixdiff/v1/presets/none/picture", timeout=60).status_code == 404


@pytest.mark.parametrize("name", PICTURES)
def test_it_draws_what_its_picture_shows(host, name):
    if not {"shapes-a", "shapes-b", "shapes-high", "shapes-low"} <= {model["model_name"] for model in host.get("/sdapi/v1/sd-models")}:
        pytest.skip("needs the shapes checkpoints")
    assert drawn(host, name)[1]
