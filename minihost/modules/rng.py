"""Noise per image: each image has its own generator, so that it does not depend on its batch mates."""
import torch
from torch import Tensor


class ImageRNG:
    """`next()` gives noise (b, *shape), each call the next draw of every image's generator."""
    def __init__(self, shape: tuple[int, ...], seeds: list[int]) -> None:
        self.shape, self.seeds = shape, seeds
        self.generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]

    def next(self) -> Tensor:
        return torch.stack([torch.randn(self.shape, generator=generator) for generator in self.generators])
