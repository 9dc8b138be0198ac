"""The settings that minihost knows. An option with `only` works at that one value and refuses others."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from modules.errors import NotHere


@dataclass
class OptionInfo:
    default: Any = None
    label: str = ""
    component: Any = None
    component_args: Any = None
    onchange: Callable[[], Any] | None = None
    section: tuple[str, str] | None = None
    only: bool = False


class Options:
    """Settings as attributes, as in the WebUI: `opts.batch_cond_uncond`; `data` holds the values."""

    def __init__(self, data_labels: dict[str, OptionInfo]) -> None:
        vars(self).update(data_labels=data_labels, data={key: info.default for key, info in data_labels.items()})

    def __getattr__(self, name: str) -> Any:
        if name in vars(self)["data"]:
            return vars(self)["data"][name]
        raise AttributeError(f"minihost has no option {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        self.data[name] = value

    def add_option(self, key: str, info: OptionInfo) -> None:
        self.data_labels[key] = info
        self.data.setdefault(key, info.default)

    def set(self, key: str, value: Any, is_api: bool = False, run_callbacks: bool = True) -> bool:
        """Sets one option; True if that changed it. Unknown keys, and values that minihost cannot follow, are refused."""
        info = self.data_labels.get(key)
        if info is None or (info.only and value != info.default):
            known = f"the option {key!r} at {info.default!r} only, not at {value!r}" if info else f"no option {key!r}"
            raise NotHere(f"minihost knows {known}: take it out of the request, or use the WebUI.")
        changed = self.data[key] != value
        self.data[key] = value
        if changed and run_callbacks and info.onchange is not None:
            info.onchange()
        return changed
