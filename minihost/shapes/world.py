"""Scenes of the shapes world: what may stand in a picture, how it is drawn, and how it is told."""
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

COLORS = {
    "red": (220, 40, 40), "green": (40, 170, 60), "blue": (50, 80, 220), "yellow": (240, 215, 40),
    "purple": (140, 50, 170), "orange": (245, 135, 25), "white": (245, 245, 245), "black": (20, 20, 20),
}
BACKGROUNDS = {"gray": (128, 128, 128), "pink": (240, 165, 190), "teal": (0, 128, 128), "brown": (120, 75, 40)}
SHAPES = ("circle", "square", "triangle", "cross")
RADIUS_PX = (9.0, 13.0)     # half of an object's width
MARGIN_PX = 2.0             # between objects, and between an object and the border


@dataclass(frozen=True)
class Thing:
    """One object: its centre (px from the picture's top left corner) and half of its width."""
    color: str
    shape: str
    x: float
    y: float
    radius: float

    @property
    def name(self) -> str:
        return f"{self.color} {self.shape}"


@dataclass(frozen=True)
class Scene:
    width: int
    height: int
    background: str
    things: tuple[Thing, ...]


def scene_at_random(rng: np.random.Generator, width: int, height: int, count: int) -> Scene:
    """`count` objects without overlap; fewer only where that many do not fit in 1,000 tries."""
    things: list[Thing] = []
    for _ in range(1000):
        if len(things) == count:
            break
        radius = rng.uniform(*RADIUS_PX)
        low = radius + MARGIN_PX
        x, y = rng.uniform(low, width - low), rng.uniform(low, height - low)
        if all(max(abs(x - o.x), abs(y - o.y)) > radius + o.radius + MARGIN_PX for o in things):
            things.append(Thing(str(rng.choice(list(COLORS))), str(rng.choice(SHAPES)), x, y, radius))
    return Scene(width, height, str(rng.choice(list(BACKGROUNDS))), tuple(things))


def caption(scene: Scene) -> str:
    """"a red circle and a blue square on a gray background", objects in the scene's order; nothing says where."""
    ground = f"a {scene.background} background"
    if not scene.things:
        return ground
    return " and ".join(("an " if t.color[0] in "aeiou" else "a ") + t.name for t in scene.things) + " on " + ground


def distance(shape: str, x: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
    """Signed distance in px to the shape's outline, negative inside; x to the right, y down, from its centre."""
    if shape == "circle":
        return np.hypot(x, y) - radius
    if shape == "square":
        return np.maximum(abs(x), abs(y)) - 0.88 * radius
    if shape == "triangle":     # pointing up, as wide and as high as 2 radius
        slope = math.sqrt(5.0)
        return np.maximum((2 * abs(x) - y - radius) / slope, y - radius)
    if shape == "cross":
        arm = 0.34 * radius
        return np.minimum(np.maximum(abs(x) - arm, abs(y) - radius), np.maximum(abs(x) - radius, abs(y) - arm))
    raise ValueError(f"shape {shape!r}: one of {', '.join(SHAPES)}")


def render(scene: Scene) -> np.ndarray:
    """The picture, (height, width, 3) uint8, edges smoothed over one pixel."""
    y, x = np.mgrid[0:scene.height, 0:scene.width] + 0.5
    picture = np.empty((scene.height, scene.width, 3))
    picture[:] = BACKGROUNDS[scene.background]
    for t in scene.things:
        cover = np.clip(0.5 - distance(t.shape, x - t.x, y - t.y, t.radius), 0.0, 1.0)[..., None]
        picture += cover * (np.array(COLORS[t.color]) - picture)
    return np.rint(picture).astype(np.uint8)
