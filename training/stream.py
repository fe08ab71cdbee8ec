"""The endless stream of training items, in which everything random follows from the seed and the position.

Item ``p`` is the same picture with the same noise, timestep and drops whichever process takes it, after however many
interruptions. So resuming needs no generator's state, and the processes together see what one would see.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..adapter.metadata import Metadata
from .cache import EXTRA
from .reading_ahead import read_ahead
from .settings import TrainingSettings

SIZES = ("height", "width", "crop_h", "crop_w", "target_height", "target_width")  # of an item's `size`, as SDXL's
BATCHES_AHEAD = 2  # that threads read while the model learns


@dataclass(frozen=True)
class Batch:
    """Items of one forward.

    Attributes:
        latents, noise: ``[N, C, H, W]`` float32, ``[N, C, 1, H, W]`` of models that know frames.
        quantiles: ``[N]`` place in the model's noise schedule, 0...1.
        quality: ``[N, m]`` float32.
        keep: ``[N, 1]`` 0 where the quality input is dropped, else 1.
        conditionings: per item, the arguments of ``BaseModel.extra_conds``.
    """

    latents: Tensor
    noise: Tensor
    quantiles: Tensor
    quality: Tensor
    keep: Tensor
    conditionings: list[dict]


@dataclass(frozen=True)
class TrainingData:
    """What an adapter learns from.

    Attributes:
        items: map-style data set, see :class:`ItemStream`.
        metadata: what the quality input is; encoding and base model are filled in.
        empty_text: ``text`` ``[tokens, width]`` and, where the model uses it, ``pooled`` ``[P]`` of the empty prompt.
        finish: makes items of what the data set gives, in the main thread, a batch at a time. Data sets hold no models;
            what needs some is done here.
    """

    items: Dataset
    metadata: Metadata
    empty_text: Mapping[str, Tensor]
    finish: Callable[[Sequence], list[dict]] = list

    def item(self, index: int) -> dict:
        """A finished item."""
        return self.finish([self.items[index]])[0]


class Unavailable(ValueError):
    """An item whose shard is gone, cut off or another one since the run began; the message names the shard."""


class ItemStream:
    """Position -> item of the data set with its noise, noise level and drops.

    Args:
        dataset: map-style; its finished items are mappings with ``latent`` ``[C, ..., H, W]``, scaled by the model's
            latent format, ``text`` ``[tokens, width]``, optionally ``pooled`` ``[P]`` and ``extra.NAME``, ``quality``
            ``[m]``, and optionally ``size``: height, width, crop top, crop left, target height, target width in pixels
            (SDXL's size conditioning). Where there is a ``deviation`` of the latent's shape, every position draws its
            latent anew. If it has an attribute ``buckets``, ``[items]`` numbers of the groups of equal size, every
            batch comes from one group; what a group lacks to whole batches is taken from it again. The order then
            depends on ``batch_size``, too. In place of an item that is :class:`Unavailable` comes the next one of its
            group, whatever process asks.
        empty_text: ``text`` and ``pooled`` of the empty prompt.
        finish: see :class:`TrainingData`.
    """

    def __init__(
        self,
        dataset: Dataset,
        empty_text: Mapping[str, Tensor],
        settings: TrainingSettings,
        finish: Callable[[Sequence], list[dict]] = list,
    ):
        self.dataset, self.empty_text, self.settings, self.finish = dataset, empty_text, settings, finish
        self._order = functools.lru_cache(2)(self._epoch_order)  # a batch may end one and begin the next
        self._length = len(self._order(0))

    def __getitem__(self, position: int) -> dict:
        (item,) = self.finish([self._item(position)])
        return self._drawn(position, item)

    def _drawn(self, position: int, item: Mapping) -> dict:
        """An item with what is drawn for a position."""
        if not item["quality"].isfinite().all():
            number = self._index(position)
            raise ValueError(f"Item {number} of the training set has a quality input that is NaN or infinite.")
        generator = torch.Generator().manual_seed(self._seed(1, position))
        quantile, drop = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
        latent, settings = item["latent"].float(), self.settings
        noise = torch.randn(latent.shape, generator=generator)
        if settings.noise_offset:
            each = len(latent), *[1] * (latent.ndim - 1)
            noise += settings.noise_offset * torch.randn(each, generator=generator)
        if "deviation" in item:
            latent = latent + item["deviation"].float() * torch.randn(latent.shape, generator=generator)
        drop_both = drop < settings.both_drop
        drop_quality = drop_both or drop < settings.both_drop + settings.quality_drop
        drop_text = drop_both or 0 <= drop - settings.both_drop - settings.quality_drop < settings.text_drop
        return {
            "latent": latent,
            "noise": noise,
            "quantile": quantile**settings.timestep_power,
            "quality": item["quality"].float(),
            "keep": float(not drop_quality),
            "conditioning": _conditioning(self.empty_text if drop_text else item, item.get("size")),
        }

    def batches(self, begin: int, end: int, rank: int, processes: int) -> Iterator[Batch]:
        """The batches of one process over the positions ``begin`` to ``end``."""
        size = self.settings.batch_size
        starts = range(begin + rank * size, end, processes * size)
        positions = (position for start in starts for position in range(start, start + size))
        with contextlib.closing(self._read(positions)) as read:
            for _ in starts:
                places, items = zip(*itertools.islice(read, size), strict=True)
                yield collate(list(map(self._drawn, places, self.finish(items))))

    def _read(self, positions: Iterator[int]) -> Iterator[tuple[int, object]]:
        """Positions with what the data set gives, in order; by threads, for processes would need copies of it all."""
        if not self.settings.workers:
            for position in positions:
                yield position, self._item(position)
            return
        most = BATCHES_AHEAD * self.settings.batch_size + self.settings.workers
        ahead = read_ahead(positions, lambda position, _reserve: self._item(position), self.settings.workers, most)
        with contextlib.closing(ahead):
            yield from ahead

    def _item(self, position: int) -> object:
        """What the data set gives for a position.

        Raises:
            Unavailable: no item of its group is there.
        """
        index = self._index(position)
        try:
            return self.dataset[index]
        except Unavailable as error:
            self.dataset.say_unavailable(error)
            first = error
        buckets = getattr(self.dataset, "buckets", None)
        group = np.arange(len(self.dataset)) if buckets is None else np.flatnonzero(buckets == buckets[index])
        start = int(np.searchsorted(group, index))
        for other in np.roll(group, -start)[1:].tolist():
            with contextlib.suppress(Unavailable):
                return self.dataset[other]
        raise first

    def _index(self, position: int) -> int:
        epoch, place = divmod(position, self._length)
        return int(self._order(epoch)[place])

    def _epoch_order(self, epoch: int) -> np.ndarray:
        """Items in the order of an epoch; every epoch is equally long."""
        random = np.random.default_rng(self._seed(0, epoch))
        buckets, size = getattr(self.dataset, "buckets", None), self.settings.batch_size
        if buckets is None:
            return random.permutation(np.arange(len(self.dataset), dtype=np.int32))
        batches = []
        for bucket in np.unique(buckets):
            members = random.permutation(np.flatnonzero(buckets == bucket).astype(np.int32))
            batches.append(np.resize(members, (-(-len(members) // size), size)))  # fills up by starting again
        return random.permutation(np.concatenate(batches)).reshape(-1)

    def _seed(self, purpose: int, number: int) -> int:
        words = np.random.SeedSequence([self.settings.seed, purpose, number]).generate_state(1, np.uint64)
        return int(words[0] >> np.uint64(1))


def _conditioning(text: Mapping[str, Tensor], size) -> dict:
    pooled = text.get("pooled")
    conditioning = {"cross_attn": text["text"][None], "pooled_output": None if pooled is None else pooled[None]}
    conditioning |= {name.removeprefix(EXTRA): value for name, value in text.items() if name.startswith(EXTRA)}
    if size is not None:
        conditioning |= {name: float(value) for name, value in zip(SIZES, size, strict=True)}
    return conditioning


def collate(items: list[dict]) -> Batch:
    """Stack items.

    Raises:
        ValueError: their latents differ in size.
    """
    if len(shapes := {tuple(item["latent"].shape) for item in items}) > 1:
        raise ValueError(
            f"The training set's latents differ in size ({', '.join(map(str, sorted(shapes)))}); crop or resize the "
            "pictures to one size, or give the set `buckets`."
        )
    return Batch(
        latents=torch.stack([item["latent"] for item in items]),
        noise=torch.stack([item["noise"] for item in items]),
        quantiles=torch.tensor([item["quantile"] for item in items], dtype=torch.float64),
        quality=torch.stack([item["quality"] for item in items]),
        keep=torch.tensor([[item["keep"]] for item in items]),
        conditionings=[item["conditioning"] for item in items],
    )
