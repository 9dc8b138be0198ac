"""Prompts of regions, encoded by the host's own parser and text encoder."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from modules import devices, prompt_parser, sd_hijack, shared

from lib_mixdiff.conds import Cond, take, tokens
from lib_mixdiff.host.job import evaluations
from lib_mixdiff.host.protocols import Denoiser, Job
from lib_mixdiff.mosaic import Part

Entries = tuple[int, ...]                   # which entry of each prompt's schedule holds at a step


class Texts:
    """The prompts of regions for one pass, with their prompt editing: what each says at a step."""

    def __init__(self, p: Job, prompts: Sequence[str | None], negatives: Sequence[str | None]) -> None:
        """None is the job's own. SDXL's sizes are those of the whole pass."""
        self.prompts = _encoded(p, prompt_parser.get_multicond_learned_conditioning, prompts, False)
        self.negatives = _encoded(p, prompt_parser.get_learned_conditioning, negatives, True)

    def entries(self, step: int) -> Entries:
        """What `at` depends on; `step` is the denoiser's count of its calls."""
        schedules = [part.schedules for parts in self.prompts if parts is not None for part in parts]
        schedules += [schedule for schedule in self.negatives if schedule is not None]
        return tuple(next((i for i, entry in enumerate(s) if step <= entry.end_at_step), 0) for s in schedules)

    def at(self, step: int, denoiser: Denoiser) -> list[tuple[tuple[Part, ...] | None, Cond | None]]:
        """For each region its conds, one for each part of an `AND`, and its uncond; None where the job's own prompt holds."""
        result = []
        for parts, schedule in zip(self.prompts, self.negatives):
            conds = uncond = weights = None
            if parts is not None:
                one = prompt_parser.MulticondLearnedConditioning(shape=(1,), batch=[parts])
                weights, conds = prompt_parser.reconstruct_multicond_batch(one, step)
            if schedule is not None:
                uncond = prompt_parser.reconstruct_cond_batch([schedule], step)
            if conds is not None and uncond is not None and tokens(conds) != tokens(uncond):
                if getattr(shared.opts, "pad_cond_uncond_v0", False):
                    conds, uncond = denoiser.pad_cond_uncond_v0(conds, uncond)
                elif shared.opts.pad_cond_uncond:
                    conds, uncond = denoiser.pad_cond_uncond(conds, uncond)
            own = None if weights is None or conds is None else tuple(Part(weight, take(conds, [row])) for row, weight in weights[0])
            result.append((own, uncond))
        return result


def _encoded(p: Job, parse: Any, texts: Sequence[str | None], negative: bool) -> list:
    """Schedules by text, None where that is None; encoded as the pass at hand encodes its own."""
    steps, hires_steps, width, height = evaluations(p.sampler_name, p.steps), None, p.width, p.height
    if getattr(p, "is_hr_pass", False):
        hires_steps = evaluations(p.hr_sampler_name or p.sampler_name, p.hr_second_pass_steps or p.steps)
        width, height = p.hr_upscale_to_x, p.hr_upscale_to_y
    given = prompt_parser.SdConditioning([_without_comments(t) for t in texts if t is not None], is_negative_prompt=negative,
                                         width=width, height=height)
    if not given:
        return [None] * len(texts)
    with devices.autocast(), _noting(p):
        conds = parse(shared.sd_model, given, steps, hires_steps, shared.opts.use_old_scheduling)
    conds = iter(conds if negative else conds.batch)
    return [None if t is None else next(conds) for t in texts]


@contextmanager
def _noting(p: Job) -> Iterator[None]:
    """The text encoder notes for the infotext which embeddings it met, at every encoding: what is new joins what the job's own
    prompts brought (modules/sd_hijack_clip.py, forward)."""
    hijack = sd_hijack.model_hijack
    own, hijack.extra_generation_params = hijack.extra_generation_params, {}
    try:
        yield
    finally:
        met, hijack.extra_generation_params = hijack.extra_generation_params, own
        for name, value in met.items():
            known = p.extra_generation_params.get(name) or ""
            new = [each for each in dict.fromkeys(value.split(", ")) if each not in known.split(", ")]
            p.extra_generation_params[name] = ", ".join([known, *new] if known else new)


def _without_comments(text: str) -> str:
    """As the host strips them from the job's own prompts (modules/processing_scripts/comments.py)."""
    if not getattr(shared.opts, "enable_prompt_comments", False):
        return text
    return "\n".join(line.split("#")[0] for line in text.split("\n") if not line.startswith("#"))
