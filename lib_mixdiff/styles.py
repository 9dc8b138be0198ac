"""Styles: texts that are put around a prompt, as the WebUI keeps them."""
from __future__ import annotations

from collections.abc import Sequence

PROMPT = "{prompt}"         # where it belongs in a style's text; without it the text stands behind the prompt


def styled(prompt: str, styles: Sequence[str]) -> str:
    """The prompt with these texts, one after the other; as it is where it has them already, so that a picture's own prompt stays."""
    rest: str | None = prompt
    for style in reversed(styles):
        rest = None if rest is None else _without(rest, style)
    if rest is None:
        for style in styles:
            prompt = style.replace(PROMPT, prompt) if PROMPT in style else ", ".join(filter(None, (prompt.strip(), style.strip())))
    return prompt


def _without(text: str, style: str) -> str | None:
    """What `style` was put around, but for blanks at its ends; None where it was not."""
    text, style = text.strip(), style.strip()
    if PROMPT not in style:
        return "" if text == style else text[:-len(style) - 2] if text.endswith(", " + style) else text if not style else None
    start, length = style.index(PROMPT), (len(text) - len(style.replace(PROMPT, ""))) // style.count(PROMPT)
    rest = text[start:start + max(0, length)]
    return rest if style.replace(PROMPT, rest).strip() == text else None
