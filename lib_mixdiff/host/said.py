"""What a pass says to the text encoder, step by step, as the host's own parser reads its prompts."""
from __future__ import annotations

from collections.abc import Sequence

from modules import prompt_parser, shared

from lib_mixdiff.host.job import evaluations
from lib_mixdiff.host.prompts import spoken
from lib_mixdiff.host.protocols import Job

Schedule = list[tuple[int, str]]        # of a text: (last step, what it is until then), ...


class Said:
    """For each image of the batch, and for each region that has a prompt of its own, the parts of an `AND`, each with its schedule."""

    def __init__(self, job: Sequence[str], regions: Sequence[str | None], steps: int, hires_steps: int | None = None) -> None:
        def parts(prompt: str) -> list[Schedule]:
            which, texts, _ = prompt_parser.get_multicond_prompt_list([prompt])
            schedules = prompt_parser.get_learned_conditioning_prompt_schedules(texts, steps, hires_steps, shared.opts.use_old_scheduling)
            return [schedules[index] for index, _ in which[0]]

        self.job = [parts(prompt) for prompt in job]
        self.regions = [None if prompt is None else parts(spoken(prompt)) for prompt in regions]

    @classmethod
    def by(cls, p: Job, regions: Sequence[str | None], hires: bool) -> Said:
        return cls(p.hr_prompts if hires else p.prompts, regions, *steps_of(p, hires))

    def of(self, member: int, image: int) -> list[Schedule]:
        """Of a region, by its index, or of the base with the one after the last."""
        own = self.regions[member] if member < len(self.regions) else None
        return self.job[image] if own is None else own

    def entries(self, step: int) -> tuple[str, ...]:
        """All that is said at a step, which is the denoiser's count of its calls."""
        return tuple(text_at(schedule, step) for parts in [*self.job, *self.regions] for schedule in parts or ())


def text_at(schedule: Schedule, step: int) -> str:
    """As the host finds it (modules/prompt_parser.py, reconstruct_cond_batch)."""
    return next((text for end, text in schedule if step <= end), schedule[0][1])


def steps_of(p: Job, hires: bool) -> tuple[int, int | None]:
    """Evaluations of the first pass, and of the hires pass where that is meant, as schedules of prompts are reckoned."""
    steps = evaluations(p.sampler_name or None, p.steps)
    return steps, evaluations(p.hr_sampler_name or p.sampler_name or None, p.hr_second_pass_steps or p.steps) if hires else None
