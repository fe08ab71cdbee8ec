"""Which K' and V' each row of a forward attends to, and how much of them; worked out by the first site that runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .application import Application
from .boxes import boxes_of, cut
from .call import CALL, QUALITY, Call
from .rows import Row, chunks_of, images_of, rows_at


@dataclass
class Plan:
    """What the sites of a forward share.

    Attributes:
        keys_values: K' and V' of all sites for every row, ``[rows, T, 2 sum(C)]``, on the device, in its dtype.
        widths: C of every site.
        mask: ``[rows, height, width]`` weight of the quality tokens over what the row sees, or None for 1 everywhere.
        resized: the mask at the resolutions asked for so far.
    """

    keys_values: Tensor
    widths: tuple[int, ...]
    mask: Tensor | None = None
    resized: dict[tuple[int, int], Tensor] = field(default_factory=dict)

    def keys_values_at(self, number: int) -> tuple[Tensor, Tensor]:
        """K' and V' of a site, each ``[rows, T, C]``."""
        start, width = 2 * sum(self.widths[:number]), self.widths[number]
        return self.keys_values[..., start : start + width], self.keys_values[..., start + width : start + 2 * width]

    def mask_at(self, size: tuple[int, int], positions: int) -> Tensor | None:
        """Mask of a site whose activations are ``size`` high and wide: ``[rows, height * width, 1]``

        Raises:
            ValueError: the site attends from another number of positions, so that it is not known where they lie.
        """
        if self.mask is None:
            return None
        if positions != size[0] * size[1]:
            raise ValueError(
                f"A node gives cross-attention {positions} positions in place of {size[1]}x{size[0]} (token merging "
                "does), where IQA-Adapter's mask cannot be placed. Take the mask or that node out."
            )
        if size not in self.resized:
            self.resized[size] = resize_mask(self.mask, size).flatten(1)[..., None].to(self.keys_values.dtype)
        return self.resized[size]


def plan_of(application: Application, number: int, q: Tensor, extra_options: dict) -> Plan:
    """The plan for the rows of ``q``, ``[rows, positions, C]``, at a site; made anew only where the rows are others.

    Raises:
        ValueError: the rows cannot be told apart, or the mask cannot be placed.
    """
    call: Call = extra_options[CALL]
    site = application.sites[number]
    call.run.fired.setdefault(application, set()).add(site.name)
    chunks = chunks_of(extra_options)
    images = images_of(call, extra_options, site.rows(extra_options) // len(chunks))
    key = (application, chunks, images, len(q), site.rows(extra_options), q.device, q.dtype)
    if key not in call.memory:
        rows = rows_at(site, q, extra_options, chunks, images)
        widths = tuple(site.width for site in application.sites)
        mask = _mask(application, call, rows, q.device)
        call.memory[key] = Plan(_keys_values(application, call, rows, q), widths, mask)
    return call.memory[key]


def _keys_values(application: Application, call: Call, rows: Sequence[Row], q: Tensor) -> Tensor:
    """``[rows, T, 2 sum(C)]``; what a run keeps of it on the device does not grow with the batch."""
    tokens = [application.tokens_of(call.conditioning(row.position, row.uuid).get(QUALITY, ())) for row in rows]
    sources = list(dict.fromkeys(tokens))
    first, count = {}, 0
    for source in sources:
        first[source], count = count, count + 2 * len(source)
    places = [
        first[source] + (len(source) if call.is_positive(row.position, row.uuid) else 0) + _number_of(row, len(source))
        for row, source in zip(rows, tokens, strict=True)
    ]
    memory = call.run.memory
    key = (*sources, q.device, q.dtype)
    if key not in memory:
        memory[key] = torch.cat([source.keys_values for source in sources]).to(q.device, q.dtype)
    if places == list(range(count)):
        return memory[key]
    if (key, tuple(places)) not in memory:
        memory[key, tuple(places)] = torch.tensor(places, device=q.device)
    return memory[key].index_select(0, memory[key, tuple(places)])


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


def _mask(application: Application, call: Call, rows: tuple[Row, ...], device: torch.device) -> Tensor | None:
    """``[rows, height, width]``: each row sees the part of the mask that lies over its part of the picture."""
    if application.mask is None:
        return None
    if not all(row.whole for row in rows):
        raise ValueError(
            "A node cuts cross-attention into windows, where IQA-Adapter's mask cannot be placed. Take the mask or "
            "that node out."
        )
    size, memory = (call.picture.shape[-2], call.picture.shape[-1]), call.run.memory
    if (application, size, device) not in memory:  # once in a run: it may be large, and comes from the CPU
        memory[application, size, device] = resize_mask(application.mask, size).to(device)
    whole = memory[application, size, device]
    parts = [cut(whole[_number_of(row, len(whole))], box) for row, box in zip(rows, boxes_of(call, rows), strict=True)]
    return torch.stack(parts)


def resize_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """``[M, height, width]`` -> ``[M, *size]``, antialiased."""
    if tuple(mask.shape[-2:]) == tuple(size):
        return mask
    return torch.nn.functional.interpolate(mask[:, None], size=size, mode="bilinear", antialias=True)[:, 0]
