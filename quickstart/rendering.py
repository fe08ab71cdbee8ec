"""Scenes as pixels: drawn at four times the size and reduced by area averaging, so that nothing aliases.

Shapes are signed distance functions (negative inside, in units of the object's radius); the formulas are those of
Inigo Quilez, *2D distance functions*. The dead-leaves texture follows Lee, Mumford and Huang, *Occlusion models for
natural images* (IJCV 2001): opaque discs with radii from a power law.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from PIL import Image, ImageDraw

from .world import BACKGROUND_COLOURS, COLOURS, Scene, Thing

SIZE = 64
SUPERSAMPLING = 4
_LARGE = SIZE * SUPERSAMPLING
_Y, _X = (np.mgrid[0:_LARGE, 0:_LARGE].astype(np.float32) + 0.5) / SUPERSAMPLING  # pixel centres in final pixels


def render(scene: Scene) -> np.ndarray:
    """The picture of a scene: uint8 ``[64, 64, 3]``, RGB."""
    rng = np.random.default_rng([scene.seed, 2])
    tone = _tone(BACKGROUND_COLOURS[scene.background_colour], rng)
    canvas = _TEXTURES[scene.texture](tone, rng)
    for thing, (x, y, radius) in zip(scene.things, _layout(len(scene.things), rng), strict=True):
        _draw(canvas, thing, x, y, radius, rng)
    small = canvas.reshape(SIZE, SUPERSAMPLING, SIZE, SUPERSAMPLING, 3).mean((1, 3))
    return (small.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def render_pictures(scenes: Iterable[Scene]) -> torch.Tensor:
    """The pictures of scenes: ``[N, 3, 64, 64]`` in 0…1."""
    return torch.from_numpy(np.stack([render(scene) for scene in scenes])).movedim(-1, 1).float() / 255


def _layout(count: int, rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """Centre and radius of each object in pixels, from left to right, inside the frame and apart from each other."""
    if count == 1:
        radius = rng.uniform(15, 23)
        return [(*rng.uniform(radius + 2, SIZE - radius - 2, 2), radius)]
    radii = rng.uniform(11, 14.5, 2)
    half = SIZE / 2
    return [
        (rng.uniform(radii[0] + 1, half - radii[0]), rng.uniform(radii[0] + 2, SIZE - radii[0] - 2), radii[0]),
        (rng.uniform(half + radii[1], SIZE - radii[1] - 1), rng.uniform(radii[1] + 2, SIZE - radii[1] - 2), radii[1]),
    ]


def _tone(colour: tuple[float, float, float], rng: np.random.Generator) -> np.ndarray:
    return (np.array(colour) * rng.uniform(0.9, 1.08) + rng.uniform(-0.03, 0.03, 3)).clip(0.02, 0.98).astype(np.float32)


def _along(angle: float, x: np.ndarray = _X, y: np.ndarray = _Y) -> np.ndarray:
    """The coordinate, in pixels, in the direction of an angle."""
    return x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))


# Backgrounds: tone [3] -> float32 [256, 256, 3]


def _leaves(tone: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    image = Image.new("RGB", (_LARGE, _LARGE), tuple((tone * 160).astype(int)))
    pen = ImageDraw.Draw(image)
    smallest, largest, count = 1.2, 9.0, 420
    u = rng.random(count)
    radii = smallest * largest / np.sqrt(u * smallest**2 + (1 - u) * largest**2) * SUPERSAMPLING  # density ~ r^-3
    centres = rng.uniform(0, _LARGE, (count, 2))
    shades = (tone * rng.uniform(0.45, 1.35, (count, 1)) + rng.uniform(-0.05, 0.05, (count, 3))).clip(0, 1) * 255
    for radius, (x, y), shade in zip(radii, centres, shades.astype(int), strict=True):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=tuple(shade))
    return np.asarray(image, np.float32) / 255


def _gradient(tone: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    t = _along(rng.uniform(0, 2 * np.pi))
    t = (t - t.min()) / (t.max() - t.min())
    return tone * (0.45 + 1.0 * t[..., None])


def _stripes(tone: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    phase = _along(rng.uniform(0, np.pi)) / rng.uniform(6, 12) + rng.random()
    return tone * np.where(phase % 1 < 0.5, np.float32(0.65), np.float32(1.2))[..., None]


def _fabric(tone: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    period = rng.uniform(3.0, 4.5)
    u, v = _X / period, _Y / period
    threads = rng.normal(1, 0.10, (2, 64)).astype(np.float32)  # no two threads have the same shade
    weft_on_top = (u.astype(int) + v.astype(int)) % 2 == 0
    weft = np.abs(np.sin(np.pi * v)) * threads[0, v.astype(int)]
    warp = np.abs(np.sin(np.pi * u)) * threads[1, u.astype(int)]
    return tone * (0.55 + 0.65 * np.where(weft_on_top, weft, warp))[..., None]


_TEXTURES: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "leaves": _leaves,
    "gradient": _gradient,
    "stripes": _stripes,
    "fabric": _fabric,
}


# Objects


def _draw(canvas: np.ndarray, thing: Thing, x: float, y: float, radius: float, rng: np.random.Generator) -> None:
    top, left = (max(0, int((c - radius - 2) * SUPERSAMPLING)) for c in (y, x))
    bottom, right = (min(_LARGE, int((c + radius + 2) * SUPERSAMPLING)) for c in (y, x))
    window = slice(top, bottom), slice(left, right)
    px, py = _X[window] - np.float32(x), _Y[window] - np.float32(y)
    turn = rng.uniform(-0.3, 0.3)
    distance = _SHAPES[thing.shape](_along(turn, px, py) / radius, _along(turn + np.pi / 2, px, py) / radius) * radius
    tone = _tone(COLOURS[thing.colour], rng)
    paint = tone * _surface(thing.surface, px, py, rng)[..., None]
    paint = np.where((distance > -1.1)[..., None], tone * 0.35, paint)  # a thin dark outline
    canvas[window] = np.where((distance < 0)[..., None], paint, canvas[window])


def _surface(kind: str, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Brightness factor at each pixel of the object."""
    angle, period = rng.uniform(0, np.pi), rng.uniform(4.5, 6.5)
    u, v = _along(angle, x, y) / period, _along(angle + np.pi / 2, x, y) / period
    if kind == "striped":
        dark = u % 1 < 0.45
    elif kind == "dotted":
        dark = (u % 1 - 0.5) ** 2 + (v % 1 - 0.5) ** 2 < 0.09
    elif kind == "checked":
        dark = (np.floor(u) + np.floor(v)) % 2 == 0
    else:
        return np.ones_like(x)
    return np.where(dark, np.float32(0.5), np.float32(1.0))


