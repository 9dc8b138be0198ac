"""Which step uses which checkpoint, before a job runs."""
from __future__ import annotations

from itertools import groupby
from types import SimpleNamespace
from typing import Any

from modules import sd_samplers

from lib_mixdiff.experts import Name, at, index
from lib_mixdiff.host.checkpoints import found_by
from lib_mixdiff.host.clock import Clock
from lib_mixdiff.host.job import loaded
from lib_mixdiff.models import Aggregation, Model
from lib_mixdiff.moments import Moment
from lib_mixdiff.plan import Plan
from lib_mixdiff.regions import active_regions

UNSCHEDULED = ("DPM adaptive", "DPM fast", "Restart")


def readout(plan: Plan, sampler_name: str, scheduler: str, steps: int, last: int) -> dict[str, Any]:
    """`checkpoints`, where a plan names some: for the canvas, each region and each of AMDM's models with a model of its own, stretches of
    the steps that it draws, counted from 1, with the titles of the checkpoints whose U-Net and text encoder work there, null being the
    loaded one, and the index of the expert of a stack, null in its gaps; of `steps` the `last` ones are made. `noise`: the timestep and
    sigma of each step. Both null where the sampler is unknown or finds its steps as it goes, or no checkpoint is loaded yet."""
    of = [("canvas", plan.model, None), *((place, r.model, None) for place, r in enumerate(plan.regions) if r in active_regions(plan))]
    for place, each in plan.amdm.acting if plan.amdm else ():
        of.append((f"amdm.models[{place}]", each.plan.model, plan.amdm.mixed(last)))
    if not any(model for _, model, _ in of):
        return {}
    sampler = sd_samplers.find_sampler_config(sampler_name or None)
    unknown = not steps or loaded() is None or sampler is None or sampler.name in UNSCHEDULED
    moments = None if unknown else _moments(sampler_name, scheduler, steps, last)
    return {"checkpoints": moments and [{"of": name, "steps": _stretches(model, moments[:most])} for name, model, most in of if model],
            "noise": moments and [[moment.timestep, moment.sigma] for moment in moments]}


def _stretches(model: Model, moments: list[Moment]) -> list[dict[str, Any]]:
    result, first = [], 1
    for (pair, expert), same in groupby((at(model, moment), index(model, moment)) for moment in moments):
        count = len(list(same))
        unet, text = (_said(name) for name in pair)
        result.append({"from": first, "to": first + count - 1, "unet": unet, "text_encoder": text, "expert": expert})
        first += count
    return result


def _said(name: Name) -> str | None:
    if isinstance(name, Aggregation):
        return " + ".join(found_by(model).title for model in name.models)
    return None if name is None else found_by(name).title


def _moments(sampler_name: str, scheduler: str, steps: int, last: int) -> list[Moment]:
    """Of each step, as the host will make its schedule (modules/sd_samplers_kdiffusion.py, modules/sd_samplers_timesteps.py)."""
    sampler = sd_samplers.create_sampler(sampler_name or None, loaded())
    asked: Any = SimpleNamespace(scheduler=scheduler, hr_scheduler=None, is_hr_pass=False, sampler_noise_scheduler_override=None,
                                 extra_generation_params={})
    clock = Clock(sampler)
    if hasattr(sampler, "get_sigmas"):
        clock.begin({"sigmas": sampler.get_sigmas(asked, steps)[-last - 1:]})
    else:
        timesteps = sampler.get_timesteps(asked, steps)
        clock.begin({"timesteps": timesteps if last == steps else timesteps[:last - 1]})
    return clock.moments()
