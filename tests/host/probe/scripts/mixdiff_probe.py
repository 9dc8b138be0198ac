"""A test's eyes and hands inside the host: records a job's final latents and network calls, and makes things go wrong.

An extension of its own, for the embedded host and for a WebUI. `alwayson_scripts: {"mixdiff-probe": {"args": [{...}]}}` with
`fault: {"at": AT, "kind": KIND, "call": n}`. Everything hangs on objects of the one run, or is taken away when that has ended.
"""
import base64
import gc
import hashlib
import json
import sys

import gradio as gr
import torch
from modules import processing, script_callbacks, scripts, sd_samplers_common, shared

last = {}
faults = {}
watched = []    # wrappers of the network
undo = []       # takes away what was put on objects that outlive the job
states = []     # x at each step of the last job that asked for them
SIZES = 6 * 256     # columns at the end of SDXL's vectors
run = {}        # the objects of the last run, kept to see what was left on them


def raised(kind):
    last["fired"] = True
    if kind == "error":
        raise ZeroDivisionError("probe")
    if kind == "memory":
        raise torch.cuda.OutOfMemoryError("probe: out of memory")
    if kind == "recursion":
        raise RecursionError("probe")
    if kind in ("interrupt", "skip"):
        getattr(shared.state, kind)()
    if kind == "stop":      # after the batch, as the page's Interrupt button does
        shared.state.stopping_generation = True


class once:
    """Counts calls and fires at one of them."""

    def __init__(self, fault):
        self.kind, self.left = fault["kind"], fault.get("call", 0)

    def due(self):
        self.left -= 1
        return self.left == -1


def in_network(wrap, when):
    """`wrap` is the host's own wrapper of the network, new for every run, inside whatever mixdiff puts around it."""
    def before(module, args):
        if when.due():
            raised(when.kind)
            when.nan = when.kind == "nan"

    def after(module, args, output):
        return torch.full_like(output, float("nan")) if getattr(when, "nan", False) else output

    wrap.register_forward_pre_hook(before)
    wrap.register_forward_hook(after)


def in_text_encoder(when):
    def before(module, args):
        if when.due():
            raised(when.kind)

    encoder = shared.sd_model.cond_stage_model if hasattr(shared.sd_model, "cond_stage_model") else shared.sd_model.conditioner
    undo.append(encoder.register_forward_pre_hook(before).remove)


def in_method(owner, name, when):
    """Of one of mixdiff's own classes."""
    plain = getattr(owner, name)

    def method(*args, **kwargs):
        if when.due():
            raised(when.kind)
        return plain(*args, **kwargs)

    setattr(owner, name, method)
    undo.append(lambda: setattr(owner, name, plain))


def with_hypernetwork(conds):
    """A random one for the text that the network gets, until the job ends. ImportError where the host has none."""
    from modules.hypernetworks.hypernetwork import Hypernetwork
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        cond = conds.batch[0][0].schedules[0].cond
        cond = cond["crossattn"] if isinstance(cond, dict) else cond
        made = Hypernetwork("probe", [cond.shape[-1]], [1, 2, 1], weight_init="KaimingNormal")
    for layer in [layer for layers in made.layers.values() for layer in layers]:
        layer.multiplier = 1.0
        layer.to(cond.device).eval().requires_grad_(False)
    shared.loaded_hypernetworks.append(made)
    undo.append(lambda: shared.loaded_hypernetworks.remove(made))


def begin_late(sampler, k):
    """The loop starts at step k, with the latent that the last job with `states` had there. Euler."""
    plain = sampler.func

    def late(model, x, sigmas, **kwargs):
        model.step = k
        return plain(model, states[k].to(x), sigmas=sigmas[k:], **kwargs)

    sampler.func = late


def watch(denoiser):
    """Records the calls of the host's own wrapper of the network, of which a run may have several: the refiner makes a new one."""
    wrap = denoiser.inner_model
    while type(wrap).__name__ in ("Rows", "Around"):
        wrap = getattr(wrap, "inner", None) or wrap.inner_model
    if wrap not in watched:
        watched.append(wrap)
        if faults.get("at") == "network":
            in_network(wrap, last["when"])
        calls = last["calls"]

        def before(module, args, kwargs):
            cond = kwargs["cond"]
            text = cond["crossattn"] if "crossattn" in cond else cond["c_crossattn"][0]
            calls.append({"x": list(args[0].shape), "sigma": float(args[1][0]), "tokens": text.shape[1],
                          "step": shared.state.sampling_step,
                          "weights": float(shared.sd_model.model.diffusion_model.out[2].weight.flatten()[0]),
                          "held": held(last["measure"]) if last.get("measure") else None,
                          "sizes": cond["vector"][:, -SIZES:].tolist() if "vector" in cond else None})
        wrap.register_forward_pre_hook(before, with_kwargs=True)


