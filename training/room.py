"""How much room the cache of a training set will take, counted before it is made."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence

import comfy.sd

from ..files import shown
from .cache import EXTRA, Tensors, cut_tokens, plain_tokens
from .cache_shards import OF_ROW
from .dataset import TrainingSet

COUNTED = 1000  # captions whose tokens are counted; of more, every n-th


def room_for_cache(items: TrainingSet, clip: comfy.sd.CLIP, empty_text: Tensors, picture: Tensors) -> list[str]:
    """A sentence about the room that the cache will take; none if nothing is missing.

    Args:
        clip: counts the tokens of captions.
        empty_text: entry of the empty prompt.
        picture: entry of the first picture.

    Raises:
        OSError: the disk has less.
    """
    captions = [caption for caption in items.captions if not items.cache.has(items.text_entry(caption))]
    indices = [index for index in range(len(items)) if not items.cache.has(items.picture_entry(index))]
    if not captions and not indices:
        return []
    limit = items.settings.caption_limit
    size = _of_texts(captions, clip, empty_text, limit) + _of_pictures(items, indices, picture)
    folder = items.cache.folder
    free = shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists())).free
    text = (
        f"Latents and embeddings of {len(indices):,} pictures and {len(captions):,} captions take {size:,} bytes "
        f"({_short(size)}) in {shown(folder)}, where {_short(free)} are free."
    )
    if size > free:
        raise OSError(
            f"{text[:-1]}; make room, lower the resolution, or set cache to false, which encodes at every step."
        )
    return [text]


def _of_texts(captions: Sequence[str], clip: comfy.sd.CLIP, empty_text: Tensors, limit: int) -> int:
    """Bytes. A long caption has several chunks of as many tokens as the empty prompt."""
    some = captions[:: -(-len(captions) // COUNTED) or 1]
    shapes = []
    for caption in some:
        tokens = cut_tokens(clip, caption, limit) if limit else plain_tokens(clip, caption)
        chunks = max(map(len, tokens.values()))
        shapes.append({name: x.shape if name == "pooled" or name.startswith(EXTRA) else (chunks * len(x), *x.shape[1:])
                       for name, x in empty_text.items()})  # fmt: skip
    sizes = {str(shape): shape for shape in shapes}
    sizes = {text: _on_disk(empty_text, shape) for text, shape in sizes.items()}
    return sum(sizes[str(shape)] for shape in shapes) * len(captions) // max(1, len(some))


def _of_pictures(items: TrainingSet, indices: Sequence[int], picture: Tensors) -> int:
    *before, height, _ = picture["latent"].shape
    reduced = items.size(0)[0] // height
    sizes = {}
    for size in {items.size(index) for index in indices}:
        shape = (*before, *(side // reduced for side in size))
        sizes[size] = _on_disk(picture, {"latent": shape, "deviation": shape})
    return sum(sizes[items.size(index)] for index in indices)


def _short(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _on_disk(entry: Tensors, shapes: Mapping[str, Sequence[int]]) -> int:
    """Bytes of an entry like another one, but for some shapes, as a row of a shard."""
    return OF_ROW + sum(math.prod(shapes.get(name, x.shape)) * x.dtype.itemsize for name, x in entry.items())
