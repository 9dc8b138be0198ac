"""The plan's fields as axes of the X/Y/Z plot: each cell is the job with that plan."""
from __future__ import annotations

import base64
import io
import os
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tests.host.client import JOB

HALVES = {"regions": [{"box": [0, 0, 0.5, 1], "prompt": "a red circle"}, {"box": [0.5, 0, 1, 1], "prompt": "a blue cross"}]}


@pytest.fixture
def axes():
    """By label."""
    import sys
    from pathlib import Path
    if (home := str(Path(__file__).parents[2] / "minihost")) not in sys.path:
        sys.path.append(home)
    from lib_mixdiff.host.axes import axes
    return {axis.label.partition(" ")[2]: axis for axis in axes()}


def test_every_scalar_of_the_plan_is_there(axes):
    assert {"base.share", "tiles.overlap", "tiles.grid", "paint.strength", "amdm.steps", "amdm.models[N].prompt", "regions[N].prompt", "regions[N].weight",
            "regions[N].model", "guides[N].strength", "paint.phrases[N].strength", "model", "model.afa.mode", "model.experts[N].range.to"} <= axes.keys()
    assert not [label for label in axes if "mask" in label or "image" in label or label.startswith(("hires", "ui"))]


def test_values_are_put_where_they_belong(axes):
    from lib_mixdiff.errors import PlanError
    plan = {"regions": [{}, {}]}
    axes["regions[N].prompt"].put(plan, "2: a dog: brown")
    axes["regions[N].prompt"].put(plan, "a cat")
    axes["regions[N].weight"].put(plan, "2: 0.5")
    axes["regions[N].enabled"].put(plan, "1: false")
    axes["base.share"].put(plan, 0.2)
    assert plan == {"regions": [{"prompt": "a cat", "enabled": False}, {"prompt": "a dog: brown", "weight": 0.5}], "base": {"share": 0.2}}
    with pytest.raises(PlanError, match="there is no number 3; the plan has 2"):
        axes["regions[N].seed"].put(plan, "3: 7")
    with pytest.raises(PlanError, match="use a plan that has one"):
        axes["model.afa.mode"].put({"model": "shapes"}, "noise")


def test_a_cell_changes_no_other_cells_arguments(axes):
    script = SimpleNamespace(title=lambda: "mixdiff", args_from=1, args_to=3)
    first = SimpleNamespace(scripts=SimpleNamespace(alwayson_scripts=[script]), script_args=(0, HALVES, ""))
    second = SimpleNamespace(**vars(first))
    axes["base.share"].apply(second, 0.5, [0.5])
    axes["tiles.grid"].apply(second, "fixed", ["fixed"])
    assert first.script_args == (0, HALVES, "") and "base" not in HALVES
    assert second.script_args[1] is True and '"share": 0.5' in second.script_args[2] and '"grid": "fixed"' in second.script_args[2]


@pytest.mark.skipif("MIXDIFF_WEBUI_URL" not in os.environ, reason="the embedded host has no X/Y/Z plot")
def test_a_plot_on_the_webui(host):
    """Two prompts of region 2 against two weights of region 1: each cell as the job of its own."""
    plot = next(script for script in host.get("/sdapi/v1/script-info") if script["name"] == "x/y/z plot" and not script["is_img2img"])
    labels = plot["args"][0]["choices"]
    assert len([label for label in labels if label == "[mixdiff] regions[N].prompt"]) == 1
    x, y = labels.index("[mixdiff] regions[N].prompt"), labels.index("[mixdiff] regions[N].weight")
    args = [x, '"2: a green square","2: a yellow circle"', [], y, "1: 1, 1: 3", [], 0, "", [], False, True, False, False, False, False, False, 0, False]
    answer = host.txt2img(HALVES, script_name="x/y/z plot", script_args=args)
    assert answer.status == 200, answer.error
    grid, *cells = [np.asarray(Image.open(io.BytesIO(base64.b64decode(image))).convert("RGB")) for image in answer.body["images"]]
    assert len(cells) == 4 and grid.shape[:2] == (2 * JOB["height"], 2 * JOB["width"])
    for cell, (weight, prompt) in zip(cells, [(w, p) for w in (1, 3) for p in ("a green square", "a yellow circle")]):
        left, right = HALVES["regions"]
        alone = host.txt2img({"regions": [{**left, "weight": weight}, {**right, "prompt": prompt}]})
        assert np.array_equal(cell, alone.pictures[0])
