"""AFA's aggregators: which model leads at which place of a block's output (Wang et al., arXiv:2405.17082, section 3.3)."""
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

HEADS = 8
GROUPS = 32                             # of a GroupNorm: the width is a multiple
STATES = ("space", "time", "text")      # what an ablation may leave out (Table 3)


class NoAggregator(Exception):
    """What is wrong with a file, as it goes on after its name."""


def width_for(channels: int) -> int:
    """d for a U-Net whose first block has so many channels: 128 for Stable Diffusion's 320, as in the paper."""
    return GROUPS * max(1, channels // 80)


class Norm(nn.GroupNorm):
    """Of one value to a group, too, as a single small picture has at the lowest level: PyTorch's own refuses that."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.group_norm(x, self.num_groups, self.weight, self.bias, self.eps, torch.backends.cudnn.enabled)


class Attention(nn.Module):
    """Of pixels to `context`, or without one to each other."""

    def __init__(self, width: int, context: int | None = None) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.q, self.k, self.v = (nn.Linear(size, width, bias=False) for size in (width, context or width, context or width))
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """x (b, pixels, width), context (b, tokens, channels)."""
        x = self.norm(x)
        context = x if context is None else context
        q, k, v = (each.unflatten(-1, (HEADS, -1)).transpose(1, 2) for each in (self.q(x), self.k(context), self.v(context)))
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Gated(nn.Module):
    """The transformer's feed-forward layer, GEGLU (arXiv:2002.05202)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.inward, self.out = nn.LayerNorm(width), nn.Linear(width, 8 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.inward(self.norm(x)).chunk(2, -1)
        return self.out(value * F.gelu(gate))


class Aggregator(nn.Module):
    """SABW of one block: N feature maps to N attention maps (eq. 8 to 11). Untrained, all models count alike."""

    def __init__(self, models: int, channels: int, width: int, embedding: int, context: int, without: Sequence[str] = ()) -> None:
        """`channels` of a feature map, `embedding` of the time's, `context` of the text's; `without`: some of STATES."""
        super().__init__()
        self.space = "space" not in without
        self.inward = nn.Conv2d(models * channels, width, 1)
        self.norm1, self.conv1 = Norm(GROUPS, width), nn.Conv2d(width, width, 3, padding=1)
        self.time = nn.Linear(embedding, width) if "time" not in without else None
        self.norm2, self.conv2 = Norm(GROUPS, width), nn.Conv2d(width, width, 3, padding=1)
        self.norm3, self.enter = Norm(GROUPS, width, eps=1e-6), nn.Conv2d(width, width, 1)
        self.itself, self.gated = Attention(width), Gated(width)
        self.text = Attention(width, context) if "text" not in without else None
        self.leave = nn.Conv2d(width, width, 1)
        self.maps = nn.Conv2d(width, models, 1, bias=False)
        nn.init.zeros_(self.maps.weight)

    def forward(self, features: Sequence[Tensor], embedding: Tensor, text: Tensor) -> Tensor:
        """A (b, N, h, w) in float32, at each pixel 1 over the models (eq. 6), from features (b, c, h, w) of each, embedding (b, e) and
        text (b, tokens, c), the models' means; without space it is (b, N, 1, 1)."""
        y = self.inward(torch.cat(list(features), 1))
        h = self.conv1(F.silu(self.norm1(y)))
        if self.time is not None:
            h = h + self.time(F.silu(embedding))[:, :, None, None]
        y = y + self.conv2(F.silu(self.norm2(h)))
        h = self.enter(self.norm3(y)).flatten(2).transpose(1, 2)            # (b, pixels, width)
        h = h + self.itself(h)
        if self.text is not None:
            h = h + self.text(h, text)
        h = h + self.gated(h)
        y = y + self.leave(h.transpose(1, 2).unflatten(2, y.shape[-2:]))
        scores = self.maps(y).float()
        return (scores if self.space else scores.mean((2, 3), keepdim=True)).softmax(1)


@dataclass(frozen=True)
class Form:
    """What an aggregator file is for, and how its networks are built."""

    models: tuple[tuple[str, str], ...]         # name and sha256 of the checkpoints' files, in the order of the features
    channels: dict[str, int]                    # of each block that is aggregated, in their order
    width: int
    embedding: int
    context: int
    without: tuple[str, ...] = ()

    @property
    def mode(self) -> str:
        return "last" if list(self.channels) == ["out"] else "full"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Form:
        """KeyError, TypeError or ValueError where it is none."""
        return cls(tuple((str(name), str(digest)) for name, digest in found["models"]),
                   {str(name): int(count) for name, count in found["channels"].items()}, int(found["width"]), int(found["embedding"]),
                   int(found["context"]), tuple(found["without"]))


class Aggregators(nn.Module):
    """Those of a whole U-Net, by block."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.form = form
        self.each = nn.ModuleList(Aggregator(len(form.models), channels, form.width, form.embedding, form.context, form.without)
                                  for channels in form.channels.values())
        self.at: dict[str, Aggregator] = dict(zip(form.channels, self.each))       # type: ignore[arg-type]


def form_of(path: Path) -> Form:
    """NoAggregator."""
    try:
        with safe_open(path, "pt") as file:
            return Form.from_dict(json.loads((file.metadata() or {})["mixdiff"])["aggregator"])
    except FileNotFoundError:
        raise NoAggregator("is gone") from None
    except (SafetensorError, OSError) as error:
        raise NoAggregator(f"is damaged ({error})") from None
    except (KeyError, TypeError, ValueError, AttributeError):
        raise NoAggregator("is no aggregator that mixdiff has trained") from None


def read(path: Path) -> Aggregators:
    """Frozen, in float32. NoAggregator."""
    form = form_of(path)
    try:
        with torch.device("meta"):
            found = Aggregators(form)
        with safe_open(path, "pt") as file:
            found.load_state_dict({key: file.get_tensor(key).float() for key in file.keys()}, assign=True)     # noqa: SIM118
    except (SafetensorError, RuntimeError, ValueError, OSError) as error:
        raise NoAggregator(f"is damaged ({str(error).splitlines()[0]})") from None
    return found.eval().requires_grad_(False)
