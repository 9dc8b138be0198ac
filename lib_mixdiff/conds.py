"""Text conditions by row: a tensor (rows, tokens, channels), or SDXL's dict of `crossattn` and `vector` (rows, channels)."""
from __future__ import annotations

from typing import Union, cast

import torch
from torch import Tensor

Cond = Union[Tensor, "dict[str, Tensor]"]


def tokens(cond: Cond) -> int:
    """Length of the text: 77 for each chunk of the prompt."""
    return (cond["crossattn"] if isinstance(cond, dict) else cond).shape[1]


def rows_of(cond: Cond) -> int:
    return (cond["crossattn"] if isinstance(cond, dict) else cond).shape[0]


def take(cond: Cond, rows: list[int]) -> Cond:
    """These rows, in this order."""
    if isinstance(cond, dict):
        return {key: value[rows] for key, value in cond.items()}
    return cond[rows]


def resized(cond: Cond, sizes: list[tuple[int, Tensor] | None]) -> Cond:
    """With other numbers in `vector`, by row: from which column on, counted from the end, and which (1, columns); in all models' alike."""
    if not isinstance(cond, dict) or not any(sizes):
        return cond
    vector = cond["vector"].clone()
    for row, each in zip(vector, sizes):
        if each is not None:
            start, values = each[0] % row.shape[-1], each[1][0]
            row[..., start:start + len(values)] = values
    return {**cond, "vector": vector}


def cat(conds: list[Cond]) -> Cond:
    """All rows of all of them; their texts have one length."""
    if len(conds) == 1:
        return conds[0]
    if isinstance(conds[0], dict):
        return {key: torch.cat([c[key] for c in cast("list[dict[str, Tensor]]", conds)]) for key in conds[0]}
    return torch.cat(cast("list[Tensor]", conds))


def beside(conds: list[Cond]) -> Cond:
    """What an ensemble's models are told, as one: the texts one behind the other, `vector` (rows, N, channels)."""
    if isinstance(conds[0], dict):
        several = cast("list[dict[str, Tensor]]", conds)
        return {key: (torch.stack if key == "vector" else torch.cat)([each[key] for each in several], 1) for key in conds[0]}
    return torch.cat(cast("list[Tensor]", conds), 1)
