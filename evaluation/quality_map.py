"""Whether Quality Map finds the half of a picture that was degraded, and whether drawing that half anew mends it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import comfy.sample
import torch
from torch import Tensor

from ..adapter.apply import apply_adapter
from ..adapter.checkpoint import load_adapter
from ..adapter.tokens import embed_quality
from ..iqa_models.loading import IQAModel, load_iqa_model
from ..iqa_models.quality_map import quality_map, window_and_stride
from ..pictures.distortions import distort
from ..pictures.photos import photo_crops
from ..quality.targets import requested
from ..quickstart.adapters import SCORE
from ..quickstart.model import WEIGHTS, load_quickstart
from ..quickstart.rendering import render_pictures
from ..quickstart.sampling import CFG, SAMPLER, SCHEDULER, STEPS
from ..quickstart.world import HELD_OUT_SEEDS, HELD_OUT_THINGS, prompt, sample_scene

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


def worst_half(models: Sequence[IQAModel], picture: Tensor) -> Tensor:
    """The worst half of a picture ``[3, side, side]`` by a quality map, ``[side, side]`` of bool."""
    image = picture.movedim(0, -1)
    largest = max((model.entry for model in models), key=lambda entry: entry.minimum_side)
    window, stride = window_and_stride(image[None], largest)
    return quality_map(models[0], image, window, stride, others=models[1:]).worst_share(0.5) > 0


def overlap(found: Tensor, truth: Tensor) -> float:
    """Intersection over union."""
    return ((found & truth).sum() / (found | truth).sum()).item()


def crops(count: int, side: int) -> Tensor:
    """Crops of photographs, ``[count, 3, side, side]``; the photographs take turns."""
    each = -(-count // PHOTOS)
    return photo_crops(each, side, CROPS).unflatten(0, (PHOTOS, each)).transpose(0, 1).flatten(0, 1)[:count]


def halves_found(pictures: Tensor, metrics: Sequence[str] = METRICS) -> dict[str, list[float]]:
    """Intersection over union of the degraded half and the worst half, by kind; positions take turns."""
    models = [load_iqa_model(name) for name in metrics]
    found: dict[str, list[float]] = {kind: [] for kind in DEGRADED}
    for number, picture in enumerate(pictures):
        for kind, (distortion, severity) in DEGRADED.items():
            bad = with_bad_half(picture, distortion, severity, number % 4, number)
            found[kind].append(overlap(worst_half(models, bad), half(number % 4, picture.shape[-1])))
    return found


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


class Inpainting:
    """The quickstart's model, which draws the worst half of a scene anew at quality 99."""

    def __init__(self):
        self.base, self.clip, self.vae = load_quickstart()
        adapter = load_adapter(WEIGHTS / SCORE.file)
        tokens = embed_quality(adapter, requested(adapter.metadata.metrics, 99, 50))
        self.model = apply_adapter(self.base, tokens, SCORE.strength)
        self.metrics = [load_iqa_model(name) for name in METRICS]

    def mend(self, number: int, kind: str) -> Mended:
        """Scene ``number``, one of its halves degraded, and drawn anew where the quality map says so."""
        scene = sample_scene(HELD_OUT_SEEDS.start + 400_000 + number, HELD_OUT_THINGS, two_objects=0)
        (clean,) = render_pictures([scene])
        bad = with_bad_half(clean, *DEGRADED[kind], number % 4, number)
        mask = worst_half(self.metrics, bad)
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
            return self.metrics[0].patcher.model(part[None]).item()


def report(count: int, side: int, scenes: int) -> str:
    """Tables in Markdown: halves found in photographs, and halves of scenes before and after they were drawn anew."""
    pictures = crops(count, side)
    lines = [
        f"Halves found in {count} photographs of {side} pixels: mean intersection over union (share with 0.8 or more).",
        "",
        f"| metrics | {' | '.join(DEGRADED)} |",
        "| --- " * (len(DEGRADED) + 1) + "|",
    ]
    for metrics in (METRICS[:1], METRICS):
        found = halves_found(pictures, metrics).values()
        cells = [f"{sum(each) / len(each):.2f} ({sum(one >= 0.8 for one in each) / len(each):.0%})" for each in found]
        lines.append(f"| {' x '.join(metrics)} | {' | '.join(cells)} |")
    inpainting = Inpainting()
    lines += [
        "",
        f"A half of {scenes} quickstart scenes, found by the map and drawn anew at quality 99; its quickstart_iqa.",
        "",
        "| half | found | before | after | raised |",
        "| --- | --- | --- | --- | --- |",
    ]
    for kind in DEGRADED:
        made = [inpainting.mend(number, kind) for number in range(scenes)]
        found = sum(overlap(each.masked, half(each.position, each.masked.shape[-1])) for each in made) / scenes
        before, after = (sum(getattr(each, when) for each in made) / scenes for when in ("before", "after"))
        raised = sum(each.after > each.before for each in made)
        lines.append(f"| {kind} | {found:.2f} | {before:.3f} | {after:.3f} | {raised} of {scenes} |")
    return "\n".join(lines)
