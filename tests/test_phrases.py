"""A phrase is found wherever the host's own parser and tokenizer put its words."""
from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from lib_mixdiff.phrases import columns_of, nearest_words, tokens_of
from minihost.client import ROOT

FILLER = "a red square " * 24           # 72 tokens


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """The embedded host's, which is held to the WebUI's by the recorded references."""
    if (folder := str(ROOT / "minihost")) not in sys.path:
        sys.path.append(folder)
    from modules.sd_hijack_clip import FrozenCLIPEmbedderWithCustomWords

    from minihost.shapes.parts import write_tokenizer
    folder = tmp_path_factory.mktemp("clip")
    write_tokenizer(folder)
    return FrozenCLIPEmbedderWithCustomWords(str(folder))


@pytest.fixture(scope="module")
def columns(encoder):
    def found(phrase: str, prompt: str) -> list[int]:
        return columns_of(*(tokens_of(encoder.tokenize_line(each)[0], encoder.id_end) for each in (phrase, prompt)))
    return found


def test_every_occurrence_counts(columns):
    assert columns("red circle", "a red circle and a red circle") == [2, 3, 6, 7]
    assert columns("a", "a red circle and a blue square") == [1, 5]
    assert columns("red square", "a red circle and a blue square") == []
    assert columns("", "a red circle") == []


@pytest.mark.parametrize("prompt", ["a (red:1.2) circle", "a (red circle:1.3)", "(a [red]) circle", "a red (circle)", "A  Red Circle"])
@pytest.mark.parametrize("phrase", ["red circle", "(red circle:1.5)", "Red (circle)"])
def test_emphasis_is_no_part_of_the_words(columns, prompt, phrase):
    assert columns(phrase, prompt) == [2, 3]


def test_later_chunks_and_their_borders(columns):
    assert columns("blue circle", f"{FILLER} blue circle") == [73, 74]
    assert columns("blue circle", f"{FILLER} a a a blue circle") == [77 + 1, 77 + 2]
    assert columns("blue circle", f"{FILLER} a a blue circle") == [75, 77 + 1], "across the border"
    assert columns("blue circle", "a red square BREAK a blue circle") == [77 + 2, 77 + 3]
    assert columns("blue circle", "a blue circle BREAK " * 3) == [2, 3, 79, 80, 156, 157]


def test_what_fills_up_a_chunk_is_no_word(columns, encoder):
    chunks = encoder.tokenize_line("a red circle")[0]
    assert tokens_of(chunks, encoder.id_end).columns == [1, 2, 3]
    assert columns("circle BREAK a", "a circle BREAK a circle") == [2, 77 + 1]


def test_textual_inversions_are_found_by_their_name():
    """The host puts zeros for their vectors, and remembers whose they are."""
    def chunk(tokens: list[int], *fixes: tuple[int, str, int]) -> SimpleNamespace:
        return SimpleNamespace(tokens=[49406, *tokens, *[49407] * (76 - len(tokens))],
                               fixes=[SimpleNamespace(offset=o, embedding=SimpleNamespace(name=n, vectors=v)) for o, n, v in fixes])

    def of(*chunks):
        return tokens_of([SimpleNamespace(tokens=c.tokens, fixes=[(f.offset, f.embedding) for f in c.fixes]) for c in chunks], 49407)

    cat, dog = of(chunk([0, 0], (0, "cat", 2))), of(chunk([0, 0], (0, "dog", 2)))
    prompt = of(chunk([5, 0, 0, 6, 0, 0], (1, "cat", 2), (4, "dog", 2)), chunk([0, 0], (0, "cat", 2)))
    assert columns_of(cat, prompt) == [2, 3, 78, 79]
    assert columns_of(dog, prompt) == [5, 6]
    assert columns_of(of(chunk([0])), of(chunk([0, 0], (0, "cat", 2)))) == [], 'token 0 itself is "!"'


def test_the_nearest_words_are_named():
    assert nearest_words("red cirle", ["a red circle and a blue square"]) == "red circle"
    assert nearest_words("rabbit  Mages", ["A highly detailed digital painting of a rabbit mage, casting"]) == "rabbit mage"
    assert nearest_words("blue squares", ["a red square AND a blue square"]) == "blue square"
    assert nearest_words("elephant", ["a red circle"]) is None
    assert nearest_words("", [""]) is None
