"""Which conditioning, picture and tile each row of a forward belongs to, read where and when it runs.

A forward has ``tiles x conditionings x images`` rows, in this order: ComfyUI batches conditionings, a tiler stacks
parts of the picture. Other packs cut the batch into windows of images before it, or repeat the rows of conditionings
inside a layer. So the count of rows is read at the layer, and explained by what travels in ``transformer_options``.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .call import Call
from .site import Site

COUPLES = ("cond_or_uncond_couple", "cond_or_uncond_hook_couple")  # written by attention couples: per block, 1 or 0
UNCONDITIONAL = 1  # position in ``cond_or_uncond`` of the rows that attention couples never repeat


@dataclass(frozen=True)
class Row:
    """One row of a forward.

    Attributes:
        position: of its list of conditionings in the guider's call.
        uuid: of its conditioning, None outside of a guider.
        image: number of its picture in the batch; None where a pack cut the batch without saying how.
        tile: number of its tile in the forward.
        whole: its positions are those of the tile, row by row; a layer may also be cut into windows.
    """

    position: int
    uuid: object
    image: int | None
    tile: int
    whole: bool = True


Chunk = tuple[int, object]  # position in the guider's call and uuid of a conditioning


def signature_of(extra_options: dict) -> tuple:
    """What the rows of a forward depend on, beside their count: equal for forwards whose rows mean the same.

    Attention couples and AnimateDiff-Evolved change these lists in place.
    """
    frames = (extra_options.get("ad_params") or {}).get("sub_idxs")
    return (
        tuple(extra_options.get("cond_or_uncond", ())),
        tuple(extra_options.get("uuids", ())),
        extra_options.get("context_window"),
        None if frames is None else tuple(frames),
    )


def chunks_of(extra_options: dict) -> tuple[Chunk, ...]:
    """The conditionings of a forward in the order of its rows; one positive one outside of a guider.

    Some attention couples write the rows that they repeat into ComfyUI's own list, in place; its uuids stay.

    Raises:
        ValueError: there are other numbers of positions and uuids, and no couple explains it.
    """
    positions = list(extra_options.get("cond_or_uncond", [0]))
    uuids = extra_options.get("uuids", [None] * len(positions))
    if len(positions) != len(uuids):
        unconditional = positions.count(UNCONDITIONAL)
        conditional = len(uuids) - unconditional
        repeat, rest = divmod(len(positions) - unconditional, conditional) if conditional > 0 else (0, 0)
        if rest or not repeat:
            raise _unexplained(len(positions), len(uuids), 1)
        chunks = []
        while positions:
            chunks.append(positions.pop(0))
            if chunks[-1] != UNCONDITIONAL:
                del positions[: repeat - 1]
        positions = chunks
    return tuple(zip(positions, uuids, strict=True))


def rows_at(
    site: Site, q: Tensor, extra_options: dict, chunks: tuple[Chunk, ...], images: tuple[int | None, ...]
) -> tuple[Row, ...]:
    """One for every row of ``q`` ``[rows, positions, C]`` at a site.

    Args:
        chunks: see :func:`chunks_of`.
        images: see :func:`images_of`.

    Raises:
        ValueError: the count cannot be explained; the message names the likely cause.
    """
    count, positions = site.rows(extra_options), [position for position, _ in chunks]
    tiles, rest = divmod(count, len(positions) * len(images))
    if rest:
        raise _unexplained(count, len(positions), len(images))
    if len(q) == count:
        repeats, windows = [1] * len(chunks), 1
    elif _is_windowed(site, q, count, extra_options):
        repeats, windows = [1] * len(chunks), len(q) // count
    elif tiles == 1:
        repeats, windows = _repeats(len(q), positions, len(images), extra_options), 1
    else:
        raise _unexplained(len(q), len(positions), len(images))
    return tuple(
        Row(position, uuid, image, tile, windows == 1)
        for tile in range(tiles)
        for (position, uuid), repeat in zip(chunks, repeats, strict=True)
        for _ in range(repeat)
        for image in images
        for _ in range(windows)
    )


def images_of(call: Call, extra_options: dict, most: int) -> tuple[int | None, ...]:
    """Numbers of a forward's images, at most ``most``: those of a context window, else all, else unknown ones.

    Windows are ComfyUI's or AnimateDiff-Evolved's.
    """
    window, frames = extra_options.get("context_window"), (extra_options.get("ad_params") or {}).get("sub_idxs")
    if window is not None and window.dim == 0:
        anchor = getattr(window, "causal_anchor_index", None)  # newer ComfyUI may put the frame before in front
        for shown in ([anchor, *window.index_list], list(window.index_list)):
            if None not in shown and most % len(shown) == 0:
                return tuple(shown)
    if frames is not None and most % len(frames) == 0:
        return tuple(frames)
    count = len(call.latent)
    return tuple(range(count)) if call.run.images in (None, count) else (None,) * count


def _is_windowed(site: Site, q: Tensor, count: int, extra_options: dict) -> bool:
    """Whether every row was cut into several rows of fewer positions."""
    height, width = site.size(extra_options)
    return len(q) % count == 0 and len(q) * q.shape[1] == count * height * width


def _repeats(count: int, positions: list[int], images: int, extra_options: dict) -> list[int]:
    """How often an attention couple has repeated the rows of each conditioning, one region after the other."""
    blocks, rest = divmod(count, images)
    said = next((extra_options[key] for key in COUPLES if key in extra_options), None)
    unconditional = sum(position == UNCONDITIONAL for position in positions)
    conditional = len(positions) - unconditional
    if said is not None and len(said) == blocks:
        pairs = (sum(said), unconditional), (len(said) - sum(said), conditional)
    else:
        pairs = (unconditional, unconditional), (blocks - unconditional, conditional)
    if rest or any(blocks % chunks if chunks else blocks for blocks, chunks in pairs) or pairs[1][0] <= 0:
        raise _unexplained(count, len(positions), images)
    of_unconditional, of_conditional = (blocks // chunks if chunks else 0 for blocks, chunks in pairs)
    return [of_unconditional if position == UNCONDITIONAL else of_conditional for position in positions]


def _unexplained(rows: int, conditionings: int, images: int) -> ValueError:
    return ValueError(
        f"IQA-Adapter cannot tell whose the {rows} rows of this forward are: {conditionings} conditionings x {images} "
        "pictures were expected, or a multiple of them. A node that repeats or cuts them (attention couple, regional "
        "prompts, tiles, windows) is the likely cause; use the model without it, or without the adapter."
    )
