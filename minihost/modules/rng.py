"""Noise per image: each image has its own generator, so that it does not depend on its batch mates."""
from __future__ import annotations

import torch
from modules import devices
from modules.errors import NotHere
from torch import Tensor


def create_generator(seed: int) -> torch.Generator:
    return torch.Generator(devices.cpu).manual_seed(int(seed))


class ImageRNG:
    """`next()` gives noise (b, *shape), each call the next draw of every image's generator."""

    def __init__(self, shape: tuple[int, ...], seeds: list[int], subseeds: list[int] | None = None, subseed_strength: float = 0.0,
                 seed_resize_from_h: int = 0, seed_resize_from_w: int = 0) -> None:
        if subseed_strength or (seed_resize_from_h > 0 and seed_resize_from_w > 0):
            raise NotHere("minihost has no variation seeds and no seed resize.")
        self.shape = tuple(map(int, shape))
        self.seeds, self.subseeds, self.subseed_strength = seeds, subseeds, subseed_strength
        self.seed_resize_from_h, self.seed_resize_from_w = seed_resize_from_h, seed_resize_from_w
        self.generators = [create_generator(seed) for seed in seeds]
        self.is_first = True

    def next(self) -> Tensor:
        self.is_first = False
        return torch.stack([torch.randn(self.shape, generator=g, device=devices.cpu) for g in self.generators]).to(devices.device)
