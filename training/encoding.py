"""The stage before the training loop: every latent, embedding and activation is made once and kept in the cache.

Threads read and decode pictures, the main thread encodes them, several at once. What the cache lacks when an item is
learnt, all of it with ``cache: false``, is made in the same way for one batch.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

from .cache import Tensors
from .cache_shards import Writer
from .dataset import Read, TrainingSet
from .encoder import Encoder, Source
from .latents import scaled
from .observer import Observer, TrainingStopped
from .processes import any_of_all, in_main, is_main, share
from .reading_ahead import MEMORY, READERS, Reserve, read_ahead
from .room import room_for_cache
from .stream import TrainingData, Unavailable

AT_ONCE = 8  # pictures that are encoded together
PIXELS_AT_ONCE = {"cpu": 2**18, "other": 2**21}  # one or eight pictures of 512x512; a CPU gains nothing from more


class Encoding:
    """Makes training items of a set.

    Args:
        items: of which.
        encoder: that the set was made for.

    Attributes:
        items: the set.
        empty_text: embedding of the empty prompt.
    """

    def __init__(self, items: TrainingSet, encoder: Encoder):
        self.items, self._encoder, self._cache = items, encoder, items.cache
        self._keeps = items.settings.cache
        self.empty_text = self._text("")

    @property
    def data(self) -> TrainingData:
        """For the training loop."""
        return TrainingData(self.items, self.items.metadata, self.empty_text, self.finish)

    def finish(self, read: Sequence[Read]) -> list[dict]:
        """Items as :class:`.stream.ItemStream` wants them; in the main thread, for what is missing is encoded.

        Raises:
            ValueError: see :meth:`.encoder.Encoder.pictures`.
            OSError: what was made cannot be written into the cache.
        """
        made: dict[int, Tensors] = {}
        for group in self._groups((item.index, item.source) for item in read if item.source is not None):
            made |= self._encode(group)
        return [self._joined(item, made[item.index] if item.picture is None else item.picture) for item in read]

    def room(self) -> list[str]:
        """Nothing, or a sentence about the room that the cache will take, see :mod:`.room`.

        Raises:
            OSError: the disk has less.
        """
        if not self._keeps or self._is_complete():
            return []
        entry = self.items.picture_entry(0)
        picture = self._cache.get(entry) or self._encode([(0, self.items.source(0))])[0]
        return room_for_cache(self.items, self._encoder.models.clip, self.empty_text, picture)

    def prepare(self, observer: Observer) -> None:
        """Fill the cache; every process does its share, texts first, so that models change places in memory once.

        Raises:
            ValueError: pictures are no longer those that were scored; before any work.
            TrainingStopped: the observer said so; what is in the cache stays there.
        """
        self.items.check()
        if not self._keeps or in_main(self._is_complete):
            return
        self._cache.remove_left_behind()
        captions, indices = share(self.items.captions), share(range(len(self.items)))
        work = _Work(len(captions) + len(indices), observer)
        with self._cache.writing(len(captions)) as shards:
            missing = work.left_to_do(captions, lambda caption: self._cache.has(self.items.text_entry(caption)))
            for caption in missing:
                self._cache.put(self.items.text_entry(caption), self._encoder.text(caption), shards)
                work.did(1)
        by_size = sorted(indices, key=self.items.size)
        missing = work.left_to_do(by_size, lambda index: self._cache.has(self.items.picture_entry(index)))
        sources = read_ahead(missing, self._source, READERS, 2 * AT_ONCE, MEMORY)
        with self._cache.writing(len(indices)) as shards, contextlib.closing(sources):
            for group in self._groups((index, source) for index, source in sources if self._is_there(source, work)):
                self._encode(group, shards)
                work.did(len(group))
                if work.stopped:
                    break
        if any_of_all(work.stopped):
            raise TrainingStopped("Stopped while the pictures were prepared; those that are done are kept.")
        self._cache.refresh()  # by now all have written theirs
        if self.items.parts and is_main():
            self._cache.note_complete(self.items.parts)

    def _is_complete(self) -> bool:
        """Whether it is known of a large set that nothing is missing."""
        return bool(self.items.parts) and self._cache.is_complete(self.items.parts)

    def _joined(self, item: Read, picture: Tensors) -> dict:
        text = self._text(self.items.caption(item.index)) if item.text is None else item.text
        quality = self.items.quality(item.index, picture)
        return {**text, **scaled(picture, self._encoder.scale), "quality": quality, "size": picture["size"]}

    def _text(self, caption: str) -> Tensors:
        entry = self.items.text_entry(caption)
        return self._cache.get(entry) or self._cache.put(entry, self._encoder.text(caption))

    def _source(self, index: int, reserve: Reserve) -> Source | Unavailable:
        """A picture, or what is wrong with its shard."""
        try:
            return self.items.source(index, reserve)
        except Unavailable as error:
            return error

    def _is_there(self, source: Source | Unavailable, work: _Work) -> bool:
        if isinstance(source, Unavailable):
            self.items.say_unavailable(source)
            work.did(1)
        return not isinstance(source, Unavailable)

    def _encode(self, group: Sequence[tuple[int, Source]], shards: Writer | None = None) -> dict[int, Tensors]:
        """Make and keep what the models make of pictures of one size, by item."""
        made = self._encoder.pictures([source for _, source in group])
        entries = [self.items.picture_entry(index) for index, _ in group]
        return {index: self._cache.put(entry, tensors, shards)
                for (index, _), entry, tensors in zip(group, entries, made, strict=True)}  # fmt: skip

    def _groups(self, sources: Iterable[tuple[int, Source]]) -> Iterator[list[tuple[int, Source]]]:
        """Those of one size that follow each other, as many as are encoded at once."""
        group: list[tuple[int, Source]] = []
        kind = "cpu" if self._encoder.models.vae.device.type == "cpu" else "other"
        for index, source in sources:
            shape = source.pixels.shape[:2]
            most = min(AT_ONCE, PIXELS_AT_ONCE[kind] // math.prod(shape))
            if group and (len(group) >= most or group[0][1].pixels.shape[:2] != shape):
                yield group
                group = []
            group.append((index, source))
        if group:
            yield group


class _Work:
    """Progress of a process's preparation, which the observer may stop."""

    def __init__(self, total: int, observer: Observer):
        self._bar, self._left, self._observer = observer.preparing(total), total, observer
        self.did(0)

    def did(self, count: int) -> None:
        self._bar.update(count)
        self._left -= count
        self.stopped = self._left > 0 and self._observer.should_stop()

    def left_to_do(self, parts: Iterable, is_done: Callable[[object], bool]) -> Iterator:
        """Parts that are not done, until the observer stops the run."""
        for part in parts:
            if self.stopped:
                return
            if is_done(part):
                self.did(1)
            else:
                yield part
