"""The text encoder: prompts of any length in chunks of 75 tokens, each token with its weight."""
from collections import namedtuple
from collections.abc import Sequence

import torch
from modules import prompt_parser
from modules.shared import opts
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

PromptChunk = namedtuple("PromptChunk", ["tokens", "multipliers"])          # 77 each, start and end among them


class FrozenCLIPEmbedderWithCustomWords(nn.Module):
    """Tokenizer and text model from a folder that holds their configuration."""

    chunk_length = 75

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.tokenizer = CLIPTokenizer.from_pretrained(folder)
        self.transformer = CLIPTextModel(CLIPTextConfig.from_pretrained(folder))
        self.comma_token = self.tokenizer.get_vocab().get(",</w>")
        self.id_start, self.id_end = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id

    def closed_chunk(self, tokens: Sequence[int] = (), multipliers: Sequence[float] = ()) -> PromptChunk:
        rest = self.chunk_length - len(tokens) + 1
        return PromptChunk([self.id_start, *tokens, *[self.id_end] * rest], [1.0, *multipliers, *[1.0] * rest])

    def tokenize_line(self, line: str) -> tuple[list[PromptChunk], int]:
        """The chunks of one prompt and its number of tokens (closed chunks count as full)."""
        parsed = prompt_parser.parse_prompt_attention(line)
        pieces = self.tokenizer([text for text, _ in parsed], truncation=False, add_special_tokens=False)["input_ids"]
        stretches: list[list[tuple[int, float]]] = [[]]             # between BREAKs
        for piece, (text, weight) in zip(pieces, parsed):
            if text == "BREAK" and weight == -1:
                stretches.append([])
            else:
                stretches[-1] += [(token, weight) for token in piece]
        chunks = []
        for rest in stretches:
            while len(rest) > self.chunk_length:
                end = self.chunk_length
                near = range(end - opts.comma_padding_backtrack, end)
                commas = [i for i in near if rest[i][0] == self.comma_token and rest[end][0] != self.comma_token]
                end = commas[-1] + 1 if commas else end             # what follows a near comma stays whole
                chunks.append(rest[:end])
                rest = rest[end:]
            chunks.append(rest)
        count = self.chunk_length * (len(chunks) - 1) + len(chunks[-1])
        closed = [self.closed_chunk(*zip(*chunk)) for chunk in chunks]
        return closed if chunks[-1] else closed[:-1] or closed, count

    def forward(self, texts: Sequence[str]) -> Tensor:
        """(b, 77 * chunks, c)"""
        lines = [self.tokenize_line(text)[0] for text in texts]
        longest = max(map(len, lines))
        lines = [line + [self.closed_chunk()] * (longest - len(line)) for line in lines]
        return torch.cat([self.encode([c.tokens for c in chunks], [c.multipliers for c in chunks]) for chunks in zip(*lines)], dim=1)

    def encode(self, tokens: list[list[int]], multipliers: list[list[float]]) -> Tensor:
        """One chunk of each text. Emphasis "Original": the weighted output is scaled back to the mean that it had."""
        z = self.transformer(input_ids=torch.tensor(tokens)).last_hidden_state
        weighted = z * torch.tensor(multipliers, dtype=z.dtype)[..., None]
        return weighted * (z.mean() / weighted.mean())
