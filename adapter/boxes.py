"""Which part of the picture a forward sees, where other packs cut it into tiles."""

from __future__ import annotations

import torch
from torch import Tensor

from .call import Call
from .rows import Row

Box = tuple[int, int, int, int]  # height, width, top, left in the latent


def boxes_of(call: Call, rows: tuple[Row, ...]) -> list[Box]:
    """Part of the latent that each row sees.

    A conditioning's area is known. Tiles are found by their content, which noise makes unique; one that reaches over
    the edge goes on at the other side.

    Raises:
        ValueError: a tile is no part of the latent.
    """
    whole = call.picture
    seen = call.latent if call.tiles is None else call.tiles
    size, rows_of_tile = (seen.shape[-2], seen.shape[-1]), len(seen) // (rows[-1].tile + 1)
    found: dict[tuple, Box] = {}
    for row in rows:
        area = call.conditioning(row.position, row.uuid).get("area")
        key = (row.tile, area)
        if key in found:
            continue
        if area is not None and (call.tiles is None or tuple(area[:2]) == size):
            height, width, top, left = area
            found[key] = height, width, top, left
        elif size == tuple(whole.shape[-2:]):
            found[key] = (*size, 0, 0)
        else:
            found[key] = _find(seen[row.tile * rows_of_tile], whole)
    return [found[row.tile, call.conditioning(row.position, row.uuid).get("area")] for row in rows]


def _find(tile: Tensor, whole: Tensor) -> Box:
    """Place of ``tile`` ``[C, ..., h, w]`` in one of ``whole`` ``[images, C, ..., H, W]``."""
    (height, width), (full_height, full_width) = tile.shape[-2:], whole.shape[-2:]
    same = (whole == tile[..., :1, :1]).flatten(1, -3).all(1).nonzero().tolist()
    for image, top, left in same:
        box = height, width, top, left
        if torch.equal(cut(whole[image], box), tile):
            return box
    raise ValueError(
        f"A node samples parts of the picture ({width}x{height} of {full_width}x{full_height} latent positions), and "
        "IQA-Adapter cannot tell where they lie, so its mask cannot be placed. Put the mask on a conditioning instead "
        "(Set Quality of Conditioning), or take that node out."
    )


def cut(whole: Tensor, box: Box) -> Tensor:
    """``[..., height, width]`` of the latent -> the box's part; beyond the edge it goes on at the other side."""
    height, width, top, left = box
    down = (torch.arange(height, device=whole.device) + top) % whole.shape[-2]
    across = (torch.arange(width, device=whole.device) + left) % whole.shape[-1]
    return whole[..., down, :][..., across]
