"""What is learned from: pictures as latents, captions as features, in an order that depends on the seed alone."""
from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lib_mixdiff.train.cache import Cache
from lib_mixdiff.train.checkpoint import TEXT, VAE, Checkpoint
from lib_mixdiff.train.config import Config
from lib_mixdiff.train.faults import TrainError
from lib_mixdiff.train.folder import Picture, opened, pictures, refuse
from lib_mixdiff.train.noise import Part

FILE = 256  # tensors of a cache's file
PIXELS = 4 * 512 * 512  # encoded at once
SAMPLE, EPOCH, BUCKET, HELD, CHECK = range(1, 6)  # first number of a seed: what it is for


@dataclass(frozen=True)
class Batch:
    x0: Tensor  # (b, c, h, w), scaled to unit variance
    noise: Tensor  # likewise
    t: Tensor  # (b,) timesteps
    contexts: tuple[Tensor, ...]  # (b, tokens, c) of each text encoder

    def to(self, device: torch.device) -> Batch:
        return Batch(self.x0.to(device), self.noise.to(device), self.t.to(device), tuple(each.to(device) for each in self.contexts))


class Order:
    """Which pictures the batch of a step holds: of one bucket (size), each picture as often as any other, no state to keep.

    A bucket's pictures follow each other without end, in each round of all in another order; its k-th batch takes places
    k * batch ... (k + 1) * batch - 1. An epoch holds those batches that end in it, in an order of its own.
    """

    def __init__(self, buckets: list[list[int]], batch: int, seed: int) -> None:
        self.buckets, self.size, self.seed = buckets, batch, seed

    def before(self, epoch: int) -> int:
        """Batches of all earlier epochs."""
        return sum(epoch * len(bucket) // self.size for bucket in self.buckets)

    def batch(self, step: int) -> list[int]:
        low, high = 0, 1
        while self.before(high) <= step:
            low, high = high, 2 * high
        while high - low > 1:  # before(low) <= step < before(high)
            middle = (low + high) // 2
            low, high = (middle, high) if self.before(middle) <= step else (low, middle)
        batches = [(b, k) for b, bucket in enumerate(self.buckets)
                   for k in range(low * len(bucket) // self.size, high * len(bucket) // self.size)]
        b, k = batches[shuffled(EPOCH, self.seed, low, 0, len(batches))[step - self.before(low)]]
        return [self.place(b, k * self.size + i) for i in range(self.size)]

    def place(self, b: int, place: int) -> int:
        round_, at = divmod(place, len(self.buckets[b]))
        return self.buckets[b][shuffled(BUCKET, self.seed, b, round_, len(self.buckets[b]))[at]]


@lru_cache(maxsize=16)
def shuffled(kind: int, seed: int, first: int, second: int, count: int) -> np.ndarray:
    return np.random.default_rng((kind, seed, first, second)).permutation(count)


class Data:
    """The folder's pictures, encoded; held-out ones aside."""

    def __init__(self, config: Config, sources: list[Checkpoint], part: Part, device: torch.device, say: Callable[[str], None],
                 between: Callable[[], None] = lambda: None) -> None:
        """`sources`: the first one's VAE encodes the pictures, each one's text encoder the captions, in the order of `Batch.contexts`.
        `between` is called between pieces of work, and may end it."""
        checkpoint = sources[0]
        self.part, self.config, self.scale = part, config, checkpoint.scale_factor
        self.say, self.between = say, between
        home = Path(config.cache or Path(config.work or config.out) / "cache")
        shape = (checkpoint.unit, config.resolution)
        self.latents = Cache(home / f"latents-{checkpoint.fingerprint(VAE, *shape)}")
        found, bad = pictures(Path(config.data))
        images = {}
        for picture in found:
            try:
                images[picture.key] = picture
            except OSError as error:  # it was there a moment ago
                bad.append(f"{picture.name} cannot be read ({error.strerror})")
        self.encode_pictures({key: p for key, p in images.items() if key not in self.latents}, checkpoint, bad, device)
        total = len(found) + len(bad)
        found = [p for key, p in images.items() if key in self.latents]
        if not found:
            raise TrainError(f"data: none of {total} pictures can be used; correct them.")
        captions = sorted({"", *(p.caption for p in found)})
        self.features = []
        for each in sources:
            version = each.params["cond_stage_config"].get("params", {}).get("version", "")
            self.features.append(Cache(home / f"text-{each.fingerprint(TEXT, config.tokens, version)}"))
            self.encode_captions([c for c in captions if c not in self.features[-1]], self.features[-1], each, device)
        held = self.held_out(found, config.validation)
        self.checks = [p for p in found if p.name in held]
        self.pictures: list[Picture] = [p for p in found if p.name not in held]
        self.keys = {p.name: key for key, p in images.items()}
        say(f"{len(self.pictures)} pictures, {len(captions) - 1} captions" + (f", {len(held)} pictures held out" if held else ""))

    def encode_pictures(self, missing: dict[str, Picture], checkpoint: Checkpoint, bad: list[str], device: torch.device) -> None:
        """Looks at all of them first: who has bad files learns it before the long work."""
        total, by_size = len(missing) + len(bad), defaultdict(list)
        for key, picture in missing.items():
            self.between()
            pixels = opened(picture, checkpoint.unit, self.config.resolution)
            bad.append(pixels) if isinstance(pixels, str) else by_size[pixels.shape[:2]].append(key)
        self.leave_out(bad, total)
        if not by_size:
            return
        vae, done, tensors = checkpoint.vae().to(device), 0, {}
        batches = (some for size, keys in by_size.items() for some in pieces(keys, max(1, min(64, PIXELS // (size[0] * size[1])))))
        try:
            with torch.inference_mode():
                for some in batches:
                    self.between()
                    read = {key: opened(missing[key], checkpoint.unit, self.config.resolution) for key in some}
                    self.leave_out([pixels for pixels in read.values() if isinstance(pixels, str)], total)      # gone since the look
                    if not (read := {key: pixels for key, pixels in read.items() if not isinstance(pixels, str)}):
                        continue
                    pixels = torch.from_numpy(np.stack([*read.values()])).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1.0
                    tensors |= dict(zip(read, vae.moments(pixels).half().cpu()))
                    if len(tensors) >= FILE:
                        self.latents.add(tensors)
                        done, tensors = done + len(tensors), {}
                        self.say(f"pictures encoded: {done} of {len(missing)}")
        finally:  # a pause keeps what is done
            if tensors:
                self.latents.add(tensors)
        self.say(f"pictures encoded: {done + len(tensors)} of {len(missing)}")

    def leave_out(self, bad: list[str], total: int) -> None:
        """Says so of each, or stops with all of them; also where the whole folder is gone."""
        if bad and not Path(self.config.data).is_dir():
            raise TrainError(f"data: {self.config.data} is no folder any more; put it back, and go on.")
        if bad and not self.config.skip_bad:
            refuse(bad, total)
        for sentence in bad:
            self.say(f"left out: {sentence}")

    def encode_captions(self, missing: list[str], into: Cache, checkpoint: Checkpoint, device: torch.device) -> None:
        if not missing:
            return
        text, done = checkpoint.text(self.config.tokens).to(device), 0
        if long := sum(text.length(caption) > self.config.tokens for caption in missing):
            self.say(f"{long} captions are cut after {self.config.tokens} tokens; tokens: {self.config.tokens + 75} would take more")
        with torch.inference_mode():
            for some in pieces(missing, FILE):
                self.between()
                into.add(dict(zip(some, torch.cat([text(few).half().cpu() for few in pieces(some, 32)]))))
                done += len(some)
                self.say(f"captions encoded: {done} of {len(missing)}")

    def held_out(self, found: list[Picture], share: float) -> set[str]:
        """The names of those that are only looked at; which, depends on the name alone, so more pictures move few."""
        by_hash = sorted((hashlib.sha256(f"{HELD} {self.config.seed} {p.name}".encode()).digest(), p.name) for p in found)
        count = max(1, round(share * len(found))) if share else 0
        if count >= len(found):
            raise TrainError(f"validation: {share:g} of {len(found)} pictures leaves none to learn from; use less.")
        return {name for _, name in by_hash[:count]}

    def buckets(self) -> list[list[int]]:
        """Indices of `pictures`, those of one size together."""
        sizes = defaultdict(list)
        for i, picture in enumerate(self.pictures):
            sizes[self.latents.shape(self.keys[picture.name])].append(i)
        return [sizes[size] for size in sorted(sizes)]

    def common_size(self) -> tuple[int, int]:
        """Height and width in cells of the commonest size."""
        biggest = max(self.buckets(), key=len)
        return self.latents.shape(self.keys[self.pictures[biggest[0]].name])[-2:]

    def digest(self) -> str:
        """Changes with what is learned from."""
        text = json.dumps([(self.keys[p.name], p.caption) for p in self.pictures])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def sample(self, picture: Picture, rng: np.random.Generator, u: float | None = None) -> tuple:
        """x0, noise, t and the caption of one; `rng` decides all, but for validation, which gives u and drops no text."""
        drawn = rng.random(2)
        caption = "" if u is None and drawn[1] < self.config.drop_text else picture.caption
        mean, deviation = self.latents[self.keys[picture.name]].float()
        x0, noise = (torch.from_numpy(rng.standard_normal(tuple(mean.shape), np.float32)) for _ in range(2))
        return self.scale * (mean + deviation * x0), noise, self.part.timestep(drawn[0] if u is None else u), caption

    def stacked(self, samples: Iterable[tuple]) -> Batch:
        x0, noise, t, captions = zip(*samples)
        contexts = tuple(torch.stack([cache[c].float() for c in captions]) for cache in self.features)
        return Batch(torch.stack(x0), torch.stack(noise), torch.tensor(t), contexts)

    def batch(self, indices: Iterable[int], numbers: Iterable[int]) -> Batch:
        """Samples of global indices, of pictures by number."""
        return self.stacked(self.sample(self.pictures[n], np.random.default_rng((SAMPLE, self.config.seed, i)))
                            for i, n in zip(indices, numbers))

    def check(self, interval: int, of: int, size: int) -> Iterable[Batch]:
        """Every held-out picture once, its noise anywhere in one of `of` intervals of equal area; always the same."""
        sizes = defaultdict(list)
        for n, picture in enumerate(self.checks):
            rng = np.random.default_rng((CHECK, self.config.seed, n, interval))
            sample = self.sample(picture, rng, (interval + rng.random()) / of)
            sizes[sample[0].shape].append(sample)
        for samples in sizes.values():
            yield from (self.stacked(some) for some in pieces(samples, size))


def pieces(items: list, size: int) -> Iterable[list]:
    return (items[i:i + size] for i in range(0, len(items), size))