def _circle(x, y):
    return np.hypot(x, y) - 0.92


def _square(x, y):
    return np.maximum(abs(x), abs(y)) - 0.78


def _triangle(x, y):
    return np.maximum(abs(x) * 0.866 - y * 0.5, y) - 0.5


def _star(x, y):
    angle = np.arctan2(x, -y) % (2 * np.pi / 5) - np.pi / 5
    r = np.hypot(x, y)
    px, py = r * np.cos(angle), abs(r * np.sin(angle))
    # the edge from the inner corner (0.42, 0) to the tip (cos 36°, sin 36°), as a half-plane
    ex, ey = np.cos(np.pi / 5) - 0.42, np.sin(np.pi / 5)
    return ((px - 0.42) * ey - py * ex) / np.hypot(ex, ey)


def _ring(x, y):
    return abs(np.hypot(x, y) - 0.70) - 0.24


def _cross(x, y):
    x, y = abs(x), abs(y)
    return np.maximum(np.minimum(x, y) - 0.28, np.maximum(x, y) - 0.92)


def _heart(x, y):
    x, y = abs(x) / 1.6, (0.75 - y) / 1.6
    lobe = np.hypot(x - 0.25, y - 0.75) - 0.353553
    diagonal = 0.5 * np.maximum(x + y, 0)
    tip = np.sqrt(np.minimum(x**2 + (y - 1) ** 2, (x - diagonal) ** 2 + (y - diagonal) ** 2)) * np.sign(x - y)
    return np.where(x + y > 1, lobe, tip) * 1.6


def _moon(x, y):
    return np.maximum(np.hypot(x, y) - 0.95, 0.75 - np.hypot(x - 0.45, y))


_SHAPES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "ring": _ring,
    "cross": _cross,
    "heart": _heart,
    "moon": _moon,
}