class Script(scripts.Script):
    def title(self):
        return "mixdiff-probe"

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def ui(self, is_img2img):
        return [gr.Textbox("", visible=False, elem_id=self.elem_id("mixdiff_probe"))]

    def before_process(self, p, wanted):
        self.postprocess(p, None, wanted)
        for record in (last, faults, watched):
            record.clear()
        if isinstance(wanted, dict):
            faults.update(wanted.get("fault") or {})
            last.update(calls=[], latents=[], hooks=[], step=wanted.get("start"), states=wanted.get("states"), measure=wanted.get("measure"))
            last["when"] = once(faults) if faults.get("kind") else None     # counts over the whole job

    def process(self, p, wanted):
        if isinstance(wanted, dict) and wanted.get("prompts"):          # as scripts with wildcards do
            p.all_prompts = wanted["prompts"]
        if isinstance(wanted, dict) and wanted.get("steady"):
            # the host draws latents of a picture from torch's global generator
            hook = shared.sd_model.first_stage_model.encoder.register_forward_hook(lambda *args: torch.manual_seed(0) and None)
            undo.append(hook.remove)

    def postprocess(self, p, processed, wanted):
        clean()

    def process_before_every_sampling(self, p, wanted, **kwargs):
        if not isinstance(wanted, dict):
            return
        run.update(job=p, sampler=p.sampler, denoiser=p.sampler.model_wrap_cfg)
        if wanted.get("hypernetwork"):
            with_hypernetwork(kwargs["c"])
        watch(p.sampler.model_wrap_cfg)
        if last["step"]:
            begin_late(p.sampler, last["step"])
        plain = p.sampler.callback_state
        if last["states"]:
            states.clear()

            def keep(d):
                states.append(d["x"].clone())
                return plain(d)
            p.sampler.callback_state = keep
        at, when = faults.get("at"), last["when"]
        armed, last["armed"] = last.get("armed"), True     # on what outlives a pass, once a job
        if at == "text encoder" and not armed:
            in_text_encoder(when)
        elif at == "hook":
            raised(faults["kind"])
        elif at == "loop":
            def callback_state(d):
                if when.due():
                    raised(when.kind)
                return plain(d)
            p.sampler.callback_state = callback_state
        elif at and at.startswith("mixdiff.") and not armed:
            module, owner, name = at.replace("mixdiff", "lib_mixdiff", 1).rsplit(".", 2)
            in_method(getattr(sys.modules[module], owner), name, when)

    def post_sample(self, p, ps, wanted):
        if isinstance(wanted, dict):        # of a hires pass a list of pictures
            last["latents"].append((ps.samples if isinstance(ps.samples, torch.Tensor) else torch.stack(list(ps.samples))).float().cpu())


def noted(name):
    """The method of that name, which also writes down that it was called."""
    plain = vars(Script).get(name)

    def method(self, p, *args, **kwargs):
        result = plain(self, p, *args, **kwargs) if plain else None
        last.get("hooks", []).append(name)
        return result
    return method


HOOKS = ("before_process", "process", "before_process_batch", "after_extra_networks_activate", "process_batch",
         "process_before_every_sampling", "before_hr", "on_mask_blend", "post_sample", "postprocess_batch", "postprocess_batch_list",
         "postprocess_image", "postprocess_maskoverlay", "postprocess_image_after_composite", "postprocess")
for hook in HOOKS:
    setattr(Script, hook, noted(hook))


class Around(torch.nn.Module):
    """What another extension may put around the network."""

    def __init__(self, inner):
        super().__init__()
        self.inner_model = inner

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner_model"), name)

    def forward(self, *args, **kwargs):
        return self.inner_model(*args, **kwargs)


def take_the_networks_place(params):
    faults["call"] -= 1
    if faults["call"] == -1 and faults["kind"]:
        params.denoiser.model_wrap = Around(params.denoiser.model_wrap) if faults["kind"] == "wrapped" else params.denoiser.sampler.model_wrap


