"""Photographs that ship with scikit-image and scikit-learn: never trained on, only measured on and shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ..optional import needed
from .picture import read_picture

_SKIMAGE = ("astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg", "motorcycle_left.png", "ihc.png", "brick.png",
            "grass.png", "gravel.png", "hubble_deep_field.jpg")  # fmt: skip
_SKLEARN = ("china.jpg", "flower.jpg")
SHOWN = {"cat": "chelsea.png", "astronaut": "astronaut.png", "coffee": "coffee.png", "rocket": "rocket.jpg"}


def photo_files() -> list[Path]:
    """Paths of the twelve photographs."""
    import sklearn

    sklearn_folder = Path(sklearn.__file__).parent / "datasets" / "images"
    return [_skimage_folder() / name for name in _SKIMAGE] + [sklearn_folder / name for name in _SKLEARN]


def photo(name: str, size: int = 64) -> torch.Tensor:
    """One of the ``SHOWN`` photographs, its central square reduced by area: ``[1, 3, size, size]`` in 0…1."""
    pixels = _pixels(_skimage_folder() / SHOWN[name])
    side = min(pixels.shape[1:])
    top, left = ((length - side) // 2 for length in pixels.shape[1:])
    return F.interpolate(pixels[None, :, top : top + side, left : left + side], (size, size), mode="area")


def photo_crops(crops: int, size: int = 64, seed: int = 0) -> torch.Tensor:
    """Square crops of at least half a photo's height, reduced by area: ``[12 · crops, 3, size, size]`` in 0…1."""
    rng = np.random.default_rng(seed)
    pictures = []
    for file in photo_files():
        pixels = _pixels(file)
        height, width = pixels.shape[1:]
        for _ in range(crops):
            side = int(rng.integers(min(height, width) // 2, min(height, width)))
            top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
            crop = pixels[None, :, top : top + side, left : left + side]
            pictures.append(F.interpolate(crop, (size, size), mode="area"))
    return torch.cat(pictures)


def _skimage_folder() -> Path:
    with needed("skimage"):
        import skimage
    return Path(skimage.__file__).parent / "data"


def _pixels(file: Path) -> torch.Tensor:
    """``[3, H, W]`` in 0…1."""
    return read_picture(file).movedim(-1, 0)
