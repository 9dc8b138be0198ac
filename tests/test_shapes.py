"""The shapes world and its checkpoints."""
from __future__ import annotations

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from minihost import models
from minihost.shapes import parts, world


def scenes(count: int, size: int = 128):
    rng = np.random.default_rng(3)
    return [world.scene_at_random(rng, size, size, int(rng.integers(0, 5))) for _ in range(count)]


def test_objects_stand_inside_and_apart():
    for scene in scenes(300):
        for i, t in enumerate(scene.things):
            assert t.radius < t.x < scene.width - t.radius and t.radius < t.y < scene.height - t.radius
            assert all(max(abs(t.x - o.x), abs(t.y - o.y)) > t.radius + o.radius for o in scene.things[:i])


def test_a_caption_names_all_and_nothing_says_where():
    things = (world.Thing("orange", "circle", 10, 10, 9), world.Thing("blue", "square", 50, 50, 9))
    assert world.caption(world.Scene(64, 64, "gray", things)) == "an orange circle and a blue square on a gray background"
    assert world.caption(world.Scene(64, 64, "teal", ())) == "a teal background"


@pytest.mark.parametrize("shape", world.SHAPES)
def test_a_shape_is_drawn_where_it_stands(shape):
    scene = world.Scene(64, 48, "gray", (world.Thing("red", shape, 40, 20, 12),))
    changed = (world.render(scene) != world.BACKGROUNDS["gray"]).any(-1)
    y, x = np.nonzero(changed)
    assert x.min() > 40 - 13 and x.max() < 40 + 12 and y.min() > 20 - 13 and y.max() < 20 + 12
    assert tuple(world.render(scene)[22, 40]) == world.COLORS["red"]


def test_the_schedules_ends():
    """v: practically no signal at the last timestep; eps: Stable Diffusion 1.5's own."""
    assert parts.betas_and_abar("v")[1][-1] < 1e-4
    assert float(parts.betas_and_abar("eps")[1][-1]) == pytest.approx(0.00466, rel=1e-2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return models.assembled(tmp_path_factory.mktemp("models"))


def test_every_word_of_a_caption_is_one_token(folder):
    from transformers import CLIPTokenizer
    tokenizer = CLIPTokenizer.from_pretrained(folder / "clip-shapes")
    for scene in scenes(50):
        text = world.caption(scene)
        assert len(tokenizer(text).input_ids) == len(text.split()) + 2
    assert tokenizer.unk_token_id not in tokenizer("Any other text: 1girl, (detailed) ünïcödé!").input_ids[1:-1]
    assert ",</w>" in tokenizer.get_vocab(), "the WebUI looks it up"


@pytest.mark.parametrize("name", models.names())
def test_a_checkpoint_fills_its_network_and_does_not_break_emphasis(folder, name):
    weights = {key: value.float() for key, value in load_file(folder / f"{name}.safetensors").items()}
    assert all(value.isfinite().all() for value in weights.values())
    config = yaml.safe_load((folder / f"{name}.yaml").read_text())["model"]["params"]
    assert config["linear_end"] == parts.LINEAR_END[config["parameterization"]]
    text = parts.text_model(folder / "clip-shapes").eval()
    for prefix, module in (("model.diffusion_model.", parts.unet()), ("first_stage_model.", parts.Vae()),
                           ("cond_stage_model.transformer.", text)):
        part = {key[len(prefix):]: value for key, value in weights.items() if key.startswith(prefix)}
        missing, unknown = module.load_state_dict(part, strict=False)
        assert not unknown and all(key.endswith("position_ids") for key in missing)
    from transformers import CLIPTokenizer
    tokenizer = CLIPTokenizer.from_pretrained(folder / "clip-shapes")
    with torch.inference_mode():
        features = text(**tokenizer([world.caption(s) for s in scenes(50)], padding="max_length", return_tensors="pt")).last_hidden_state
    assert features.mean((1, 2)).abs().min() > 0.01, "the WebUI divides by this mean after emphasis"


def test_the_files_of_all_checkpoints_stay_small():
    assert sum(path.stat().st_size for path in models.HERE.rglob("*") if path.is_file()) < 60e6
