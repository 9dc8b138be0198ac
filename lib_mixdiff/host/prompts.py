"""How long prompts are, in tokens, as the host's own counter says (modules/ui.py, update_token_counter)."""
from __future__ import annotations

from modules import prompt_parser, sd_hijack

from lib_mixdiff.plan import Plan

FIELDS = ("prompt", "negative_prompt")


def lengths(plan: Plan, steps: int) -> list[dict[str, list | None]]:
    """For each region of the plan and each of its own prompts [tokens, how many fit into its chunks] of the longest part and step;
    None where it has none. Two "-" while no checkpoint is loaded."""
    return [{name: None if (text := getattr(region, name)) is None else length(text, steps, name == FIELDS[0]) for name in FIELDS}
            for region in plan.regions]


def length(text: str, steps: int, positive: bool) -> list:
    try:
        parts = list(prompt_parser.get_multicond_prompt_list([text])[1]) if positive else [text]
        schedules = prompt_parser.get_learned_conditioning_prompt_schedules(parts, steps)
        texts = {at for schedule in schedules for _, at in schedule}        # [a|b] is two, however many steps
    except Exception:           # what is half typed may not be parsed yet
        texts = {text}
    return list(max((sd_hijack.model_hijack.get_prompt_lengths(each) for each in texts), key=lambda found: found[0]))
