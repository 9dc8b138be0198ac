"""What is refused by name, because it is not built yet or cannot work."""
from __future__ import annotations

import sys
from typing import Any

from modules import prompt_parser, sd_models, sd_samplers, shared

from lib_mixdiff.errors import NOT_YET, PlanError, inside, within
from lib_mixdiff.host.checkpoints import refuse_model, refuse_other_networks
from lib_mixdiff.host.lora import calls_in
from lib_mixdiff.host.prompts import NETWORK, spoken
from lib_mixdiff.host.protocols import Job
from lib_mixdiff.plan import AmdmModel, ModelPlan, Plan, Region
from lib_mixdiff.regions import active_regions

UNMIXED = ("UniPC", "DPM fast", "DPM adaptive", "DDIM CFG++")       # no schedule that could be taken up later, or another latent
CUTTING = ("SD upscale", "Outpainting mk2", "Poor man's outpainting")      # scripts that make several jobs of one picture


def refuse(plan: Plan, p: Job) -> Plan | None:
    """PlanError where this job, or a part of the plan, cannot be had; the plan of the hires pass, None where that is plain."""
    hires = plan.for_hires()
    enable_hr = getattr(p, "enable_hr", False)
    for kind, found, remedy in (
            ("Tiling", getattr(p, "tiling", False), "switch it off"),
            ("Hypertile in the U-Net", getattr(shared.opts, "hypertile_enable_unet", False), "switch it off in the settings"),
            ("Hypertile in the hires pass's U-Net", enable_hr and hires is not None and any(
                active_regions(each) for each in (hires, *(model.plan for _, model in (hires.amdm.acting if hires.amdm else ()))))
             and getattr(shared.opts, "hypertile_enable_unet_secondpass", False), "switch it off in the settings"),
            ("an InstructPix2Pix checkpoint", getattr(loaded(), "cond_stage_key", None) == "edit", "load another one"),
            (f"the script {_script(p)}", _script(p) in CUTTING, "choose no script")):
        if found:
            raise PlanError("job", kind, f"{remedy}, or mixdiff", f"mixdiff does not do {kind} yet")
    _refuse(plan, p, p.sampler_name)
    if hires is not None and (enable_hr or plan.hires):
        with inside("hires"):
            _refuse(hires, p, getattr(p, "hr_sampler_name", None) or p.sampler_name)
    return hires


def _refuse(plan: Plan, p: Job, sampler_name: str | None) -> None:
    _refuse_parts(plan, p)
    if plan.amdm is None:
        return
    with inside("amdm"):
        if plan.amdm.acting:
            refuse_other_networks("several models", "leave amdm out", p)
            sampler = sd_samplers.find_sampler_config(sampler_name)
            if sampler is not None and sampler.name in UNMIXED:
                raise unmixed(sampler.name)
        for index, model in plan.amdm.acting:
            with within(["models", index]):
                _refuse_told(model, p)
                with inside("plan"):
                    _refuse_parts(model.plan, p)


def _refuse_parts(plan: ModelPlan, p: Job) -> None:
    refuse_model(plan.model, p)
    if plan.paint.acts:
        refuse_paint()
    for index, region in enumerate(plan.regions):
        if region.enabled:
            with within(["regions", index]):
                refuse_model(region.model, p)
                _refuse_told(region, p)


def _refuse_told(told: Region | AmdmModel, p: Job) -> None:
    if told.control_units is not None:
        raise PlanError("control_units", told.control_units, "leave the key out", NOT_YET)
    with inside("prompt"):
        calls_in(told.prompt, p)
    if found := NETWORK.search(told.negative_prompt or ""):
        raise PlanError("negative_prompt", found.group(), "put it into the prompt beside it, whence it acts on both",
                        "{value} would be read as words in a negative prompt")
    if told.prompt is not None:
        refuse_weightless("prompt", told.prompt, and_weights(spoken(told.prompt)))


def unmixed(sampler_name: str) -> PlanError:
    return PlanError("", sampler_name, "choose another one, such as Euler or DDIM", "AMDM does not go with the sampler {value}")


def refuse_paint() -> None:
    """PlanError where the words of a prompt cannot be found in what the network is told, or its layers are not PyTorch's."""
    for kind, found in (("the old emphasis implementation", getattr(shared.opts, "use_old_emphasis_implementation", False)),
                        ("another U-Net than the checkpoint's", getattr(sys.modules.get("modules.sd_unet"), "current_unet", None))):
        if found:
            raise PlanError("paint", kind, "switch it off in the settings, or leave paint out", "paint does not go together with {value}")


def refuse_weightless(field: str, prompt: str | list[str], weights: list[float]) -> None:
    """PlanError where no part of a prompt has a weight, and it would be drawn as if it were not there."""
    if not any(weights):
        raise PlanError(field, prompt, "end it differently, or give one of its parts a weight",
                        "the weight of {value} is 0, as a colon and a number at its end are read")


def evaluations(sampler_name: str | None, steps: int) -> int:
    """How often a sampler asks for the network in so many steps, as the host counts them."""
    sampler = sd_samplers.find_sampler_config(sampler_name)
    return sampler.total_steps(steps) if sampler else steps


def and_weights(prompt: str) -> list[float]:
    """The weights of a prompt's parts."""
    return [weight for _, weight in prompt_parser.get_multicond_prompt_list([prompt])[0][0]]


def loaded() -> Any:
    """The model, without loading one as `shared.sd_model` may."""
    return getattr(getattr(sd_models, "model_data", None), "sd_model", None)


def _script(p: Job) -> str | None:
    """Title of the script that is chosen below the page's controls: its place is the scripts' first argument."""
    scripts, place = getattr(getattr(p, "scripts", None), "selectable_scripts", []), (getattr(p, "script_args", None) or [0])[0]
    return scripts[place - 1].title() if isinstance(place, int) and 0 < place <= len(scripts) else None
