"""How far the detector can be trusted: `python -m bench.detector_check` prints both methods' figures on scenes with known truth.

Scenes as drawn and degraded; with `--vae out/shapes` also after that VAE; with `--pictures DIR` only how often the two methods
agree on the pictures of a folder, where nobody knows the truth.
"""
from __future__ import annotations

import argparse
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from bench import detector, second_opinion
from bench.scores import wilson
from minihost.shapes import world

SIZES = [((64, 64), 2), ((128, 128), 4), ((64, 128), 3), ((128, 64), 3)]     # (width, height) px, most things
APART_PX = 2.0                  # between a thing's centroid and its truth
APART_GENERATED_PX = 4.0        # between the two methods' centroids, where outlines are nobody's
Told = tuple[str | None, list[tuple[str | None, float, float]]]                 # background, (name, centroid x, y); no name: in doubt
Degrade = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def truth(scene: world.Scene) -> Told:
    """A triangle's centroid lies a third of its radius below its centre."""
    return scene.background, [(t.name, t.x, t.y + (t.radius / 3 if t.shape == "triangle" else 0.0)) for t in scene.things]


def first(picture: np.ndarray) -> Told:
    found = detector.detect(picture)
    return found.background, [(t.name, t.x, t.y) for t in found.things]


METHODS: dict[str, Callable[[np.ndarray], Told]] = {"detector": first, "second opinion": second_opinion.look}


def same(a: Told, b: Told, apart_px: float) -> bool:
    """Same background, and each thing of one has a partner of its name, or as much in doubt, in the other, no farther than apart_px."""
    rest = list(b[1])
    for name, x, y in a[1]:
        partner = next((o for o in rest if o[0] == name and np.hypot(o[1] - x, o[2] - y) <= apart_px), None)
        if partner is None:
            return False
        rest.remove(partner)
    return a[0] == b[0] and not rest


def blurred(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(1.0)))


def noisy(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.clip(np.rint(picture + rng.normal(0.0, 6.0, picture.shape)), 0, 255).astype(np.uint8)


def compressed(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    Image.fromarray(picture).save(file := io.BytesIO(), "JPEG", quality=60)
    return np.asarray(Image.open(file))


def shifted(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.clip(picture + rng.choice([-12, 12], 3), 0, 255).astype(np.uint8)


def all_four(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return compressed(noisy(shifted(blurred(picture, rng), rng), rng), rng)


def through(folder: Path) -> Degrade:
    """Encoded and decoded by the VAE in a folder, the latent drawn from its posterior as in training."""
    import torch

    from minihost.shapes.train import load_vae, pixels
    vae = load_vae(folder)

    @torch.inference_mode()
    def degrade(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        mean, logvar = vae.moments(pixels(picture[None]))
        noise = torch.from_numpy(rng.standard_normal(mean.shape, dtype=np.float32))
        drawn = vae.decode(mean + torch.exp(0.5 * logvar) * noise)[0].permute(1, 2, 0)
        return ((drawn.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy()
    return degrade


def report(title: str, degrade: Degrade | None, count: int, empty: bool, keep: Path | None) -> None:
    """One line: how often each method tells the truth, and how often both tell the same. Wrong pictures go to `keep`."""
    right = dict.fromkeys(METHODS, 0)
    agreed = 0
    for i in range(count):
        rng = np.random.default_rng((2, empty, i))
        (width, height), most = SIZES[i % len(SIZES)]
        scene = world.scene_at_random(rng, width, height, 0 if empty else int(rng.integers(0, most + 1)))
        picture = world.render(scene) if degrade is None else degrade(world.render(scene), rng)
        told = {name: method(picture) for name, method in METHODS.items()}
        good = {name: same(truth(scene), t, APART_PX) for name, t in told.items()}
        for name in METHODS:
            right[name] += good[name]
        agreed += same(*told.values(), APART_GENERATED_PX)
        if keep and not all(good.values()):
            keep.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(keep / f"{title.replace(' ', '-')}-{i}.png")
            print(f"  {title} {i}: {truth(scene)}\n" + "".join(f"    {n}: {t}\n" for n, t in told.items() if not good[n]), end="")
    figures = "".join(f"{share(right[name], count):>28}" for name in METHODS)
    print(f"{title:<26}{count:>6}{figures}{share(agreed, count):>28}", flush=True)


def share(successes: int, trials: int) -> str:
    low, high = wilson(successes, trials)
    return f"{successes / max(trials, 1):.1%} ({low:.1%} .. {high:.1%})"


NAME = re.compile(f"({'|'.join(world.COLORS)}) ({'|'.join(world.SHAPES)})")


def shows(told: Told, prompt: str) -> bool:
    """Whether all that a prompt names is there: the verdict that the scores are made of."""
    return not Counter(" ".join(name) for name in NAME.findall(prompt)) - Counter(name for name, _, _ in told[1])


def compare(files: Iterable[Path], details: bool) -> None:
    """How often the two methods agree on pictures of the benches: on whether they show what they should, and on all that they show."""
    kinds: dict[str, list[tuple[bool, bool]]] = {}
    for file in files:
        with Image.open(file) as opened:
            picture, prompt = np.asarray(opened.convert("RGB")), opened.info["prompt"]
        a, b = (method(picture) for method in METHODS.values())
        agree = shows(a, prompt) == shows(b, prompt), same(a, b, APART_GENERATED_PX)
        for kind in (file.stem.rsplit("-", 2)[0], "all"):
            kinds.setdefault(kind, []).append(agree)
        if details and not all(agree):
            print(f"  {file.name}: {a}\n    second opinion: {b}")
    print(f"{'pictures':<26}{'count':>6}{'same verdict':>28}{'the same things seen':>28}")
    for kind, agreed in sorted(kinds.items(), key=lambda item: item[0] == "all"):
        print(f"{kind:<26}{len(agreed):>6}" + "".join(f"{share(sum(column), len(agreed)):>28}" for column in zip(*agreed)))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--scenes", type=int, default=1000)
    arguments.add_argument("--vae", type=Path, help="a folder with vae.pt: scenes through that VAE too")
    arguments.add_argument("--pictures", type=Path, help="a folder of PNG: only the agreement on those")
    arguments.add_argument("--keep", type=Path, help="a folder for the pictures that a method got wrong, which are listed too")
    arguments.add_argument("--details", action="store_true", help="with --pictures: what each method sees where they do not agree")
    chosen = arguments.parse_args()
    if chosen.pictures:
        return compare(sorted(chosen.pictures.glob("*.png")), chosen.details)
    print(f"{'scenes':<26}{'count':>6}" + "".join(f"{name:>28}" for name in [*METHODS, "both the same"]))
    kinds = {"as drawn": None, "blur 1 px": blurred, "noise sd 6": noisy, "JPEG 60": compressed, "colours off by 12": shifted,
             "all four": all_four}
    for title, degrade in kinds.items():
        report(title, degrade, chosen.scenes, False, chosen.keep)
        report(f"{title}, empty", degrade, chosen.scenes // 5, True, chosen.keep)
    if chosen.vae:
        degrade = through(chosen.vae)
        report("through the VAE", degrade, chosen.scenes // 5, False, chosen.keep)
        report("through the VAE, empty", degrade, chosen.scenes // 5, True, chosen.keep)


if __name__ == "__main__":
    main()
