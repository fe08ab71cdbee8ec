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
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..adapter.metadata import Metadata
from ..files import shown
from ..pictures.cropping import bucket_sizes, centre_crop, nearest_bucket, other_crop, scale_to_cover
from ..pictures.distortions import distort_randomly
from ..pictures.found import Captions, captions, shard_states, take
from ..pictures.reading import Indexed, Picture, captioned
from .cache import SYNTAX, Cache, Tensors
from .encoder import Encoder, Keys, Source
from .matching import Matched, match
from .pictures_seen import hashes
from .reading_ahead import Reserve
from .rows import of_rows
from .settings import DataSettings
from .stream import Unavailable
from .table import ScoredTable


@dataclass(frozen=True)
class Read:
    """An item as far as reading goes, which threads do; what is missing is made by models, see :mod:`.encoding`.

    Attributes:
        index: of the item.
        text: ``text`` and perhaps ``pooled``; None if the cache lacks it.
        picture: ``latent``, ``size`` and perhaps ``deviation`` and ``features``; None if the cache lacks it.
        source: in its place.
    """

    index: int
    text: Tensors | None
    picture: Tensors | None
    source: Source | None


class TrainingSet(Dataset):
    """What is learnt of pictures: paths and numbers, no models. :class:`.encoding.Encoding` makes items of it.

    Args:
        pictures: of the set; those without caption are left out.
        table: their scores, or activations for reference-based training.
        encoder: whose entries of the cache are read.
        settings: how pictures become items.
        cache: folder for latents and embeddings; used if the settings say so.
        seed: of the variants.
        known: gives digests of the pictures from an earlier time, see :class:`.pictures_record.PicturesRecord`; what
            has not changed since is not read again.

    Attributes:
        pictures: those with a caption and a row.
        notes: what the user should know about the others, and about renamed ones.
        seen: they as they are now, as far as it is known; None in processes that are not the main one.
        values: their raw scores or activations, ``[pictures, m]``.
        mean, std: with which these are standardised, ``[m]``.
        metadata: what the quality input is.
        buckets: ``[items]`` number of each item's size; None for a centre crop.

    Raises:
        ValueError: pictures, table and settings do not fit each other; before any work.
    """

    def __init__(
        self,
        pictures: Sequence[Picture],
        table: ScoredTable,
        encoder: Encoder,
        settings: DataSettings,
        cache: Path,
        seed: int = 0,
        known: Callable[[], Mapping[str, list]] = dict,
    ):
        self.table, self.settings, self.seed = table, settings, seed
        self.variants = settings.variants if settings.drawn else 1
        about_captions = captioned(pictures)[1]
        self._matched = _with_scores(match(pictures, table, known), table, settings)
        self.notes = [*about_captions, *self._matched.notes]
        self.pictures, self.seen = self._matched.pictures, self._matched.seen
        self.metadata, self.mean, self.std = _described(table, settings, len(self.pictures))
        self.values = _values(table, settings, self._matched.rows)
        self._scored_sizes = of_rows(table.rows.sizes, self._matched.rows)
        self._sizes = bucket_sizes(settings.resolution, settings.bucket_step) if settings.buckets else []
        self.buckets = None
        if settings.buckets:
            width, height = self._scored_sizes.numpy().T
            self.buckets = np.repeat(nearest_bucket(height, width, self._sizes), self.variants)
        self._shards, self._said = shard_states(self.pictures), set()  # the latter: of which something was said
        self.cache = Cache(cache if settings.cache else None)
        self._keys = encoder.keys if settings.cache else Keys()

    def __len__(self) -> int:
        return len(self.pictures) * self.variants

    def __getitem__(self, index: int) -> Read:
        text = picture = source = None
        if self.settings.cache:
            text = self.cache.get(self.text_entry(self.caption(index)))
            picture = self.cache.get(self.picture_entry(index))
        if picture is None:
            source = self.source(index)
        return Read(index, text, picture, source)

    @cached_property
    def captions(self) -> Sequence[str]:
        """All of them, each once, in the order of the pictures."""
        _, first = np.unique(hashes(captions(self.pictures)), return_index=True)
        return Captions(take(self.pictures, np.sort(first)))

    def caption(self, index: int) -> str:
        return self.pictures[index // self.variants].caption

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of an item's picture in pixels."""
        return (self.settings.resolution,) * 2 if self.buckets is None else self._sizes[self.buckets[index]]

    def quality(self, index: int, picture: Tensors) -> Tensor:
        """Quality input ``[m]`` of an item, whose activations are with its latent where variants are drawn."""
        raw = picture["features"] if self.settings.drawn else self.values[index // self.variants]
        return self.standardise(raw.float())

    def say_unavailable(self, error: Unavailable) -> None:
        """Log it, once for each shard."""
        shard, reason = error.args
        if shard not in self._said:
            self._said.add(shard)
            logging.warning("%s cannot be read as it was when the run began (%s); other pictures come in the place of "
                            "those that cannot be read.", shown(shard), shown(reason))  # fmt: skip

    def check(self) -> None:
        """Make sure that the pictures are those that were scored.

        Raises:
            ValueError: one was replaced.
        """
        self._matched.check(self.table)

    def standardise(self, raw: Tensor) -> Tensor:
        """Raw scores or activations ``[..., m]`` -> quality input."""
        return (raw - self.mean) / self.std

    @property
    def parts(self) -> tuple:
        """On what all of its entries together depend; empty for a small set, whose entries are soon looked up."""
        if not isinstance(self.pictures, Indexed):
            return ()
        index, numbers = self.pictures.index, self.pictures.numbers
        chosen = hashlib.blake2b(numbers, digest_size=16).hexdigest()
        return "set", index.shards, len(index), chosen, self._keys, self.settings, self.seed, self._bucket_digest()

    def _bucket_digest(self) -> str:
        return (
            "" if self.buckets is None else hashlib.blake2b(self.buckets.astype(np.int64), digest_size=16).hexdigest()
        )

    def text_entry(self, caption: str) -> tuple:
        """Of the cache: on what an embedding depends."""
        # version 0.1.0 kept captions with weights, so those with any have a name of their own
        kind, limit = "plain text" if any(sign in caption for sign in SYNTAX) else "text", self.settings.caption_limit
        return kind, self._keys.clip, caption, *([limit] if limit else [])

    def picture_entry(self, index: int) -> tuple:
        """Of the cache: on what latent, size and activations of an item depend.

        Raises:
            OSError: the picture's file is gone.
        """
        number, variant = divmod(index, self.variants)
        picture, settings = self.pictures[number], self.settings
        file = (picture.key, *self._state(picture), picture.offset)
        drawn = (variant, self.seed, settings.distortion_rate, settings.other_crop, self._keys.iqa)
        # by name where it is no default, so that caches of version 0.1.0 stay valid
        others = sorted({settings.interpolation, settings.latents} & {"bilinear", "sample"})
        return "picture", self._keys.vae, file, self.size(index), drawn if settings.drawn else (), *others

    def _state(self, picture: Picture) -> tuple[int, int]:
        """Bytes and time of a picture's file; of a shard those that it had when the set was made."""
        if picture.in_shard:
            return self._shards[picture.file]
        state = picture.file.stat()
        return state.st_size, state.st_mtime_ns

    def source(self, index: int, reserve: Reserve = lambda size: None) -> Source:
        """The picture of an item, decoded, scaled, perhaps distorted, and cropped.

        Args:
            reserve: see :func:`.reading_ahead.read_ahead`.

        Raises:
            ValueError: it cannot be read, or is another one than was scored; :class:`.stream.Unavailable` if that is
                the fault of a shard.
        """
        number, variant = divmod(index, self.variants)
        picture, settings, size = self.pictures[number], self.settings, self.size(index)
        try:
            pixels = picture.values(reserve)
            height, width = pixels.shape[:2]
            if self._scored_sizes[number].tolist() != [width, height]:
                remedy = self.table.contents.remedy
                raise ValueError(f"{picture.key} is no longer the picture that was scored; {remedy}.")
        except ValueError as error:
            raise Unavailable(str(picture.file), str(error)) if picture.in_shard else error from error
        pixels = scale_to_cover(pixels, size, settings.interpolation)
        generator = torch.Generator().manual_seed(_seed(self.seed, picture.key, variant))
        if settings.distortion_rate:
            image = pixels.movedim(-1, 0)[None]
            pixels = distort_randomly(image, 1 - settings.distortion_rate, generator)[0][0].movedim(0, -1)
        crop, corner = centre_crop(pixels, size)
        seen = crop if settings.drawn else None
        if settings.other_crop:
            seen = other_crop(pixels, generator)
        reserve(crop.nbytes + (0 if seen is None else seen.nbytes))
        return Source(picture.key, crop, torch.tensor([height, width, *corner, *size]), seen)


def _seed(*parts) -> int:
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=7).digest(), "big")


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


