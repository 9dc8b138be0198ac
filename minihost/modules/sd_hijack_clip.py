"""The text encoder: prompts of any length in chunks of 75 tokens, each token with its weight."""
from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence

import torch
from modules import prompt_parser
from modules.shared import opts
from torch import Tensor, nn

PromptChunkFix = namedtuple("PromptChunkFix", ["offset", "embedding"])


class PromptChunk:
    """77 tokens, start and end among them, with their multipliers; `fixes` (embeddings) stays empty here."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.multipliers: list[float] = []
        self.fixes: list[PromptChunkFix] = []


class EmbeddingsWithFixes(nn.Module):
    """Stands where the WebUI's own does, so that parameters have the same names."""

    def __init__(self, wrapped: nn.Embedding) -> None:
        super().__init__()
        self.wrapped = wrapped

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.wrapped(input_ids)


class FrozenCLIPEmbedderWithCustomWords(nn.Module):
    """`wrapped` has a CLIP `tokenizer` and a `transformer`."""

    chunk_length = 75

    def __init__(self, wrapped: nn.Module) -> None:
        super().__init__()
        self.wrapped, self.tokenizer = wrapped, wrapped.tokenizer
        self.comma_token = self.tokenizer.get_vocab().get(",</w>")
        self.id_start, self.id_end = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        self.id_pad = self.id_end

    def empty_chunk(self) -> PromptChunk:
        return self._closed([], [])

    def _closed(self, tokens: list[int], multipliers: list[float]) -> PromptChunk:
        chunk, rest = PromptChunk(), self.chunk_length - len(tokens)
        chunk.tokens = [self.id_start, *tokens, *[self.id_end] * (rest + 1)]
        chunk.multipliers = [1.0, *multipliers, *[1.0] * (rest + 1)]
        return chunk

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        return self.tokenizer(texts, truncation=False, add_special_tokens=False)["input_ids"]

    def tokenize_line(self, line: str) -> tuple[list[PromptChunk], int]:
        """The chunks of one prompt and its number of tokens (closed chunks count as full)."""
        parsed = prompt_parser.parse_prompt_attention(line)
        chunks: list[PromptChunk] = []
        tokens: list[int] = []
        multipliers: list[float] = []
        comma = -1                              # where the last comma of the open chunk is

        def close() -> None:
            nonlocal tokens, multipliers, comma
            chunks.append(self._closed(tokens, multipliers))
            tokens, multipliers, comma = [], [], -1

        for piece, (text, weight) in zip(self.tokenize([text for text, _ in parsed]), parsed):
            if text == "BREAK" and weight == -1:
                close()
                continue
            for token in piece:
                if token == self.comma_token:
                    comma = len(tokens)
                elif len(tokens) == self.chunk_length and comma >= 0 and len(tokens) - comma <= opts.comma_padding_backtrack:
                    moved, moved_multipliers = tokens[comma + 1:], multipliers[comma + 1:]      # what follows a comma stays whole
                    tokens, multipliers = tokens[:comma + 1], multipliers[:comma + 1]
                    close()
                    tokens, multipliers = moved, moved_multipliers
                if len(tokens) == self.chunk_length:
                    close()
                tokens.append(token)
                multipliers.append(weight)
        count = self.chunk_length * len(chunks) + len(tokens)
        if tokens or not chunks:
            close()
        return chunks, count

    def forward(self, texts: Sequence[str]) -> Tensor:
        """(b, 77 * chunks, c)"""
        lines = [self.tokenize_line(text)[0] for text in texts]
        encoded = []
        for i in range(max(map(len, lines))):
            chunks = [line[i] if i < len(line) else self.empty_chunk() for line in lines]
            encoded.append(self.process_tokens([c.tokens for c in chunks], [c.multipliers for c in chunks]))
        return torch.cat(encoded, dim=1)

    def process_tokens(self, remade_batch_tokens: list[list[int]], batch_multipliers: list[list[float]]) -> Tensor:
        """One chunk of each text. Emphasis "Original": the weighted output is scaled back to the mean that it had."""
        z = self.encode_with_transformers(torch.tensor(remade_batch_tokens))
        weighted = z * torch.tensor(batch_multipliers, dtype=z.dtype)[..., None]
        return weighted * (z.mean() / weighted.mean())

    def encode_with_transformers(self, tokens: Tensor) -> Tensor:
        skip = opts.CLIP_stop_at_last_layers
        outputs = self.wrapped.transformer(input_ids=tokens, output_hidden_states=True)
        if skip > 1:
            return self.wrapped.transformer.text_model.final_layer_norm(outputs.hidden_states[-skip])
        return outputs.last_hidden_state
