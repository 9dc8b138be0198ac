"""Prompts of regions, encoded by the host's own parser and text encoder."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from modules import devices, prompt_parser, sd_hijack, shared

from lib_mixdiff.conds import Cond, rows_of, take, tokens
from lib_mixdiff.host.prompts import spoken, without_comments
from lib_mixdiff.host.protocols import Conds, Denoiser, Job
from lib_mixdiff.host.said import steps_of
from lib_mixdiff.mosaic import Model, Part

Entries = tuple[int, ...]                   # which entry of each prompt's schedule holds at a step


class Texts:
    """What one text encoder makes of a pass's prompts, with their prompt editing: what each says at a step."""

    def __init__(self, p: Job, prompts: Sequence[str | None], negatives: Sequence[str | None], encoder: Model | None = None,
                 rows: bool = False) -> None:
        """Prompts of regions; None is the job's own, or not asked for. Encoder None: the loaded one as it is. `rows`: the job's own are
        wanted, too, which the loaded one has made already. SDXL's sizes are those of the whole pass."""
        job: tuple[list[str], list[str]] = ([], [])
        if rows:
            job = (p.hr_prompts, p.hr_negative_prompts) if getattr(p, "is_hr_pass", False) else (p.prompts, p.negative_prompts)
        with encoder.active() if encoder else nullcontext():
            prompts = _encoded(p, prompt_parser.get_multicond_learned_conditioning, [*prompts, *job[0]], False)
            negatives = _encoded(p, prompt_parser.get_learned_conditioning, [*negatives, *job[1]], True)
        last = len(prompts) - len(job[0])
        self.prompts, self.negatives, self.job = prompts[:last], negatives[:last], (prompts[last:], negatives[last:])

    def entries(self, step: int) -> Entries:
        """What `at` and `rows` depend on; `step` is the denoiser's count of its calls."""
        schedules = [part.schedules for parts in [*self.prompts, *self.job[0]] if parts is not None for part in parts]
        schedules += [schedule for schedule in [*self.negatives, *self.job[1]] if schedule is not None]
        return tuple(next((i for i, entry in enumerate(s) if step <= entry.end_at_step), 0) for s in schedules)

    def at(self, step: int, denoiser: Denoiser) -> list[tuple[tuple[Part, ...] | None, Cond | None]]:
        """For each region its conds, one for each part of an `AND`, and its uncond; None where the job's own prompt holds."""
        result = []
        for parts, schedule in zip(self.prompts, self.negatives):
            conds = uncond = weights = None
            if parts is not None:
                weights, conds = _multicond([parts], step)
            if schedule is not None:
                uncond = prompt_parser.reconstruct_cond_batch([schedule], step)
            if conds is not None and uncond is not None:
                conds, uncond = _padded(conds, uncond, denoiser)
            own = None if weights is None or conds is None else tuple(Part(weight, take(conds, [row])) for row, weight in weights[0])
            result.append((own, uncond))
        return result

    def rows(self, step: int, denoiser: Denoiser) -> list[Cond] | None:
        """The job's own rows, as the host orders them; None where they were not wanted."""
        parts, schedules = self.job
        if not parts:
            return None
        both = _padded(_multicond(parts, step)[1], prompt_parser.reconstruct_cond_batch(schedules, step), denoiser)
        return [take(cond, [row]) for cond in both for row in range(rows_of(cond))]


def conds_of(p: Job) -> Conds:
    """What the loaded text encoder makes of the prompts of the pass at hand, as the host's denoiser takes it."""
    prompts = p.hr_prompts if getattr(p, "is_hr_pass", False) else p.prompts
    parts = _encoded(p, prompt_parser.get_multicond_learned_conditioning, prompts, False)
    return prompt_parser.MulticondLearnedConditioning(shape=(len(parts),), batch=parts)


def unconds_of(p: Job) -> list:
    """Likewise of the negative prompts."""
    negatives = p.hr_negative_prompts if getattr(p, "is_hr_pass", False) else p.negative_prompts
    return _encoded(p, prompt_parser.get_learned_conditioning, negatives, True)


def _multicond(parts: list, step: int) -> tuple[list[list[tuple[int, float]]], Cond]:
    """By image the rows of its parts and their weights, and all rows."""
    return prompt_parser.reconstruct_multicond_batch(prompt_parser.MulticondLearnedConditioning(shape=(len(parts),), batch=parts), step)


def _padded(conds: Cond, uncond: Cond, denoiser: Denoiser) -> tuple[Cond, Cond]:
    """To one length, where the settings say so."""
    if tokens(conds) != tokens(uncond):
        if getattr(shared.opts, "pad_cond_uncond_v0", False):
            return denoiser.pad_cond_uncond_v0(conds, uncond)
        if shared.opts.pad_cond_uncond:
            return denoiser.pad_cond_uncond(conds, uncond)
    return conds, uncond


def _encoded(p: Job, parse: Any, texts: Sequence[str | None], negative: bool) -> list:
    """Schedules by text, None where that is None; encoded as the pass at hand encodes its own."""
    hires = getattr(p, "is_hr_pass", False)
    steps, hires_steps = steps_of(p, hires)
    width, height = (p.hr_upscale_to_x, p.hr_upscale_to_y) if hires else (p.width, p.height)
    read = without_comments if negative else spoken
    given = prompt_parser.SdConditioning([read(t) for t in texts if t is not None], is_negative_prompt=negative, width=width, height=height)
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
