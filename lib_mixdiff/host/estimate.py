"""What a plan will cost in a job, before it runs."""
from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from modules import prompt_parser, sd_samplers

from lib_mixdiff.errors import PlanError
from lib_mixdiff.fields import Integer, Number, Switch, Text
from lib_mixdiff.host.job import refuse
from lib_mixdiff.mosaic import Mosaic, Part
from lib_mixdiff.plan import Plan
from lib_mixdiff.regions import CELL_PX, Canvas, active_regions, members

TEXT = torch.zeros(1, 77, 1)        # in the place of every prompt, as if all were of one length
SIDE, STEPS = Integer(CELL_PX, 65536), Integer(1, 10_000)
FIELDS = {                          # of a job that matter here, and what they are if not given
    "width": (SIDE, 512), "height": (SIDE, 512), "steps": (STEPS, 20), "batch_size": (STEPS, 1), "n_iter": (STEPS, 1),
    "cfg_scale": (Number(0, 100), 7.0), "prompt": (Text(), ""), "sampler_name": (Text(), ""), "tiling": (Switch(), False),
    "enable_hr": (Switch(), False), "hr_scale": (Number(1, 100), 2.0), "hr_resize_x": (Integer(0, 65536), 0),
    "hr_resize_y": (Integer(0, 65536), 0), "hr_second_pass_steps": (Integer(0, 10_000), 0), "hr_sampler_name": (Text(), ""),
    "denoising_strength": (Number(0, 1), 0.75), "init_images": (None, None),
}


def job_of(fields: dict[str, Any]) -> SimpleNamespace:
    """A job with these fields of a request; other fields of a request are let through. PlanError where one has the wrong form."""
    values = {}
    for name, (kind, default) in FIELDS.items():
        value = fields.get(name)
        try:
            values[name] = default if value is None else value if kind is None else kind.read(value)
        except PlanError as error:
            raise error.within(name).within("job") from None
    return SimpleNamespace(**values)


def estimate(plan: Plan, job: SimpleNamespace) -> dict[str, Any]:
    """Network calls of the whole job, by pass, as if all prompts were of one length; `work` and `memory` against the plain job:
    latent cells through the network, and in its largest call. PlanError where the job cannot have the plan."""
    hires = plan.for_hires()
    for of_pass in (plan, hires):
        if of_pass is not None:
            refuse(of_pass, job)
    scale = min(job.denoising_strength, 0.999)      # of the steps, plus one: modules/sd_samplers_common.py, setup_img2img_steps
    first = job.steps if job.init_images is None else int(scale * job.steps) + 1
    passes = [_pass(plan, job, Canvas(job.height // CELL_PX, job.width // CELL_PX), job.sampler_name, first)]
    if job.enable_hr and job.init_images is None:
        width = job.hr_resize_x or (job.hr_resize_y * job.width // job.height if job.hr_resize_y else int(job.width * job.hr_scale))
        height = job.hr_resize_y or (job.hr_resize_x * job.height // job.width if job.hr_resize_x else int(job.height * job.hr_scale))
        canvas = Canvas(height // CELL_PX, width // CELL_PX, scale=(width * height / (job.width * job.height)) ** 0.5)
        steps = int(scale * (job.hr_second_pass_steps or job.steps)) + 1
        passes.append(_pass(hires or Plan(), job, canvas, job.hr_sampler_name or job.sampler_name, steps))
    cells = sum(p["work"] * p["plain_cells"] for p in passes)
    return {"calls": job.n_iter * sum(p["calls"] for p in passes), "work": cells / sum(p["plain_cells"] for p in passes),
            "memory": max(p["memory"] for p in passes), "passes": [{k: v for k, v in p.items() if k != "plain_cells"} for p in passes]}


def _pass(plan: Plan, job: SimpleNamespace, canvas: Canvas, sampler_name: str, steps: int) -> dict[str, Any]:
    sampler = sd_samplers.find_sampler_config(sampler_name or None)
    evaluations = sampler.total_steps(steps) if sampler else steps
    parts = [[weight for _, weight in prompt_parser.get_multicond_prompt_list([job.prompt])[0][0]]] * job.batch_size
    plain = (sum(map(len, parts)) + job.batch_size) * canvas.height * canvas.width
    shapes = [(plain // (canvas.height * canvas.width), canvas.height, canvas.width)]
    if regions := active_regions(plan):
        texts = [(None if r.prompt is None else tuple(
            Part(weight, TEXT) for _, weight in prompt_parser.get_multicond_prompt_list([r.prompt])[0][0]),
            None if r.negative_prompt is None else TEXT) for r in regions]
        shapes = Mosaic(members(plan, canvas, job.cfg_scale, texts), parts).call_shapes(canvas.height, canvas.width)
    cells = [rows * height * width for rows, height, width in shapes]
    return {"width": canvas.width * CELL_PX, "height": canvas.height * CELL_PX, "calls": evaluations * len(shapes),
            "rows": evaluations * sum(rows for rows, _, _ in shapes), "work": sum(cells) / plain, "memory": max(cells) / plain,
            "plain_cells": evaluations * plain}
