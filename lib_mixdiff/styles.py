"""Styles: texts that are put around a prompt, as the WebUI keeps them."""
from __future__ import annotations

from collections.abc import Sequence

PROMPT = "{prompt}"         # where it belongs in a style's text; without it the text stands behind the prompt


def styled(prompt: str, styles: Sequence[str]) -> str:
    """The prompt with these texts, one after the other, without blanks at its ends; as it is where it has them already, so that the prompt
    that a picture brings back stays what it was."""
    styles = [style.strip() for style in styles if style.strip()]
    rest: str | None = prompt.strip()
    for style in reversed(styles):
        rest = None if rest is None else _without(rest, style)
    if not styles or rest is not None:
        return prompt
    prompt = prompt.strip()
    for style in styles:
        prompt = (style.replace(PROMPT, prompt) if PROMPT in style else ", ".join(filter(None, (prompt, style)))).strip()
    return prompt


def _without(text: str, style: str) -> str | None:
    """What `style` was put around; None where it was not."""
    if PROMPT not in style:
        return "" if text == style else text[:-len(style) - 2] if text.endswith(", " + style) else None
    start, length = style.index(PROMPT), (len(text) - len(style.replace(PROMPT, ""))) // style.count(PROMPT)
    rest = text[start:start + max(0, length)]
    return rest if style.replace(PROMPT, rest).strip() == text else None
