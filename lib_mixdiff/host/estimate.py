"""What a plan will cost in a job, before it runs."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import torch
from modules import shared

from lib_mixdiff.boxes import CELL_PX, view_before_cut
from lib_mixdiff.errors import PlanError, inside, within
from lib_mixdiff.fields import Integer, Number, Switch, Text
from lib_mixdiff.host.images import opened
from lib_mixdiff.host.job import and_weights, evaluations, loaded, refuse, refuse_weightless
from lib_mixdiff.host.lora import calls_in
from lib_mixdiff.host.painting import areas_of
from lib_mixdiff.host.prompts import spoken
from lib_mixdiff.host.protocols import Job
from lib_mixdiff.host.said import Said, steps_of
from lib_mixdiff.host.schedule import readout
from lib_mixdiff.host.tiling import grid_of
from lib_mixdiff.host.wording import crops_of, find
from lib_mixdiff.models import Afa, Experts, Model
from lib_mixdiff.mosaic import Mosaic, Part, Told
from lib_mixdiff.nested import List
from lib_mixdiff.plan import ModelPlan, Plan, Region
from lib_mixdiff.regions import Canvas, active_regions, located, placed, told

TEXT = torch.zeros(1, 77, 1)        # in the place of every prompt, as if all were of one length
SIDE, STEPS, BATCH = Integer(CELL_PX, 16384), Integer(1, 10_000), Integer(1, 64)
LARGEST = 2**26                     # px of a pass that is still counted and drawn
FIELDS = {                          # of a job that matter here, and what they are if not given
    "width": (SIDE, 512), "height": (SIDE, 512), "steps": (STEPS, 50), "batch_size": (BATCH, 1), "n_iter": (STEPS, 1),
    "cfg_scale": (Number(0, 100), 7.0), "prompt": (Text(), ""), "sampler_name": (Text(), ""), "tiling": (Switch(), False),
    "init_images": (None, None), "denoising_strength": (Number(0, 1), 0.75),
    "enable_hr": (Switch(), False), "hr_scale": (Number(1, 8), 2.0), "hr_resize_x": (Integer(0, 16384), 0),
    "hr_resize_y": (Integer(0, 16384), 0), "hr_prompt": (Text(), ""), "hr_sampler_name": (Text(), ""),
    "refiner_checkpoint": (Text(), ""), "styles": (List(Text()), ()), "scheduler": (Text(), ""), "hr_scheduler": (Text(), ""),
    "hr_second_pass_steps": (Integer(0, 10_000), 0),
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
    """Network calls of the whole job, by pass, as if all prompts were of one length, every region acted all the time and every step
    asked for the network as often as the sampler says (Euler's kind does; others may save a call); `work` and `memory` against the
    plain job: latent cells through the network, and in its largest call. `share` is each pass's of the work; `shares` say which part of
    a pass's work is that of "base", "regions[0]", ..., "amdm.models[0]", ..., which are all of it together; and which part "amdm" (its
    models), "tiles" (what they overlap) and "model" (an ensemble's further U-Nets, on the canvas) have of it. PlanError where the job
    cannot have the plan."""
    if plan.canvas is not None:
        width, height = plan.canvas
        job = SimpleNamespace(**{**vars(job), "width": width, "height": height})
    hires = plan.for_hires() if plan.is_neutral else refuse(plan, cast(Job, job))
    strength = min(job.denoising_strength, 0.999)               # all as modules/sd_samplers_common.py, setup_img2img_steps, counts
    first = whole = job.steps
    if job.init_images is not None and getattr(shared.opts, "img2img_fix_steps", False):
        whole = int(first / strength) if strength else 0
    elif job.init_images is not None:
        first = int(strength * whole) + 1
    canvases = canvases_of(job)
    passes = [_pass(plan, job, canvases[0], job.sampler_name, job.scheduler, job.prompt, first, whole)]
    second = job.hr_second_pass_steps or job.steps
    for canvas in canvases[1:]:
        with inside("hires"):
            passes.append(_pass(hires or Plan(), job, canvas, job.hr_sampler_name or job.sampler_name, job.hr_scheduler or job.scheduler,
                                job.hr_prompt or job.prompt, second, int(second / strength) if strength else 0, hires=True))
    cells = sum(p["work"] * p["plain_cells"] for p in passes)
    for each in passes:
        each["share"] = each["work"] * each["plain_cells"] / cells
    return {"calls": job.n_iter * sum(p["calls"] for p in passes), "work": cells / sum(p["plain_cells"] for p in passes),
            "memory": max(p["memory"] for p in passes), "passes": [{k: v for k, v in p.items() if k != "plain_cells"} for p in passes]}


def canvases_of(job: SimpleNamespace) -> list[Canvas]:
    """What each pass of a job draws on, as the host reckons it (modules/processing.py, calculate_target_resolution); PlanError where
    one is empty or too large."""
    first = _canvas(job.width // CELL_PX, job.height // CELL_PX)
    if not job.enable_hr or job.init_images is not None:
        return [first]
    x, y = job.hr_resize_x, job.hr_resize_y
    if x * job.height > y * job.width:
        whole = x, x * job.height // job.width
    else:
        whole = (y * job.width // job.height, y) if y else (int(job.width * job.hr_scale), int(job.height * job.hr_scale))
    cut = ((whole[0] - x) // CELL_PX, (whole[1] - y) // CELL_PX) if x and y else (0, 0)
    cells = whole[0] // CELL_PX, whole[1] // CELL_PX
    second = _canvas(cells[0] - cut[0], cells[1] - cut[1])
    return [replace(first, view=view_before_cut(cut, cells)), replace(second, scale=whole[0] / job.width)]


def _canvas(width: int, height: int) -> Canvas:
    if not 0 < width * height <= LARGEST / CELL_PX**2:
        raise PlanError("job", f"{width * CELL_PX}x{height * CELL_PX}", f"ask for at least {CELL_PX} px each way and at most "
                        f"{LARGEST >> 20} megapixels")
    return Canvas(height, width)


def _model(region: Region, plan: ModelPlan, job: SimpleNamespace) -> Any:
    """What tells one from another, None for the loaded one."""
    model, calls = region.model or plan.model, calls_in(region.prompt, cast(Job, job))
    return (model, calls) if calls else model


def _pass(plan: Plan, job: SimpleNamespace, canvas: Canvas, sampler_name: str, scheduler: str, prompt: str, steps: int,
          whole: int, hires: bool = False) -> dict[str, Any]:
    """Of `whole` steps the last ones are made."""
    sampler, weights = sampler_name or None, and_weights(prompt)
    refuse_weightless("job.prompt", prompt, weights)
    plain = (len(weights) + 1) * job.batch_size * canvas.height * canvas.width     # cells of one call
    styles = getattr(shared, "prompt_styles", None)
    said = styles.apply_styles_to_prompt(prompt, list(job.styles)) if styles else prompt
    asked, mixing = [("", evaluations(sampler, steps), _drawn(plan, job, canvas, prompt, said, job.cfg_scale, hires))], {}
    if plan.amdm is not None and plan.amdm.acting:
        with inside("amdm"):
            mixed = plan.amdm.mixed(steps)
            mixing["amdm"] = {"models": 1 + len(plan.amdm.acting), "steps": mixed}
            asked = [("", evaluations(sampler, steps - mixed) + mixed, asked[0][2])]
            for index, model in plan.amdm.acting:
                with within(["models", index, "plan"]):
                    own = prompt if model.prompt is None else model.prompt
                    asked.append((f"amdm.models[{index}]", mixed, _drawn(
                        model.plan, job, canvas, own, said if model.prompt is None else own,
                        job.cfg_scale if model.cfg_scale is None else model.cfg_scale, hires)))
    calls = [(times, rows, rows * height * width) for _, times, drawn in asked for rows, height, width in drawn.calls]
    plain_cells, whole_cells = plain * evaluations(sampler, steps), sum(times * cells for times, _, cells in calls)
    return {"width": canvas.width * CELL_PX, "height": canvas.height * CELL_PX, "calls": sum(times for times, _, _ in calls),
            "rows": sum(times * rows for times, rows, _ in calls), "work": whole_cells / plain_cells,
            "memory": max(cells for _, _, cells in calls) / plain, "plain_cells": plain_cells, **mixing,
            "shares": {name: cells / whole_cells for name, cells in _parts(asked) if cells},
            **readout(plan, sampler_name, scheduler, whole, steps)}


def _parts(asked: list[tuple[str, int, Drawn]]) -> Iterator[tuple[str, int]]:
    """Of what is asked of the main model, and then of AMDM's others: (name, cells)."""
    (_, times, main), *others = asked
    yield from ((name, times * cells) for name, cells in main.cells.items())
    yield from ((name, n * sum(drawn.cells.values())) for name, n, drawn in others)
    yield "amdm", sum(n * sum(drawn.cells.values()) for _, n, drawn in others)
    yield "tiles", times * main.overlaps
    yield "model", times * main.ensembled


class Drawn(NamedTuple):
    """One evaluation of a plan."""
    calls: list[tuple[int, int, int]]       # (rows, height, width), of the network
    cells: dict[str, int]                   # of them all, by what is drawn
    overlaps: int = 0                       # of these, what tiles show twice
    ensembled: int = 0                      # and what is of the canvas's ensemble, but for its first U-Net


def _drawn(plan: ModelPlan, job: SimpleNamespace, canvas: Canvas, prompt: str, said: str, cfg_scale: float, hires: bool) -> Drawn:
    """`said` is the prompt with its styles."""
    parts = [and_weights(spoken(prompt))] * job.batch_size
    regions, grid = active_regions(plan), grid_of(plan)
    members = placed(located(plan, canvas, opened), plan, canvas, cfg_scale)
    if plan.paint.acts:
        _refuse_unsaid(plan, job, canvas, members, said, hires)
    if not regions and not grid:
        times, call = _times(plan.model), (sum(map(len, parts)) + job.batch_size, canvas.height, canvas.width)
        return Drawn(times * [call], {"base": times * prod(call)}, ensembled=(times - 1) * prod(call))
    each = [Told(None if r.prompt is None else tuple(Part(weight, TEXT) for weight in and_weights(spoken(r.prompt))),
                 None if r.negative_prompt is None else TEXT, model=_model(r, plan, job)) for r in [*regions, Region()]]

    def calls(members: list) -> list[tuple[int, int, int]]:
        shapes = Mosaic(told(members, each), parts, grid and grid.largest).call_shapes(canvas.height, canvas.width)
        return [tuple(shape) for (model, *shape) in shapes for _ in range(_times(model[0] if isinstance(model, tuple) else model))]

    tiles = grid.tiles(members) if grid else members            # of a shifted grid, those of the first step
    cells = {index: _cells(calls([tile for tile in tiles if tile[0] == index])) for index, _ in members}
    places = [place for place, region in enumerate(plan.regions) if any(region is each for each in regions)]
    names = {index: "base" if index is None else f"regions[{places[index]}]" for index in cells}
    own = sum(count for index, count in cells.items() if index is None or regions[index].model is None)
    by_name = {names[index]: count for index, count in cells.items()}
    overlaps, times = sum(cells.values()) - _cells(calls(members)), _times(plan.model)
    return Drawn(calls(tiles), by_name, max(0, overlaps), own * (times - 1) // times)


def _cells(calls: list[tuple[int, int, int]]) -> int:
    return sum(map(prod, calls))


def _times(model: Model) -> int:
    """Calls of the U-Net for one of a plain model; of a stack's experts as if the costliest worked all the time."""
    if isinstance(model, Experts):
        return max(_times(expert.model) for expert in model.experts)
    return model.afa.calls if isinstance(model, Afa) else 1


def _refuse_unsaid(plan: ModelPlan, job: SimpleNamespace, canvas: Canvas, members: list, prompt: str, hires: bool) -> None:
    """PlanError where something painted cannot be had; whether it is in the prompts as far as these are known: a job without one has not
    said yet what it will be."""
    areas = areas_of(plan, canvas)
    if prompt and loaded() is not None:
        said = Said([spoken(prompt)], [region.prompt for region in active_regions(plan)], *steps_of(cast(Job, job), hires))
        find(plan, said, crops_of(members, plan), areas)
