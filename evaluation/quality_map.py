"""Whether Quality Map finds the half of a picture that was degraded, and whether drawing that half anew mends it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import comfy.sample
import torch
from torch import Tensor

from ..adapter.apply import apply_adapter
from ..adapter.checkpoint import load_adapter
from ..adapter.tokens import embed_quality
from ..iqa_models.loading import load_iqa_model
from ..iqa_models.quality_map import judged_windows, map_of, window_and_stride
from ..pictures.distortions import distort
from ..pictures.photos import photo_crops
from ..quality.targets import requested
from ..quickstart.adapters import SCORE
from ..quickstart.model import WEIGHTS, load_quickstart
from ..quickstart.rendering import render_pictures
from ..quickstart.sampling import CFG, SAMPLER, SCHEDULER, STEPS
from ..quickstart.world import HELD_OUT_SEEDS, HELD_OUT_THINGS, prompt, sample_scene
from .experiment import Table

METRICS = ("quickstart_iqa", "piqe", "noise")
DEGRADED = {"blurred": ("gaussian_blur", 0.4), "noisy": ("white_noise", 0.4), "JPEG": ("jpeg", 0.6)}
PHOTOS, CROPS = 12, 1  # photographs, and seed of the crops: metrics and smoothing were chosen on those of seed 0


def half(position: int, side: int) -> Tensor:
    """Left, right, upper or lower half (0...3) of a square, ``[side, side]`` of bool."""
    place = torch.zeros(side, side, dtype=torch.bool)
    first, last = slice(None, side // 2), slice(side // 2, None)
    place[[(slice(None), first), (slice(None), last), (first,), (last,)][position]] = True
    return place


def with_bad_half(picture: Tensor, kind: str, severity: float, position: int, seed: int) -> Tensor:
    """``[3, side, side]`` -> the same, degraded in one half."""
    bad = distort(picture[None], kind, severity, torch.Generator().manual_seed(seed))[0]
    return torch.where(half(position, picture.shape[-1]), bad, picture)


def overlap(found: Tensor, truth: Tensor) -> float:
    """Intersection over union."""
    return ((found & truth).sum() / (found | truth).sum()).item()


def crops(count: int, side: int) -> Tensor:
    """Crops of photographs, ``[count, 3, side, side]``; the photographs take turns."""
    each = -(-count // PHOTOS)
    return photo_crops(each, side, CROPS).unflatten(0, (PHOTOS, each)).transpose(0, 1).flatten(0, 1)[:count]


class WorstHalf:
    """Finds the worst half of a picture, by one metric and by all together.

    Args:
        metrics: of the catalogue.
    """

    def __init__(self, metrics: Sequence[str] = METRICS):
        self.models = [load_iqa_model(name) for name in metrics]
        self.sets = [range(1), range(len(metrics))]
        self.names = [" x ".join(metrics[number] for number in chosen) for chosen in self.sets]

    def __call__(self, picture: Tensor) -> list[Tensor]:
        """By each set of metrics the worst half of a picture ``[3, side, side]``, ``[side, side]`` of bool."""
        image, entries = picture.movedim(0, -1), [model.entry for model in self.models]
        place = window_and_stride(image[None], max(entries, key=lambda entry: entry.minimum_side))
        grids = [judged_windows(model, image, *place) for model in self.models]
        maps = [
            map_of([grids[each] for each in chosen], [entries[each] for each in chosen], image.shape[:2], *place)
            for chosen in self.sets
        ]
        return [found.worst_share(0.5) > 0 for found in maps]

    def overlaps(self, picture: Tensor, number: int) -> dict[str, list[float]]:
        """Intersection over union of the degraded half and the one found: by kind, a value for each set of metrics.

        Args:
            number: of the picture; the four positions take turns.
        """
        truth = half(number % 4, picture.shape[-1])
        return {
            kind: [overlap(found, truth) for found in self(with_bad_half(picture, *how, number % 4, number))]
            for kind, how in DEGRADED.items()
        }


@dataclass(frozen=True)
class Mended:
    """A scene with a bad half, and what became of it.

    Attributes:
        bad, masked, drawn: pictures ``[3, side, side]``, and the mask that the quality map gave, ``[side, side]``.
        position: of the half.
        before, after: score of that half.
    """

    bad: Tensor
    masked: Tensor
    drawn: Tensor
    position: int
    before: float
    after: float

    def numbers(self) -> dict[str, float]:
        """Overlap of mask and half, and both scores."""
        found = overlap(self.masked, half(self.position, self.masked.shape[-1]))
        return {"found": found, "before": self.before, "after": self.after}


class Inpainting:
    """The quickstart's model, which draws the worst half of a scene anew at quality 99."""

    def __init__(self):
        self.base, self.clip, self.vae = load_quickstart()
        adapter = load_adapter(WEIGHTS / SCORE.file)
        tokens = embed_quality(adapter, requested(adapter.metadata.metrics, 99, 50))
        self.model = apply_adapter(self.base, tokens, SCORE.strength)
        self.worst = WorstHalf()

    def mend(self, number: int, kind: str) -> Mended:
        """Scene ``number``, one of its halves degraded, and drawn anew where the quality map says so."""
        scene = sample_scene(HELD_OUT_SEEDS.start + 400_000 + number, HELD_OUT_THINGS, two_objects=0)
        (clean,) = render_pictures([scene])
        bad = with_bad_half(clean, *DEGRADED[kind], number % 4, number)
        mask = self.worst(bad)[-1]
        drawn = self._drawn(bad, mask, prompt(scene), number)
        before, after = (self._score(picture, number % 4) for picture in (bad, drawn))
        return Mended(bad, mask, drawn, number % 4, before, after)

    def _drawn(self, picture: Tensor, mask: Tensor, text: str, seed: int) -> Tensor:
        latent = self.vae.encode(picture.movedim(0, -1)[None])
        positive, negative = (self.clip.encode_from_tokens_scheduled(self.clip.tokenize(words)) for words in (text, ""))
        noise = comfy.sample.prepare_noise(latent, seed)
        result = comfy.sample.sample(
            self.model, noise, STEPS, CFG, SAMPLER, SCHEDULER, positive, negative, latent,
            noise_mask=mask[None, None].float(), disable_pbar=True,
        )  # fmt: skip
        return self.vae.decode(result)[0].movedim(-1, 0).clamp(0, 1)

    def _score(self, picture: Tensor, position: int) -> float:
        """Of a half alone, by the quickstart's IQA model."""
        rows, columns = half(position, picture.shape[-1]).nonzero().T
        part = picture[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        with torch.no_grad():
            return self.worst.models[0].patcher.model(part[None]).item()


def table_of_halves(found: Sequence[Mapping[str, Sequence[float]]], names: Sequence[str]) -> Table:
    """Mean intersection over union, and share with 0.8 or more.

    Args:
        found: :meth:`WorstHalf.overlaps` of each picture.
        names: of the sets of metrics.
    """
    rows = []
    for number, name in enumerate(names):
        values = [[picture[kind][number] for picture in found] for kind in DEGRADED]
        cells = [f"{sum(each) / len(each):.2f} ({sum(one >= 0.8 for one in each) / len(each):.0%})" for each in values]
        rows.append([name, *cells])
    return Table(["metrics", *DEGRADED], rows)


def table_of_mended(found: Sequence[Mapping[str, Mapping[str, float]]]) -> Table:
    """Score of the half before and after.

    Args:
        found: :meth:`Mended.numbers` of each scene, by kind.
    """
    rows = []
    for kind in DEGRADED:
        made = [scene[kind] for scene in found]
        means = {name: sum(each[name] for each in made) / len(made) for name in made[0]}
        raised = sum(each["after"] > each["before"] for each in made)
        cells = [f"{means['found']:.2f}", f"{means['before']:.3f}", f"{means['after']:.3f}"]
        rows.append([kind, *cells, f"{raised} of {len(made)}"])
    return Table(["half", "found", "before", "after", "raised"], rows)
