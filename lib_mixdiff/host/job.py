"""What is refused by name, because it is not built yet or cannot work."""
from __future__ import annotations

from modules import shared

from lib_mixdiff.errors import PlanError
from lib_mixdiff.host.protocols import Job
from lib_mixdiff.plan import Plan, Region

NOT_YET = "{value} is understood, but not built yet"


def refuse(plan: Plan, p: Job) -> None:
    """PlanError where this job, or a part of the plan, cannot be had."""
    for kind, found, remedy in (
            ("Tiling", getattr(p, "tiling", False), "switch it off"),
            ("Hypertile in the U-Net", getattr(shared.opts, "hypertile_enable_unet", False), "switch it off in the settings"),
            ("an InstructPix2Pix checkpoint", getattr(shared.sd_model, "cond_stage_key", None) == "edit", "load another one")):
        if found:
            raise PlanError("job", kind, f"{remedy}, or mixdiff", f"mixdiff does not do {kind} yet")
    neutral, plain = Plan(), Region()
    wanted = {"guides": any(guide.enabled for guide in plan.guides), "paint": bool(plan.paint.phrases),
              **{key: getattr(plan, key) != getattr(neutral, key) for key in ("model", "canvas", "tiles", "amdm")}}
    for key, found in wanted.items():
        if found:
            raise PlanError(key, plan.to_dict()[key], "leave the key out of the plan", NOT_YET)
    for index, region in enumerate(plan.regions):
        for key in ("mask", "seed", "range", "model", "coords", "control_units"):
            if region.enabled and getattr(region, key) != getattr(plain, key):
                raise PlanError(f"regions[{index}].{key}", getattr(region, key), "leave the key out of the region", NOT_YET)
