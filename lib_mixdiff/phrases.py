"""Where a phrase stands among the tokens of a prompt, as the text encoder gets them: in chunks of 75 between a start and an end."""
from __future__ import annotations

import difflib
import re
from collections.abc import Hashable, Iterable
from typing import Any, NamedTuple

WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*|<[^>]*>")      # of a prompt, as people see it
CLOSE = 0.6             # likeness of two phrases, from 0 to 1, from which on one may be meant by the other


class Tokens(NamedTuple):
    """The tokens of a text in their order, and the column of the text condition that each one has."""
    ids: list[Hashable]
    columns: list[int]


def tokens_of(chunks: Iterable[Any], end: int) -> Tokens:
    """Of the host's chunks, without their start, their end and what fills them up, which is the token `end`, too. The vectors of a textual
    inversion are (its name, which), wherever the host has put zeros for it (modules/sd_hijack_clip.py, `PromptChunkFix`)."""
    ids: list[Hashable] = []
    columns: list[int] = []
    for index, chunk in enumerate(chunks):
        own: list[Hashable] = list(chunk.tokens)
        for offset, embedding in getattr(chunk, "fixes", ()):
            for k in range(int(embedding.vectors)):
                if own[1 + offset + k] == 0:            # what was moved on to the next chunk is not here any more
                    own[1 + offset + k] = embedding.name, k
        length = len(own)
        while length > 1 and own[length - 1] == end:
            length -= 1
        ids += own[1:length]
        columns += range(len(own) * index + 1, len(own) * index + length)
    return Tokens(ids, columns)


def columns_of(phrase: Tokens, text: Tokens) -> list[int]:
    """The columns of the text that the phrase has, at each of its occurrences, across the chunks' borders, too."""
    length, found = len(phrase.ids), set()
    for start in range(len(text.ids) - length + 1 if length else 0):
        if text.ids[start:start + length] == phrase.ids:
            found.update(text.columns[start:start + length])
    return sorted(found)


def nearest_words(phrase: str, texts: Iterable[str]) -> str | None:
    """The words of the texts that are most like the phrase; None where none are."""
    length, wanted = len(WORD.findall(phrase)), " ".join(phrase.lower().split())
    best, likeness = None, CLOSE
    for text in dict.fromkeys(texts):
        words = [match.span() for match in WORD.finditer(text)]
        for count in {max(1, length - 1), length, length + 1}:
            for first, last in zip(words, words[count - 1:]):
                piece = " ".join(text[first[0]:last[1]].split())
                alike = difflib.SequenceMatcher(None, wanted, piece.lower()).ratio()
                if alike > likeness:
                    best, likeness = piece, alike
    return best
