"""The line of parameters under a picture: quoting, and reading it back."""
import json
import re
from contextlib import suppress
from typing import Any

KEY = re.compile(r"[\s,]*(\w[\w /-]+):\s*")


def quote(text: Any) -> Any:
    """A value as it stands in the line: as JSON where it holds a comma, a colon or a new line."""
    return json.dumps(text, ensure_ascii=False) if set(str(text)) & set(",:\n") else text


def parse_generation_parameters(x: str, skip_fields: list[str] | None = None) -> dict[str, str]:
    """Prompt, negative prompt and parameters of an infotext, without those to be skipped; "Size: 64x128" becomes Size-1 and Size-2."""
    *lines, last = x.strip().split("\n")
    parameters, at = {}, 0
    while key := KEY.match(last, at):
        value = last[key.end():].partition(",")[0]
        at = key.end() + len(value)
        if value.startswith('"'):
            with suppress(ValueError):          # then it is no JSON, but a value that begins with a quotation mark
                value, at = json.JSONDecoder().raw_decode(last, key.end())
        parameters[key[1]] = value
    if len(parameters) < 3:             # then it is the end of the prompt
        lines, parameters = [*lines, last], {}
    prompt, *negative = re.split(r"^\s*Negative prompt:", "\n".join(lines), maxsplit=1, flags=re.MULTILINE)
    for key, value in list(parameters.items()):
        if size := re.fullmatch(r"(\d+)x(\d+)", value):
            parameters.update({f"{key}-1": size[1], f"{key}-2": size[2]})
            del parameters[key]
    found = {"Clip skip": "1", **parameters, "Prompt": prompt.strip(), "Negative prompt": "".join(negative).strip()}
    return {key: value for key, value in found.items() if key not in (skip_fields or ())}
