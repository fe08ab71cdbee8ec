"""Which K' and V' each row of a forward attends to, and how much of them; worked out by the first site that runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from .application import Application
from .boxes import boxes_of
from .call import CALL, QUALITY, Call
from .keys_values import KeysValues, by_site, normed
from .masks import RowMasks
from .rows import Row, chunks_of, images_of, rows_at, signature_of
from .site import Site


@dataclass(frozen=True)
class Plan:
    """What the sites of a forward share.

    Attributes:
        keys_values: K', V' of every site on the device, in its dtype, each for equally many rows that follow one
            another.
        masks: weight of the quality tokens over what the rows see, or None for 1 everywhere.
        fired: numbers of the sites that attended, of the whole run.
    """

    keys_values: KeysValues
    masks: RowMasks | None
    fired: set[int]

    def mask_at(self, site: Site, q: Tensor, extra_options: dict) -> Tensor | None:
        """Mask over the positions of ``q`` ``[rows, positions, C]``: ``[rows or 1, positions, 1]``

        Raises:
            ValueError: the site attends from another number of positions than it has, so that it is not known where
                they lie.
        """
        if self.masks is None:
            return None
        (height, width), frames = site.size(extra_options), site.frames(extra_options)
        if q.shape[1] != frames * height * width:
            raise ValueError(
                f"A node gives cross-attention {q.shape[1]} positions in place of {width}x{height} (token merging "
                "does), where IQA-Adapter's mask cannot be placed. Take the mask or that node out."
            )
        mask = self.masks.at((height, width))
        return mask if frames == 1 else mask.repeat(1, frames, 1)


def plan_of(application: Application, number: int, q: Tensor, extra_options: dict) -> Plan:
    """The plan for the rows of ``q``, ``[rows, positions, C]``, at a site; made anew only where the rows are others.

    Raises:
        ValueError: the rows cannot be told apart, or the mask cannot be placed.
    """
    call: Call = extra_options[CALL]
    rows = application.sites[number].rows(extra_options)
    key = (application, len(q), rows, q.device, q.dtype, signature_of(extra_options))
    plan = call.memory.get(key)
    if plan is None:
        plan = call.memory[key] = _plan(application, application.sites[number], call, q, extra_options)
    plan.fired.add(number)
    return plan


def _plan(application: Application, site: Site, call: Call, q: Tensor, extra_options: dict) -> Plan:
    chunks = chunks_of(extra_options)
    images = images_of(call, extra_options, site.rows(extra_options) // len(chunks))
    rows = rows_at(site, q, extra_options, chunks, images)
    fired = call.run.fired.setdefault(application, set())
    return Plan(_keys_values(application, call, rows, q), _masks(application, call, rows, q), fired)


def _keys_values(application: Application, call: Call, rows: Sequence[Row], q: Tensor) -> KeysValues:
    """What a run keeps of it on the device does not grow with the batch."""
    tokens = [application.tokens_of(call.conditioning(row.position, row.uuid).get(QUALITY, ())) for row in rows]
    sources = list(dict.fromkeys(tokens))
    first, count = {}, 0
    for source in sources:
        first[source], count = count, count + 2 * len(source)
    places = _without_repeats(
        first[source] + (len(source) if call.is_positive(row.position, row.uuid) else 0) + _number_of(row, len(source))
        for row, source in zip(rows, tokens, strict=True)
    )
    memory, views = call.run.memory, call.run.views
    key = (*sources, q.device, q.dtype)
    if key not in memory:
        table = torch.cat([source.keys_values for source in sources]).to(q.device, q.dtype)
        memory[key] = normed(table, application.sites)
    if places == tuple(range(places[0], places[0] + len(places))):  # as in most samplings: nothing is copied
        if (key, places) not in views:
            views[key, places] = by_site(memory[key][places[0] : places[-1] + 1], application.sites)
        return views[key, places]
    if (key, places) not in memory:
        memory[key, places] = torch.tensor(places, device=q.device)
    return by_site(memory[key].index_select(0, memory[key, places]), application.sites)


def _without_repeats(places: Iterable[int]) -> tuple[int, ...]:
    """Each place for as many rows as all of them have in common: 3 3 3 3 5 5 -> 3 3 5."""
    runs = [(place, len(list(run))) for place, run in groupby(places)]
    shared = math.gcd(*(length for _, length in runs))
    return tuple(place for place, length in runs for _ in range(length // shared))


def _number_of(row: Row, count: int) -> int:
    """Number of the embed or mask, among ``count``, that belongs to a row's picture.

    Raises:
        ValueError: there are several, and it is not known which picture the row is.
    """
    if count == 1:
        return 0
    if row.image is None:
        raise ValueError(
            "A node samples some pictures of the batch at a time, and IQA-Adapter cannot tell which, so that it does "
            "not know whose quality or mask is whose. Use one quality for all, or take that node out."
        )
    return row.image % count


def _masks(application: Application, call: Call, rows: tuple[Row, ...], q: Tensor) -> RowMasks | None:
    if application.mask is None:
        return None
    if not all(row.whole for row in rows):
        raise ValueError(
            "A node cuts cross-attention into windows, where IQA-Adapter's mask cannot be placed. Take the mask or "
            "that node out."
        )
    numbers = [_number_of(row, len(application.mask)) for row in rows]
    parts = list(zip(numbers, boxes_of(call, rows), strict=True))
    size = (call.picture.shape[-2], call.picture.shape[-1])
    return RowMasks(call.run, application, size, parts, q.device, q.dtype)
