"""The host's noise, where regions have seeds of their own."""
from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from types import SimpleNamespace

from modules import rng
from torch import Tensor

from lib_mixdiff.errors import PlanError
from lib_mixdiff.host.protocols import Job, Sampler
from lib_mixdiff.host.seams import once
from lib_mixdiff.patching import swapped
from lib_mixdiff.seeds import blended, of_image


class Noise:
    """One pass: as many generators as seeds, each as the job's own would be with that seed (image k: seed + k)."""

    def __init__(self, p: Job, weights: dict[int | None, Tensor], images: int) -> None:
        self.weights = weights
        first = p.iteration * p.batch_size
        self.seeds = {seed: [of_image(seed, first + k) for k in range(images)] for seed in weights if seed is not None}
        self.generators = {seed: rng.ImageRNG(p.rng.shape, seeds) for seed, seeds in self.seeds.items()}

    def next(self, own: Tensor, scale: float = 1.0) -> Tensor:
        """The job's next draw with the regions' in it; the first one is the start's."""
        return blended({None: own, **{seed: scale * g.next().to(own) for seed, g in self.generators.items()}}, self.weights)

    def into(self, own: Tensor, p: Job) -> None:
        """The first draw, as the host has made its own."""
        own.copy_(self.next(own, 1.0 if getattr(p, "is_hr_pass", False) else getattr(p, "initial_noise_multiplier", 1.0)))

    def enter(self, stack: ExitStack, p: Job) -> None:
        """What the samplers draw from `p.rng` later on."""
        draw = p.rng.next
        stack.enter_context(swapped(p.rng, "next", lambda: self.next(draw())))

    def for_brownian(self, sampler: Sampler) -> None:
        """The SDE samplers' own kind of noise, which the host is about to make: trees of the regions' seeds beside it."""
        if not sampler.config.options.get("brownian_noise", False):
            return

        def around(create: Callable, x: Tensor, sigmas: Tensor, p: Job) -> Callable:
            if (own := create(x, sigmas, p)) is None:
                raise PlanError("regions", list(self.seeds), "switch it off, or leave the seeds out",
                                "the regions' seeds {value} cannot be had with the setting no_dpmpp_sde_batch_determinism")
            trees = {None: own} | {seed: create(x, sigmas, SimpleNamespace(all_seeds=seeds, iteration=0, batch_size=len(seeds)))
                                   for seed, seeds in self.seeds.items()}
            return lambda *at: blended({seed: tree(*at) for seed, tree in trees.items()}, self.weights)

        once(sampler, "create_noise_sampler", around)
