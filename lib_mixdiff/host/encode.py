"""Prompts of regions, encoded by the host's own parser and text encoder."""
from __future__ import annotations

import re
from collections.abc import Sequence

from modules import devices, prompt_parser, sd_samplers, shared

from lib_mixdiff.conds import Cond, take
from lib_mixdiff.errors import PlanError
from lib_mixdiff.host.protocols import Job
from lib_mixdiff.mosaic import Part

NETWORK = re.compile(r"<\w+:[^>]+>")        # as modules/extra_networks.py finds them


def encoded(p: Job, prompts: Sequence[str | None], negatives: Sequence[str | None],
            fields: Sequence[str]) -> list[tuple[tuple[Part, ...] | None, Cond | None]]:
    """For each region its conds, one for each part of an `AND`, and its uncond; None where the prompt is None.

    `fields` are the regions' places in the plan, for messages. SDXL's size vector is that of the whole job.
    """
    for field, prompt, negative in zip(fields, prompts, negatives):
        for key, text in ((f"{field}.prompt", prompt), (f"{field}.negative_prompt", negative)):
            if text is not None and (found := NETWORK.search(text)):
                raise PlanError(key, found.group(), "put it into the job's own prompt, where it acts on the whole picture",
                                "{value} would have to act in one region only, which is not built yet")
    if getattr(shared.opts, "enable_prompt_comments", False):
        prompts, negatives = ([None if t is None else _without_comments(t) for t in texts] for texts in (prompts, negatives))
    sampler = sd_samplers.find_sampler_config(p.sampler_name)
    steps = sampler.total_steps(p.steps) if sampler else p.steps

    def each(parse, texts: Sequence[str | None], negative: bool) -> list:
        given = prompt_parser.SdConditioning([t for t in texts if t is not None], is_negative_prompt=negative,
                                             width=p.width, height=p.height)
        if not given:
            return [None] * len(texts)
        with devices.autocast():
            conds = parse(shared.sd_model, given, steps, None, shared.opts.use_old_scheduling)
        conds = iter(conds if negative else conds.batch)
        return [None if t is None else next(conds) for t in texts]

    result = []
    for field, prompt, negative, parts, schedule in zip(
            fields, prompts, negatives, each(prompt_parser.get_multicond_learned_conditioning, prompts, False),
            each(prompt_parser.get_learned_conditioning, negatives, True)):
        conds = uncond = None
        if parts is not None:
            for part in parts:
                _refuse_schedule(f"{field}.prompt", prompt, part.schedules)
            one = prompt_parser.MulticondLearnedConditioning(shape=(1,), batch=[parts])
            weights, stacked = prompt_parser.reconstruct_multicond_batch(one, 0)
            conds = tuple(Part(weight, take(stacked, [row])) for row, weight in weights[0])
        if schedule is not None:
            _refuse_schedule(f"{field}.negative_prompt", negative, schedule)
            uncond = take(prompt_parser.reconstruct_cond_batch([schedule], 0), [0])
        result.append((conds, uncond))
    return result


def _without_comments(text: str) -> str:
    """As the host strips them from the job's own prompts (modules/processing_scripts/comments.py)."""
    return "\n".join(line.split("#")[0] for line in text.split("\n") if not line.startswith("#"))


def _refuse_schedule(field: str, text: str | None, schedule: Sequence) -> None:
    if len(schedule) > 1:
        raise PlanError(field, text, "use one prompt for all steps there, and edit the job's own prompt only",
                        "{value} changes from step to step, which is not built yet in a region's prompt")
