"""A plan's prompts: with the job's styles and lines for wildcards, as they are told to the text encoder, and how long they are."""
from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from random import Random

from modules import prompt_parser, sd_hijack, shared

from lib_mixdiff import styles, wildcards
from lib_mixdiff.documents import under
from lib_mixdiff.plan import Plan

FIELDS = ("prompt", "negative_prompt")
NETWORK = re.compile(r"<(\w+):([^>]+)>")        # calls an extra network, as modules/extra_networks.py finds them


def styled(plan: Plan, names: Sequence[str]) -> Plan:
    """With the job's styles in the plan's prompts, as the host puts them into the job's own (modules/processing.py, setup_prompts), but for
    the extra networks that they call, which the job has already."""
    known = getattr(getattr(shared, "prompt_styles", None), "styles", {})           # the embedded host has none
    for field in FIELDS:
        if texts := [NETWORK.sub("", text) for name in names if name in known and (text := getattr(known[name], field))]:
            plan = plan.with_each([field], lambda prompt, texts=texts: styles.styled(prompt, texts))
    return plan


def has_wildcards(plan: Plan) -> bool:
    return any(has_wildcard(prompt) for _, prompt in under(plan.to_dict(), FIELDS, unless=("ui",)))


def has_wildcard(prompt: str) -> bool:
    return wildcards.WILDCARD.search(without_comments(prompt)) is not None


def chosen(plan: Plan, seed: int) -> Plan:
    """With a line of its file for each wildcard, by the seed; PlanError. The files are those of the extensions that bring wildcards, and of
    a folder of that name beside them."""
    if not has_wildcards(plan):
        return plan
    home, random = Path(shared.data_path), Random(int(seed))
    among = wildcards.files([home / "wildcards", *sorted(home.glob("extensions/*/wildcards"))])
    return plan.with_each(FIELDS, lambda text: wildcards.chosen(without_comments(text), among, random) if has_wildcard(text) else text)


def spoken(prompt: str) -> str:
    """Without comments and what calls extra networks."""
    return NETWORK.sub("", without_comments(prompt))


def without_comments(text: str) -> str:
    """As the host strips them from the job's own prompts (modules/processing_scripts/comments.py)."""
    if not getattr(shared.opts, "enable_prompt_comments", False):
        return text
    return "\n".join(line.split("#")[0] for line in text.split("\n") if not line.startswith("#"))


def lengths(plan: Plan, steps: int) -> list[dict[str, list | None]]:
    """For each region of the plan and each of its own prompts [tokens, how many fit into its chunks] of the longest part and step, as the
    host's own counter says (modules/ui.py, update_token_counter); None where it has none. Two "-" while no checkpoint is loaded."""
    return [{name: None if (text := getattr(region, name)) is None else length(text, steps, name == FIELDS[0]) for name in FIELDS}
            for region in plan.regions]


def length(text: str, steps: int, positive: bool) -> list:
    try:
        parts = list(prompt_parser.get_multicond_prompt_list([spoken(text)])[1]) if positive else [without_comments(text)]
        schedules = prompt_parser.get_learned_conditioning_prompt_schedules(parts, steps)
        texts = {at for schedule in schedules for _, at in schedule}        # [a|b] is two, however many steps
    except Exception:           # what is half typed may not be parsed yet
        texts = {text}
    return list(max((sd_hijack.model_hijack.get_prompt_lengths(each) for each in texts), key=lambda found: found[0]))