def callback(at):
    def act(params):
        if "hooks" in last:
            last["hooks"].append(at)
            if at == "on_cfg_denoiser":
                watch(params.denoiser)
        if at == "on_cfg_denoiser" and faults.get("at") == "network's place":
            take_the_networks_place(params)
        if faults.get("at") == at:
            faults["call"] = faults.get("call", 0) - 1
            if faults["call"] == -1:
                raised(faults["kind"])
                if faults["kind"] == "nan":
                    params.x.fill_(float("nan"))
    return act


script_callbacks.on_cfg_denoiser(callback("on_cfg_denoiser"))
script_callbacks.on_cfg_denoised(callback("on_cfg_denoised"))
script_callbacks.on_cfg_after_cfg(callback("on_cfg_after_cfg"))


def digest(value):
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=repr).encode()).hexdigest()[:16]


def names(thing):
    return {key: type(value).__name__ for key, value in vars(thing).items()}


def state():
    """What a run could have left behind, by name: digests of the attributes of every module of the model, of weights, callback
    lists, classes and modules of the host, options, and the state of the job."""
    clean()
    model = shared.sd_model
    weights = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        weights.update(key.encode() + value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
                       if value.numel() else key.encode())
    classes = [processing.StableDiffusionProcessingTxt2Img, processing.StableDiffusionProcessing, sd_samplers_common.Sampler,
               *{c for m in model.modules() for c in type(m).__mro__ if c.__module__ not in ("builtins", "abc")}]
    hosts = [m for name, m in sorted(sys.modules.items()) if name.startswith("modules.") and m is not None]
    return {
        "model": digest([(name, type(m).__name__, names(m), len(m._forward_hooks), len(m._forward_pre_hooks))
                         for name, m in model.named_modules()]),
        "weights": weights.hexdigest()[:16],
        "callbacks": {kind: [f"{c.script.rsplit('/', 1)[-1]}:{c.callback.__name__}" for c in registered]
                      for kind, registered in script_callbacks.callback_map.items() if registered},
        "classes": digest(sorted((c.__module__, c.__qualname__, key, id(value)) for c in classes for key, value in vars(c).items()
                                 if callable(value))),
        "modules": digest(sorted((m.__name__, key, id(value)) for m in hosts for key, value in vars(m).items() if callable(value))),
        "library": digest(sorted((name, key, id(value)) for name, m in sys.modules.items() if name.startswith("lib_mixdiff")
                                 for c in vars(m).values() if isinstance(c, type) for key, value in vars(c).items() if callable(value))),
        "options": digest(dict(shared.opts.data)),
        "run": {name: sorted(key for key in names(thing) if key != "callback_state") + [type(m).__name__ for m in getattr(thing, "_modules", {}).values()]
                for name, thing in run.items()},
        "job": {key: getattr(shared.state, key) for key in ("interrupted", "skipped", "job", "job_count")},
    }


def held(kind):
    """Bytes of the tensors that objects of a class of this name hold."""
    inside = [value for each in gc.get_objects() if type(each).__name__ == kind for name, value in vars(each).items() if name != "_layers"]
    tensors = {id(t): t for t in flat(inside) if isinstance(t, torch.Tensor) and t.device.type != "meta"}
    return sum(t.numel() * t.element_size() for t in tensors.values())


def flat(value):
    if isinstance(value, dict):
        value = list(value.values())
    return [one for each in value for one in flat(each)] if isinstance(value, (list, tuple)) else [value]


def clean():
    """After a job that ended early."""
    while undo:
        undo.pop()()


def routes(demo, app):
    if hasattr(shared, "prompt_styles"):
        from modules.styles import PromptStyle
        shared.prompt_styles.styles["mixdiff-probe"] = PromptStyle("mixdiff-probe", "{prompt}, in oil", "a cross", None)

    @app.get("/mixdiff-probe/state")
    def get_state():
        return state()

    @app.get("/mixdiff-probe/held/{kind}")
    def get_held(kind: str):
        return held(kind)

    @app.get("/mixdiff-probe/last")
    def get_last():
        return {"calls": last.get("calls", []), "hooks": last.get("hooks", []), "fired": last.get("fired", False), "latents": [
            {"shape": list(t.shape), "data": base64.b64encode(t.contiguous().numpy().tobytes()).decode()} for t in last.get("latents", [])]}


script_callbacks.on_app_started(routes)
