"""Pictures, their table and a ComfyUI model -> the items of the training loop.

Reference-based training with distortions or other crops draws each picture ``variants`` times, once for all: variant
``v`` of a picture always has the same distortion and crop, which follow from the seed and the picture's key. So its
latent and its activations can be kept on disk like those of any picture, and neither the VAE nor the IQA model takes
memory or time while the adapter learns. More variants show more distortions, at the price of disk and preparation.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import comfy.sd
import numpy as np
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor
from torch.utils.data import Dataset

from ..adapter.metadata import Metadata
from ..iqa_models.features import extract_features
from ..iqa_models.loading import IQAModel
from ..pictures.cropping import bucket_sizes, centre_crop, nearest_bucket, other_crop, scale_to_cover
from ..pictures.distortions import distort_randomly
from ..pictures.reading import Picture, captioned
from .cache import SYNTAX, Cache, Tensors, clip_fingerprint, encode_picture, encode_text, fingerprint, vae_fingerprint
from .latents import check_latents, encode_deviation, scaled
from .matching import match
from .observer import Observer, Silent, TrainingStopped
from .processes import any_of_all, share
from .settings import DataSettings
from .table import ScoredTable


class Models(NamedTuple):
    """What a training needs, as ComfyUI and :func:`..iqa_models.loading.load_iqa_model` load it.

    Attributes:
        iqa_model: for drawn variants: the model of the table's activations.
    """

    model: ModelPatcher
    clip: comfy.sd.CLIP
    vae: comfy.sd.VAE
    iqa_model: IQAModel | None = None


class TrainingSet(Dataset):
    """Items for :class:`.stream.ItemStream`.

    Args:
        pictures: of the set; those without caption are left out.
        table: their scores, or activations for reference-based training.
        models: that encode them.
        settings: how pictures become items.
        cache: folder for latents and embeddings; used if the settings say so.
        seed: of the variants.
        known: gives digests of the pictures from an earlier time, see :func:`.identity.of_pictures`; what has not
            changed since is not read again.

    Attributes:
        pictures: those with a caption and a row.
        notes: what the user should know about the others, and about renamed ones.
        known: of all pictures what tells them apart, as far as it is known; in the main process only.
        values: their raw scores or activations, ``[pictures, m]``.
        mean, std: with which these are standardised, ``[m]``.
        metadata: what the quality input is.
        buckets: ``[items]`` number of each item's size; None for a centre crop.
        empty_text: embedding of the empty prompt.

    Raises:
        ValueError: pictures, table, settings and models do not fit each other; before any work.
    """

    def __init__(
        self,
        pictures: Sequence[Picture],
        table: ScoredTable,
        models: Models,
        settings: DataSettings,
        cache: Path,
        seed: int = 0,
        known: Callable[[], Mapping[str, list]] = dict,
    ):
        self.table, self.models, self.settings, self.seed = table, models, settings, seed
        self.variants = settings.variants if settings.drawn else 1
        _check_drawing(table, settings, models.iqa_model)
        check_latents(models.vae, settings.latents)
        chosen, about_captions = captioned(pictures)
        self._matched = match(pictures, chosen, table, known)
        self.notes, self.known = [*about_captions, *self._matched.notes], self._matched.known
        self.pictures, rows = _with_scores(self._matched.pictures, self._matched.rows, table, settings)
        self.metadata, self.mean, self.std = _described(table, settings, len(rows))
        self.values = _values(table, settings, rows)
        self._scored_sizes = table.rows.sizes[rows]
        self._sizes = bucket_sizes(settings.resolution, settings.bucket_step) if settings.buckets else []
        chosen = [nearest_bucket(height, width, self._sizes) for width, height in self._scored_sizes.tolist()
                  if settings.buckets]  # fmt: skip
        self.buckets = np.repeat(chosen, self.variants) if settings.buckets else None
        self.cache = Cache(cache if settings.cache else None)
        self._clip_id = clip_fingerprint(models.clip) if settings.cache else ""
        self._vae_id = vae_fingerprint(models.vae) if settings.cache else ""
        self._iqa_id = self._iqa_fingerprint() if settings.drawn and settings.cache else ""
        self.empty_text = self._text("")

    def __len__(self) -> int:
        return len(self.pictures) * self.variants

    def __getitem__(self, index: int) -> dict:
        number, variant = divmod(index, self.variants)
        item = self._item(number, variant)
        latents = scaled(item, self.models.model.model.process_latent_in)
        raw = item["features"] if self.settings.drawn else self.values[number]
        text = self._text(self.pictures[number].caption)
        quality = self.standardise(raw.float())
        return {**text, **latents, "quality": quality, "size": item["size"]}

    @property
    def prepared(self) -> bool:
        """Items only need reading, which threads may do."""
        return self.settings.cache

    def standardise(self, raw: Tensor) -> Tensor:
        """Raw scores or activations ``[..., m]`` -> quality input."""
        return (raw - self.mean) / self.std

    def prepare(self, observer: Observer) -> None:
        """Fill the cache; every process does its share, texts first, so that models change places in memory once.

        Raises:
            ValueError: pictures are no longer those that were scored; before any work.
            TrainingStopped: the observer said so; what is in the cache stays there.
        """
        self._matched.check(self.table)
        if not self.settings.cache:
            return
        captions = share(sorted({picture.caption for picture in self.pictures}))
        work = [partial(self._text, caption) for caption in captions]
        work += [partial(self._item, *divmod(index, self.variants)) for index in share(range(len(self)))]
        bar, left = observer.preparing(len(work)), len(work)
        for make in work:
            if observer.should_stop():
                break
            make()
            bar.update(1)
            left -= 1
        if any_of_all(left > 0):
            raise TrainingStopped("Stopped while the pictures were prepared; those that are done are kept.")

    def _text(self, caption: str) -> Tensors:
        # version 0.1.0 kept captions with weights, so those with any have a name of their own
        kind, limit = "plain text" if any(sign in caption for sign in SYNTAX) else "text", self.settings.caption_limit
        parts = (kind, self._clip_id, caption, *([limit] if limit else []))
        return self.cache.get(parts, lambda: encode_text(self.models.clip, caption, limit))

    def _item(self, number: int, variant: int) -> Tensors:
        """``latent``, ``size``, for sampled latents ``deviation``, and for drawn variants ``features``."""
        picture, settings = self.pictures[number], self.settings
        state = picture.file.stat()
        file = (picture.key, state.st_size, state.st_mtime_ns, picture.offset)
        drawn = (variant, self.seed, settings.distortion_rate, settings.other_crop, self._iqa_id)
        parts = ("picture", self._vae_id, file, self._size(number), drawn if settings.drawn else ())
        # by name where it is no default, so that caches of version 0.1.0 stay valid
        parts += tuple(sorted({settings.interpolation, settings.latents} & {"bilinear", "sample"}))
        return self.cache.get(parts, lambda: self._make(number, variant))

    def _make(self, number: int, variant: int) -> Tensors:
        picture, settings = self.pictures[number], self.settings
        pixels, size = picture.read(), self._size(number)
        height, width = pixels.shape[:2]
        if self._scored_sizes[number].tolist() != [width, height]:
            remedy = self.table.contents.remedy
            raise ValueError(f"{picture.key} is no longer the picture that was scored; {remedy}.")
        pixels = scale_to_cover(pixels, size, settings.interpolation)
        generator = torch.Generator().manual_seed(_seed(self.seed, picture.key, variant))
        if settings.distortion_rate:
            image = pixels.movedim(-1, 0)[None]
            pixels = distort_randomly(image, 1 - settings.distortion_rate, generator)[0][0].movedim(0, -1)
        crop, corner = centre_crop(pixels, size)
        made = {"latent": encode_picture(self.models.vae, crop), "size": torch.tensor([height, width, *corner, *size])}
        if settings.latents == "sample":
            made["deviation"] = encode_deviation(self.models.vae, crop)
        if settings.drawn:
            made["features"] = self._features(other_crop(pixels, generator) if settings.other_crop else crop)
        return made

    def _features(self, pixels: Tensor) -> Tensor:
        contents = self.table.contents
        layer = (contents.layer, contents.pooling, contents.protocol)
        return extract_features(self.models.iqa_model, pixels[None], *layer, progress=Silent()).tensor[0]

    def _iqa_fingerprint(self) -> str:
        probe = torch.rand(256, 256, 3, generator=torch.Generator().manual_seed(0))
        contents = self.table.contents
        # as version 0.1.0 called it, so that its caches stay valid
        source = f"{contents.models[0]} (reference, protocol {contents.protocol}, layer {contents.layer}, "
        return f"{source}pooling {contents.pooling}) {fingerprint(self._features(probe))}"

    def _size(self, number: int) -> tuple[int, int]:
        """Height and width of the training picture in pixels."""
        if self.buckets is None:
            return (self.settings.resolution,) * 2
        return self._sizes[self.buckets[number * self.variants]]


def _seed(*parts) -> int:
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=7).digest(), "big")


def _check_drawing(table: ScoredTable, settings: DataSettings, iqa_model: IQAModel | None) -> None:
    if not settings.drawn:
        return
    if table.contents.kind != "reference":
        raise ValueError(
            "distortion_rate and other_crop are for reference-based training, which needs a table of activations; "
            f"{table.folder} holds scores."
        )
    if iqa_model is None or iqa_model.entry.name != table.contents.models[0]:
        raise ValueError(
            f"distortion_rate and other_crop need the IQA model of the table, {table.contents.models[0]}"
            + (f"; {iqa_model.entry.name} is connected." if iqa_model else ".")
        )


def _described(table: ScoredTable, settings: DataSettings, count: int) -> tuple[Metadata, Tensor, Tensor]:
    """Metadata of the quality input, and the mean and standard deviation ``[m]`` that standardise it."""
    contents = table.contents
    origin = f"{count} pictures, resize {contents.protocol or 'unknown'}"
    origin += ", imported scores" if contents.imported else ""
    if contents.kind == "score":
        known = table.metrics(settings.metrics)
        metadata = Metadata(metrics=tuple(known), protocol=contents.protocol, origin=origin)
        return metadata, *(torch.tensor([getattr(metric, name) for metric in known]) for name in ("mean", "std"))
    if settings.metrics:
        raise ValueError(f"{table.folder} holds activations, which have no metrics to choose from; leave metrics out.")
    mean, std = (table.statistics[name] for name in ("mean", "std"))
    metadata = Metadata(
        kind="reference",
        iqa_model=contents.models[0],
        layer=contents.layer,
        pooling=contents.pooling,
        protocol=contents.protocol,
        feature_mean=tuple(mean),
        feature_std=tuple(std),
        origin=origin,
    )
    return metadata, torch.tensor(mean), torch.tensor(std)


def _values(table: ScoredTable, settings: DataSettings, rows: list[int]) -> Tensor:
    """Raw scores of the chosen metrics, or activations, ``[pictures, m]``; NaN where there is none."""
    values = table.rows.values[rows]
    if settings.metrics and table.contents.kind == "score":
        values = values[:, [table.contents.models.index(name) for name in settings.metrics]]
    return values


def _with_scores(
    pictures: list[Picture], rows: list[int], table: ScoredTable, settings: DataSettings
) -> tuple[list[Picture], list[int]]:
    """Without the pictures for which an IQA model has no answer (NaN); says how many they are.

    Raises:
        ValueError: no picture is left.
    """
    if table.contents.kind == "score":
        table.metrics(settings.metrics)  # refuses names that are no columns
    there = _values(table, settings, rows).isfinite().all(1).tolist()
    absent = [picture.key for picture, answered in zip(pictures, there, strict=True) if not answered]
    if len(absent) == len(pictures):
        raise ValueError(f"None of the {len(pictures)} pictures has a score in the table {table.folder}; all are NaN.")
    if absent:
        logging.warning(
            "%d of %d pictures have no score (NaN) in the table %s and are left out, %s among them.",
            len(absent), len(pictures), table.folder, absent[0],
        )  # fmt: skip
    kept = [(picture, row) for picture, row, answered in zip(pictures, rows, there, strict=True) if answered]
    return [picture for picture, _ in kept], [row for _, row in kept]
