"""Networks named in a prompt, `<kind:name:weight>`: taken out of the text; minihost has none to activate."""
from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

from modules.errors import NotHere

NETWORK = re.compile(r"<(\w+):([^>]+)>")


class ExtraNetworkParams:
    """The parts between the colons: `positional` and, of the form key=value, `named`."""

    def __init__(self, items: list[str] | None = None) -> None:
        self.items = items or []
        self.named = dict(item.split("=", 1) for item in self.items if "=" in item)
        self.positional = [item for item in self.items if "=" not in item]


def parse_prompt(prompt: str) -> tuple[str, dict[str, list[ExtraNetworkParams]]]:
    found: dict[str, list[ExtraNetworkParams]] = defaultdict(list)
    for kind, rest in NETWORK.findall(prompt):
        found[kind].append(ExtraNetworkParams(rest.split(":")))
    return NETWORK.sub("", prompt), found


def parse_prompts(prompts: list[str]) -> tuple[list[str], dict[str, list[ExtraNetworkParams]] | None]:
    """All prompts without their networks, and the networks of the first one."""
    parsed = [parse_prompt(prompt) for prompt in prompts]
    return [text for text, _ in parsed], parsed[0][1] if parsed else None


def activate(p: Any, extra_network_data: dict[str, list[ExtraNetworkParams]]) -> None:
    for kind, networks in extra_network_data.items():
        raise NotHere(f"minihost has no networks: take <{kind}:{':'.join(networks[0].items)}> out of the prompt.")
    if p.scripts is not None:
        p.scripts.after_extra_networks_activate(p, batch_number=p.iteration, prompts=p.prompts, seeds=p.seeds, subseeds=p.subseeds,
                                                extra_network_data=extra_network_data)
