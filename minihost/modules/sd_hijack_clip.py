"""The text encoder: prompts of any length in chunks of 75 tokens, each token with its weight."""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from modules import prompt_parser
from modules.shared import opts
from torch import Tensor, nn


class PromptChunk(NamedTuple):
    """77 tokens, start and end among them, with their multipliers."""

    tokens: list[int]
    multipliers: list[float]


class FrozenCLIPEmbedderWithCustomWords(nn.Module):
    """`wrapped` has a CLIP `tokenizer` and a `transformer`."""

    chunk_length = 75

    def __init__(self, wrapped: nn.Module) -> None:
        super().__init__()
        self.wrapped, self.tokenizer = wrapped, wrapped.tokenizer
        self.comma_token = self.tokenizer.get_vocab().get(",</w>")
        self.id_start, self.id_end = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id

    def closed_chunk(self, tokens: Sequence[int] = (), multipliers: Sequence[float] = ()) -> PromptChunk:
        rest = self.chunk_length - len(tokens) + 1
        return PromptChunk([self.id_start, *tokens, *[self.id_end] * rest], [1.0, *multipliers, *[1.0] * rest])

    def tokenize_line(self, line: str) -> tuple[list[PromptChunk], int]:
        """The chunks of one prompt and its number of tokens (closed chunks count as full)."""
        parsed = prompt_parser.parse_prompt_attention(line)
        chunks: list[PromptChunk] = []
        tokens: list[int] = []
        multipliers: list[float] = []
        comma = -1                              # where the last comma of the open chunk is

        def close(at: int) -> None:
            """Closes the open chunk in front of its token `at`; the rest begins the next one."""
            nonlocal tokens, multipliers, comma
            chunks.append(self.closed_chunk(tokens[:at], multipliers[:at]))
            tokens, multipliers, comma = tokens[at:], multipliers[at:], -1

        pieces = self.tokenizer([text for text, _ in parsed], truncation=False, add_special_tokens=False)["input_ids"]
        for piece, (text, weight) in zip(pieces, parsed):
            if text == "BREAK" and weight == -1:
                close(len(tokens))
                continue
            for token in piece:
                if token == self.comma_token:
                    comma = len(tokens)
                elif len(tokens) == self.chunk_length and comma >= 0 and len(tokens) - comma <= opts.comma_padding_backtrack:
                    close(comma + 1)            # what follows a comma stays whole
                if len(tokens) == self.chunk_length:
                    close(len(tokens))
                tokens.append(token)
                multipliers.append(weight)
        count = self.chunk_length * len(chunks) + len(tokens)
        if tokens or not chunks:
            close(len(tokens))
        return chunks, count

    def forward(self, texts: Sequence[str]) -> Tensor:
        """(b, 77 * chunks, c)"""
        lines = [self.tokenize_line(text)[0] for text in texts]
        longest = max(map(len, lines))
        lines = [line + [self.closed_chunk()] * (longest - len(line)) for line in lines]
        return torch.cat([self.encode([c.tokens for c in chunks], [c.multipliers for c in chunks]) for chunks in zip(*lines)], dim=1)

    def encode(self, tokens: list[list[int]], multipliers: list[list[float]]) -> Tensor:
        """One chunk of each text. Emphasis "Original": the weighted output is scaled back to the mean that it had."""
        z = self.wrapped.transformer(input_ids=torch.tensor(tokens)).last_hidden_state
        weighted = z * torch.tensor(multipliers, dtype=z.dtype)[..., None]
        return weighted * (z.mean() / weighted.mean())
