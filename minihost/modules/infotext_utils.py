"""The line of parameters under a picture: quoting, and reading it back."""
from __future__ import annotations

import json
import re
import sys
from typing import Any

sys.modules["modules.generation_parameters_copypaste"] = sys.modules[__name__]       # its name before WebUI 1.8

KEY = re.compile(r"[\s,]*(\w[\w /-]+):\s*")


def quote(text: Any) -> Any:
    """A value as it stands in the line: as JSON where it holds a comma, a colon or a new line."""
    return json.dumps(text, ensure_ascii=False) if set(str(text)) & set(",:\n") else text


def unquote(text: str) -> str:
    try:
        return json.loads(text) if text[:1] == text[-1:] == '"' else text
    except ValueError:
        return text


def read_line(line: str) -> dict[str, str]:
    """`Steps: 3, Size: 64x64, Note: "a, b"` as a dict of strings."""
    found, at = {}, 0
    while key := KEY.match(line, at):
        at = key.end()
        try:                            # a value is a JSON string, or whatever stands before the next comma
            value, at = json.JSONDecoder().raw_decode(line, at) if line[at:at + 1] == '"' else (None, at)
        except ValueError:
            value = None
        if value is None:
            end = line.find(",", at)
            value, at = (line[at:], len(line)) if end < 0 else (line[at:end], end)
        found[key[1]] = value
    return found


def parse_generation_parameters(x: str, skip_fields: list[str] | None = None) -> dict[str, str]:
    """Prompt, negative prompt and parameters of an infotext; "Size: 64x128" becomes Size-1 and Size-2."""
    *lines, last = x.strip().split("\n")
    parameters = read_line(last)
    if len(parameters) < 3:             # then it is the end of the prompt
        lines, parameters = [*lines, last], {}
    texts: dict[str, list[str]] = {"Prompt": [], "Negative prompt": []}
    current = "Prompt"
    for line in map(str.strip, lines):
        if line.startswith("Negative prompt:"):
            current, line = "Negative prompt", line[len("Negative prompt:"):].strip()
        texts[current].append(line)
    result: dict[str, str] = {}
    for key, value in parameters.items():
        if size := re.fullmatch(r"(\d+)x(\d+)", value):
            result[f"{key}-1"], result[f"{key}-2"] = size.groups()
        else:
            result[key] = value
    result.update({key: "\n".join(text) for key, text in texts.items()})
    result.setdefault("Clip skip", "1")
    return {key: value for key, value in result.items() if key not in (skip_fields or [])}
