"""What a plan holds as axes of the WebUI's X/Y/Z plot: every number, choice and text of it."""
from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from modules import scripts, sd_models

from lib_mixdiff.errors import PlanError
from lib_mixdiff.host.run import asked
from lib_mixdiff.plan import schema

PLOT = "xyz_grid.py"
PREFIX = "[mixdiff] "
LEFT_OUT = {"v", "ui", "hires", "canvas", "plan", "name"}      # of no interest, or plans of their own
TYPES = {"number": float, "integer": int, "string": str}
OF_ONE = re.compile(r"\s*(\d+): (.*)", re.DOTALL)


@dataclass(frozen=True)
class Axis:
    """`path` leads to a field of the plan; at N in it values say which one of the list is meant: "2: a blue cross"."""

    path: tuple[str, ...]
    type: type
    values: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        return PREFIX + ".".join(self.path).replace(".N", "[N]")

    @property
    def choices(self) -> Callable[[], list[str]] | None:
        if self.path == ("model",):
            return lambda: sorted(sd_models.checkpoints_list, key=str.casefold)
        return (lambda: list(self.values)) if self.values else None

    @property
    def of_a_list(self) -> bool:
        return "N" in self.path

    def put(self, plan: dict[str, Any], value: Any) -> None:
        """Sets the field in a plan's JSON; PlanError where the list has no such item."""
        index = 0
        if self.of_a_list:
            given = OF_ONE.fullmatch(str(value))
            index, value = (int(given[1]) - 1, given[2]) if given else (0, value)
        try:
            value = self.type(value)
        except ValueError:
            raise PlanError(".".join(self.path), value, f"use {self.type.__name__}s", "{value} does not fit") from None
        home: Any = plan
        for key, following in zip(self.path, self.path[1:]):
            if key == "N":
                if not 0 <= index < len(home):
                    raise PlanError(".".join(self.path), index + 1, f"the plan has {len(home)}", "there is no number {value}")
                home = home[index]
            else:
                kind = list if following == "N" else dict
                if home.get(key) is None:
                    home[key] = kind()
                if not isinstance(home[key], kind):
                    raise PlanError(".".join(self.path), home[key], "use a plan that has one", f"{key} is {{value}} there")
                home = home[key]
        home[self.path[-1]] = {"true": True, "false": False}.get(value, value) if self.values == ("true", "false") else value

    def apply(self, p: Any, value: Any, values: Any) -> None:
        """For the plot, whose jobs are copies that share what is not replaced."""
        script = next(each for each in p.scripts.alwayson_scripts if each.title() == "mixdiff")
        args = list(p.script_args)
        own = args[script.args_from:script.args_to]
        given = asked((True, *own[1:]) if own and isinstance(own[0], bool) else tuple(own)) or {}       # enabled or not
        try:
            plan = json.loads(given if isinstance(given, str) else json.dumps(given))
        except ValueError as error:
            raise PlanError("plan", given, "correct it there", f"{{value}} is not JSON ({error})") from None
        if not isinstance(plan, dict):
            raise PlanError("plan", plan, "use an object", "{value} is no plan")
        self.put(plan, value)
        args[script.args_from:script.args_to] = [True, json.dumps(plan)]
        p.script_args = tuple(args)


def axes() -> list[Axis]:
    return list(_of("Plan", (), schema()["$defs"]))


def _of(record: str, path: tuple[str, ...], records: dict[str, Any]) -> Iterator[Axis]:
    for key, whole in records[record]["properties"].items():
        for described in _alternatives(whole) if key not in LEFT_OUT else ():
            items, here = described.get("items", {}), (*path, key)
            if "sha256" in described.get("pattern", ""):        # an image
                continue
            if "$ref" in described:
                if key != "model" or not path:      # elsewhere a name is enough
                    yield from _of(described["$ref"].rpartition("/")[2], here, records)
            elif "$ref" in items:
                yield from _of(items["$ref"].rpartition("/")[2], (*here, "N"), records)
            elif values := described.get("enum") or (["true", "false"] if described.get("type") == "boolean" else []):
                yield Axis(here, str, tuple(values))
            elif described.get("type") in TYPES:
                yield Axis(here, TYPES[described["type"]])


def _alternatives(described: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "anyOf" not in described:
        yield described
    for each in described.get("anyOf", ()):
        yield from _alternatives(each)


def add_axes() -> None:
    """For `on_before_ui`: to the plot, where there is one. "Reload UI" makes it anew before."""
    for found in scripts.scripts_data:
        if found.path.endswith(PLOT) and not any(each.label.startswith(PREFIX) for each in found.module.axis_options):
            found.module.axis_options += [
                found.module.AxisOption(axis.label, str if axis.of_a_list else axis.type, axis.apply, choices=axis.choices)
                for axis in axes()]
