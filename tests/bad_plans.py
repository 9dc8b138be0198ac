"""Plans that are refused: by from_dict, and by every way that leads to it."""
import json

PNG = ("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAG7buVgAAAABJRU5ErkJggg==")
MANY = 257


def region(**keys) -> dict:
    return {"regions": [{"prompt": "a cat"}, keys]}


def guide(**keys) -> dict:
    return {"guides": [{"image": PNG} | keys]}


def phrase(**keys) -> dict:
    return {"paint": {"phrases": [{"phrase": "a cat", "mask": PNG} | keys]}}


def amdm(**keys) -> dict:
    return {"amdm": {"models": [{}]} | keys}


def amdm_model(**keys) -> dict:
    return amdm(models=[keys])


def experts(*members) -> dict:
    return {"model": {"experts": list(members)}}


def when(start, end, unit="timestep") -> dict:
    return {"range": {"unit": unit, "from": start, "to": end}}


def deep(levels: int) -> dict:
    model = None
    for _ in range(levels):
        model = {"experts": [{"model": model}]}
    return {"model": model}


# name, plan, the field in the message, a word of the remedy
TABLE = [
    # the text
    ("text", "{", "plan", "correct"),
    ("text: trailing comma", '{"v": 1,\n "regions": [],}', "plan", "correct"),
    ("text: a list", "[]", "plan", "use {...}"),
    ("text: null", "null", "plan", "use {...}"),
    ("text: NaN", '{"base": {"share": NaN}}', "plan", "number"),
    ("text: Infinity", '{"ui": {"zoom": -Infinity}}', "plan", "number"),
    ("text: key twice", '{"base": {"share": 0.1, "share": 0.2}}', "share", "one of them"),
    ("text: 5000 digits", '{"v": 1' + "0" * 5000 + "}", "plan", "shorter"),
    ("text: 100000 lists", "[" * 100000, "plan", "fewer"),
    ("too deep", deep(30), "plan", "64"),
    ("a list", [{"regions": []}], "plan", "{...}"),
    # keys
    ("unknown key", {"region": []}, "region", '"regions"'),
    ("unknown key, far", {"controlnet": []}, "controlnet", "leave it out"),
    ("unknown key, odd", {"a b": 1}, '"a b"', "leave it out"),
    ("unknown key, half a character", {"\ud800": 1}, '"\\ud800"', "leave it out"),
    ("text, half a character", region(prompt="a \ud83d"), "regions[1].prompt", "whole characters"),
    ("unknown key, deep", region(promt="a dog"), "regions[1].promt", '"prompt"'),
    ("python's spelling", region(range={"from_": 900}), "regions[1].range.from_", '"from"'),
    ("unknown key, case", {"Base": {}}, "Base", '"base"'),
    # version
    ("v: newer", {"v": 2}, "v", "update"),
    ("v: 0", {"v": 0}, "v", "use 1"),
    ("v: text", {"v": "1"}, "v", "use 1"),
    ("v: null", {"v": None}, "v", "use 1"),
    # numbers and the like
    ("share above", {"base": {"share": 1.01}}, "base.share", "0 to 1"),
    ("share below", {"base": {"share": -0.1}}, "base.share", "0 to 1"),
    ("share: true", {"base": {"share": True}}, "base.share", "number"),
    ("share: text", {"base": {"share": "0.5"}}, "base.share", "number"),
    ("share: null", {"base": {"share": None}}, "base.share", "number"),
    ("share: 1e999", '{"base": {"share": 1e999}}', "base.share", "number"),
    ("share: a huge integer", {"base": {"share": 10**400}}, "base.share", "number"),
    ("base: null", {"base": None}, "base", "{...}"),
    ("feather above", {"base": {"feather": 4097}}, "base.feather", "4096"),
    ("feather: a fraction", {"base": {"feather": 12.5}}, "base.feather", "integer"),
    ("cfg_scale below", region(cfg_scale=0.5), "regions[1].cfg_scale", "1 to 100"),
    ("cfg_scale above", region(cfg_scale=101), "regions[1].cfg_scale", "1 to 100"),
    ("seed below", region(seed=-2), "regions[1].seed", "-1"),
    ("seed above", region(seed=2**32), "regions[1].seed", "4294967295"),
    ("seed: a fraction", region(seed=1.5), "regions[1].seed", "integer"),
    ("weight below", region(weight=-1), "regions[1].weight", "0 to 1000"),
    ("weight above", region(weight=1001), "regions[1].weight", "1000"),
    ("weights all 0", {"regions": [{"weight": 0}, {"weight": 0.0}]}, "regions[0].weight", "above 0"),
    ("weights all 0 but a disabled one's", {"regions": [{"enabled": False}, {"weight": 0}]}, "regions[1].weight", "above 0"),
    ("enabled: 1", region(enabled=1), "regions[1].enabled", "true or false"),
    ("enabled: text", region(enabled="false"), "regions[1].enabled", "true or false"),
    ("disabled, and wrong", region(enabled=False, seed="x"), "regions[1].seed", "integer"),
    # text
    ("prompt: a number", region(prompt=3), "regions[1].prompt", "text"),
    ("negative_prompt: a list", region(negative_prompt=["a"]), "regions[1].negative_prompt", "text"),
    ("name: empty", region(name=""), "regions[1].name", "1 to 80"),
    ("name: blank", region(name="  "), "regions[1].name", "1 to 80"),
    ("name: base", region(name="base"), "regions[1].name", "base"),
    ("name: long", region(name="x" * 81), "regions[1].name", "80"),
    ("name twice", {"regions": [{"name": "cat"}, {}, {"name": "cat"}]}, "regions[2].name", "another"),
    ("guide's name twice", {"guides": [{"image": PNG, "name": "a"}] * 2}, "guides[1].name", "another"),
    ("amdm's name twice", amdm(models=[{"name": "a"}, {"name": "a"}]), "amdm.models[1].name", "another"),
    # enums
    ("window", region(window="gauss"), "regions[1].window", "use gaussian"),
    ("window: null", region(window=None), "regions[1].window", "one of"),
    ("window: far", region(window="zzz"), "regions[1].window", "one of"),
    ("coords", region(coords="Canvas"), "regions[1].coords", "use canvas"),
    ("grid", {"tiles": {"grid": "shift"}}, "tiles.grid", "use shifted"),
    ("tiles' coords", {"tiles": {"coords": 1}}, "tiles.coords", "canvas"),
    ("fit", guide(fit="fill"), "guides[0].fit", "cover"),
    ("scale", {"paint": {"scale": "maximum"}}, "paint.scale", "max"),
    ("mix", amdm(mix="slurp"), "amdm.mix", "use slerp"),
    ("unit", region(range={"unit": "timesteps"}), "regions[1].range.unit", "use timestep"),
    ("text_encoder", experts({"model": "a", "text_encoder": "mine"}), "model.experts[0].text_encoder", "own"),
    ("mode", {"model": {"afa": {"models": ["a"], "mode": "block"}}}, "model.afa.mode", "use blocks"),
    # boxes and canvas
    ("box outside", region(box=[0, 0, 1.5, 1]), "regions[1].box", "x1"),
    ("box below 0", region(box=[-0.1, 0, 1, 1]), "regions[1].box", "x0"),
    ("box: x0 = x1", region(box=[0.5, 0, 0.5, 1]), "regions[1].box", "x0 < x1"),
    ("box: y0 > y1", region(box=[0, 0.6, 1, 0.5]), "regions[1].box", "y0 < y1"),
    ("box: three numbers", region(box=[0, 0, 1]), "regions[1].box", "y1"),
    ("box: text", region(box="0 0 1 1"), "regions[1].box", "[x0"),
    ("box: true", region(box=[0, 0, True, 1]), "regions[1].box", "number"),
    ("guide's box", guide(box=[0, 0, 2, 1]), "guides[0].box", "0 to 1"),
    ("canvas: no multiple of 8", {"canvas": [513, 512]}, "canvas", "multiple of 8"),
    ("canvas: small", {"canvas": [512, 8]}, "canvas", "64"),
    ("canvas: large", {"canvas": [512, 163840]}, "canvas", "16384"),
    ("canvas: one number", {"canvas": 512}, "canvas", "[width, height]"),
    # tiles
    ("tiles: true", {"tiles": True}, "tiles", "{...}"),
    ("tile below", {"tiles": {"width": 63}}, "tiles.width", "64"),
    ("tile above", {"tiles": {"height": 4097}}, "tiles.height", "4096"),
    ("overlap below 0", {"tiles": {"overlap": -1}}, "tiles.overlap", "0"),
    ("overlap as large as the tile", {"tiles": {"width": 512, "overlap": 512}}, "tiles.overlap", "less"),
    ("overlap: y too large", {"tiles": {"height": 256, "overlap": [300, 300]}}, "tiles.overlap", "height"),
    ("overlap: three", {"tiles": {"overlap": [1, 2, 3]}}, "tiles.overlap", "[x, y]"),
    ("overlap: text", {"tiles": {"overlap": "64"}}, "tiles.overlap", "integer"),
    ("batch: 0", {"tiles": {"batch": 0}}, "tiles.batch", "1"),
    # lists
    ("regions: an object", {"regions": {"prompt": "a cat"}}, "regions", "list"),
    ("regions: null", {"regions": None}, "regions", "list"),
    ("regions: text inside", {"regions": ["a cat"]}, "regions[0]", "{...}"),
    ("regions: too many", {"regions": [{}] * MANY}, "regions", "256"),
    ("guides: too many", {"guides": [{"image": PNG}] * MANY}, "guides", "256"),
    ("phrases: too many", {"paint": {"phrases": [{"phrase": "a", "mask": PNG}] * MANY}}, "paint.phrases", "256"),
    ("amdm.models: too many", amdm(models=[{}] * MANY), "amdm.models", "256"),
    ("amdm.models: empty", amdm(models=[]), "amdm.models", "1 to 256"),
    ("control_units: a number", region(control_units=0), "regions[1].control_units", "list"),
    ("control_units: negative", region(control_units=[0, -1]), "regions[1].control_units[1]", "0"),
    # required
    ("guide without image", {"guides": [{"fit": "cover"}]}, "guides[0].image", "add"),
    ("phrase without mask", {"paint": {"phrases": [{"phrase": "a cat"}]}}, "paint.phrases[0].mask", "add"),
    ("phrase without phrase", {"paint": {"phrases": [{"mask": PNG}]}}, "paint.phrases[0].phrase", "add"),
    ("amdm without models", {"amdm": {"steps": 4}}, "amdm.models", "add"),
    ("afa without models", {"model": {"afa": {"mode": "merge"}}}, "model.afa.models", "add"),
    ("image: null", guide(image=None), "guides[0].image", "base64"),
    # images
    ("image: a URL", guide(image="https://example.org/cat.png"), "guides[0].image", "no URL"),
    ("image: a path", guide(image="/home/me/cat.png"), "guides[0].image", "no path"),
    ("image: a JPEG's bare base64", guide(image="/9j/4AAQSkZJRgABAQAAAQABAAD/"), "guides[0].image", "PNG"),
    ("image: cut off", guide(image=PNG[:-1]), "guides[0].image", "base64"),
    ("image: a data: URI of text", guide(image="data:text/html;base64,PGI+"), "guides[0].image", "data:"),
    ("mask: a short hash", region(mask="sha256:abcd"), "regions[1].mask", "64 hex"),
    ("mask: with a line break", region(mask=PNG + "\n"), "regions[1].mask", "base64"),
    ("mask: huge", region(mask="x" * 100000), "regions[1].mask", "base64"),
    # strengths
    ("guide's strength", guide(strength=1.1), "guides[0].strength", "0 to 1"),
    ("paint's strength", {"paint": {"strength": 10.5}}, "paint.strength", "0 to 10"),
    ("phrase's strength", phrase(strength=-1), "paint.phrases[0].strength", "0 to 10"),
    ("phrase: blank", phrase(phrase=" "), "paint.phrases[0].phrase", "blank"),
    ("phrase in: text", phrase(**{"in": "base"}), "paint.phrases[0].in", "list"),
    ("phrase in: none", phrase(**{"in": []}), "paint.phrases[0].in", "1 to 256"),
    # ranges
    ("range: a list", region(range=[1000, 0]), "regions[1].range", "{...}"),
    ("timestep above", region(**when(1001, 0)), "regions[1].range.from", "1000"),
    ("timestep rising", region(**when(0, 1000)), "regions[1].range.to", "below"),
    ("timestep empty", region(**when(500, 500)), "regions[1].range.to", "below"),
    ("sigma below 0", region(**when(5, -1, "sigma")), "regions[1].range.to", "0"),
    ("sigma rising", region(**when(1, 5, "sigma")), "regions[1].range.to", "below"),
    ("steps falling", region(**when(0.8, 0.2, "steps")), "regions[1].range.to", "above"),
    ("steps above 1", region(**when(0, 20, "steps")), "regions[1].range.to", "0 to 1"),
    ("paint's range", {"paint": when(0, 1000)}, "paint.range.to", "below"),
    # models
    ("model: a number", {"model": 3}, "model", "title"),
    ("model: blank", {"model": ""}, "model", "title"),
    ("model: unknown kind", {"model": {"expert": []}}, "model", '"experts"'),
    ("model: two kinds", {"model": {"experts": [{}], "afa": {"models": ["a"]}}}, "model.afa", "leave it out"),
    ("experts: none", {"model": {"experts": []}}, "model.experts", "1 to 256"),
    ("experts overlap", experts({"model": "a"} | when(1000, 400), when(500, 0)), "model.experts[1].range", "begins"),
    ("experts overlap: always", experts({"model": "a"}, {"model": "b"} | when(500, 0)), "model.experts[1].range", "begins"),
    ("experts overlap: steps", experts(when(0, 0.5, "steps"), when(0.4, 1, "steps")), "model.experts[1].range", "begins"),
    ("experts, nested", experts({"model": {"experts": [when(0, 0)]}}), "model.experts[0].model.experts[0].range.to", "below"),
    ("a region's model", region(model=False), "regions[1].model", "title"),
    ("afa: nested", {"model": {"afa": {"models": [{"experts": []}]}}}, "model.afa.models[0]", "title"),
    ("afa: none", {"model": {"afa": {"models": []}}}, "model.afa.models", "1 to 256"),
    ("aggregator: true", {"model": {"afa": {"models": ["a"], "aggregator": True}}}, "model.afa.aggregator", "text"),
    # amdm
    ("amdm: a list", {"amdm": []}, "amdm", "models"),
    ("amdm.steps", amdm(steps=-1), "amdm.steps", "0"),
    ("eta", amdm(eta=101), "amdm.eta", "0 to 100"),
    ("amdm's weights all 0", amdm(weight=0, models=[{"weight": 0}]), "amdm.weight", "above 0"),
    ("amdm's plan: amdm", amdm_model(plan=amdm()), "amdm.models[0].plan.amdm", "leave it out"),
    ("amdm's plan: canvas", amdm_model(plan={"canvas": [512, 512]}), "amdm.models[0].plan.canvas", "leave it out"),
    ("amdm's plan: hires", amdm_model(plan={"hires": {}}), "amdm.models[0].plan.hires", "leave it out"),
    ("amdm's plan: wrong", amdm_model(plan=region(seed=-5)), "amdm.models[0].plan.regions[1].seed", "-1"),
    ("amdm's plan: text", amdm_model(plan="{}"), "amdm.models[0].plan", "{...}"),
    # hires, ui
    ("hires: true", {"hires": True}, "hires", "false"),
    ("hires: null", {"hires": None}, "hires", "false"),
    ("hires: unknown key", {"hires": {"region": []}}, "hires.region", '"regions"'),
    ("hires: unknown key away", {"hires": {"tile": None}}, "hires.tile", '"tiles"'),
    ("hires: wrong", {"hires": region(cfg_scale=0)}, "hires.regions[1].cfg_scale", "1 to 100"),
    ("hires: together wrong", {"tiles": {"overlap": 100}, "hires": {"tiles": {"width": 64}}}, "hires.tiles.overlap", "less"),
    ("hires: hires", {"hires": {"hires": {}}}, "hires.hires", "leave it out"),
    ("hires: canvas", {"hires": {"canvas": [512, 512]}}, "hires.canvas", "leave it out"),
    ("hires: two kinds", experts({}) | {"hires": {"model": {"afa": {"models": ["a"]}}}}, "hires.model.afa", "leave it out"),
    ("ui: a list", {"ui": []}, "ui", "object"),
    ("ui: half a character", {"ui": {"a": "\ud83d"}}, "ui", "object"),
]
BAD_PLANS = [(name, plan, field) for name, plan, field, _ in TABLE]

assert json.dumps(BAD_PLANS)  # they go over HTTP