def _values(table: ScoredTable, settings: DataSettings, rows: np.ndarray) -> Tensor:
    """Raw scores of the chosen metrics, or activations, ``[pictures, m]``; NaN where there is none."""
    values = of_rows(table.rows.values, rows)
    if settings.metrics and table.contents.kind == "score":
        values = values[:, [table.contents.models.index(name) for name in settings.metrics]]
    return values


def _with_scores(matched: Matched, table: ScoredTable, settings: DataSettings) -> Matched:
    """Without the pictures for which an IQA model has no answer (NaN); says how many they are.

    Raises:
        ValueError: no picture is left.
    """
    if table.contents.kind == "score":
        table.metrics(settings.metrics)  # refuses names that are no columns
    is_there = _values(table, settings, matched.rows).isfinite().all(1).numpy()
    count, absent = len(is_there), np.flatnonzero(~is_there)
    if len(absent) == count:
        raise ValueError(f"None of the {count} pictures has a score in the table {table.folder}; all are NaN.")
    if not len(absent):
        return matched
    logging.warning(
        "%d of %d pictures have no score (NaN) in the table %s and are left out, %s among them.",
        len(absent), count, table.folder, matched.pictures[int(absent[0])].key,
    )  # fmt: skip
    return matched.keep(np.flatnonzero(is_there))
