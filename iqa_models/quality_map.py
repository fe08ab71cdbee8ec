"""Where a picture is bad: IQA models judge windows, and every pixel gets the mean of the windows that hold it.

What one model does not see another may: quickstart_iqa finds blur, compression and noise of single pixels, but takes
coarse grain for texture, which the formula ``noise`` finds. Several models together give the product of their goodness.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import comfy.utils
import torch
from torch import Tensor

from ..quality.resize import AS_IS
from ..quality.standing import place
from .batches import check_images, run_in_batches

if TYPE_CHECKING:
    from .catalogue import Entry
    from .loading import IQAModel

LEAST_WINDOW, PARTS, WIDEST, STEPS = 64, 8, 3 / 8, 16  # of automatic windows, see :func:`window_and_stride`
MOST_WINDOWS = 10_000  # in a picture
LEAST_GOODNESS = 0.01  # so that a model that finds all windows worst does not silence the others
SMOOTHING, ITERATIONS = 2.0, 60  # weight of total variation, in standard deviations of the scores


@dataclass(frozen=True, eq=False)
class QualityMap:
    """Scores of a picture's parts.

    Attributes:
        scores: ``[H, W]``, the mean over the windows that hold a pixel: raw, or of several models the product of
            their goodness, 0 worst to 1 best.
        regions: ``[H, W]``, the same of scores that were smoothed within regions, for masks.
        higher_is_better: direction of both.
    """

    scores: Tensor
    regions: Tensor
    higher_is_better: bool

    def worst_share(self, share: float) -> Tensor:
        """The worst pixels, as many as a share (0...1) of all; none where all are alike. ``[H, W]`` of 0 and 1."""
        mask = torch.zeros(self.regions.numel())
        if self.regions.min() < self.regions.max():
            goodness = self.regions if self.higher_is_better else -self.regions
            mask[goodness.flatten().argsort(stable=True)[: round(share * len(mask))]] = 1
        return mask.view_as(self.regions)

    def worse_than(self, threshold: float) -> Tensor:
        """Pixels whose score is worse than a raw score, ``[H, W]`` of 0 and 1."""
        return (self.scores < threshold if self.higher_is_better else self.scores > threshold).float()


def quality_map(
    model: IQAModel,
    image: Tensor,
    window: int,
    stride: int,
    progress: comfy.utils.ProgressBar | None = None,
    others: Sequence[IQAModel] = (),
) -> QualityMap:
    """Judge the windows of a picture.

    Args:
        image: ``[height, width, channels]``, 0...1, that passed :func:`window_and_stride`.
        window, stride: side of a window and distance of two neighbours, in pixels; the last ones touch the border.
        progress: advances by one per window and model.
        others: further models that :func:`check_together` has passed.

    Raises:
        ValueError: a model has no answer for any window.
        comfy.model_management.InterruptProcessingException: the user cancelled; asked before every batch.
    """
    grids = [judged_windows(each, image, window, stride, progress) for each in (model, *others)]
    return map_of(grids, [each.entry for each in (model, *others)], image.shape[:2], window, stride)


def judged_windows(
    model: IQAModel, image: Tensor, window: int, stride: int, progress: comfy.utils.ProgressBar | None = None
) -> Tensor:
    """Raw scores of the windows of a picture, ``[rows, columns]``; see :func:`quality_map`."""
    tops, lefts = (_starts(side, window, stride) for side in image.shape[:2])
    windows = [image[top : top + window, left : left + window] for top, left in product(tops, lefts)]  # views
    return _judged(model, windows, progress).view(len(tops), len(lefts))


def map_of(
    grids: Sequence[Tensor], entries: Sequence[Entry], size: tuple[int, int], window: int, stride: int
) -> QualityMap:
    """What one model, or several together, say of a picture.

    Args:
        grids: :func:`judged_windows` of each model, whose entries follow.
        size: height and width of the picture.
    """
    tops, lefts = (_starts(side, window, stride) for side in size)
    together = len(grids) > 1
    grid = _together(grids, entries) if together else grids[0]
    smooth = without_variation(grid, SMOOTHING * grid.std(correction=0).item())
    averaged = _averaged(torch.stack([grid, smooth]), tops, lefts, window, size)
    return QualityMap(averaged[0], averaged[1], together or entries[0].higher_is_better)


def check_together(entries: Sequence[Entry]) -> None:
    """Refuse models that cannot judge together.

    Raises:
        ValueError: one is given twice, or has no range on which its scores could be placed.
    """
    names = [entry.name for entry in entries]
    if len(set(names)) < len(names):
        raise ValueError(f"Every metric can be given once only, but these are {', '.join(names)}.")
    unbounded = [entry.name for entry in entries if not math.isfinite(entry.maximum - entry.minimum)]
    if len(entries) > 1 and unbounded:
        raise ValueError(f"{unbounded[0]} has no best and worst score, so others cannot join it; leave it out.")


def window_count(height: int, width: int, window: int, stride: int) -> int:
    """Windows in a picture."""
    return len(_starts(height, window, stride)) * len(_starts(width, window, stride))


def window_and_stride(images: Tensor, entry: Entry, window: int = 0, stride: int = 0) -> tuple[int, int]:
    """Side and distance of windows in pixels.

    An automatic window is an eighth of the shorter side, but at least 64 pixels, or 3/8 of the side where that is less;
    never less than the model needs. An automatic stride is a sixteenth of the side.

    Args:
        images: ``[N, height, width, channels]``, 0...1.
        window, stride: chosen ones; 0 for automatic.

    Raises:
        ValueError: the pictures do not suit the model, the window is larger than they are or smaller than the model
            needs, or there would be gaps, or too many windows.
    """
    check_images(images, [entry], AS_IS)
    height, width = images.shape[1:3]
    side = min(height, width)
    if window > side:
        raise ValueError(f"The window of {window} pixels is larger than the pictures, {width}x{height}; make it less.")
    if window and window < entry.minimum_side:
        raise ValueError(
            f"{entry.name} needs windows of at least {entry.minimum_side} pixels, not {window}; set window to that or "
            "more, or to 0."
        )
    chosen = window or max(entry.minimum_side, min(max(side // PARTS, LEAST_WINDOW), math.ceil(side * WIDEST)))
    step = stride or max(1, min(side // STEPS, chosen))
    if step > chosen:
        raise ValueError(f"The stride of {step} pixels would leave gaps between windows of {chosen}; make it less.")
    count = window_count(height, width, chosen, step)
    if count > MOST_WINDOWS:
        raise ValueError(
            f"A stride of {step} pixels makes {count} windows of a picture of {width}x{height}, more than "
            f"{MOST_WINDOWS}; make it more, or set it to 0."
        )
    return chosen, step


def _judged(model: IQAModel, windows: Sequence[Tensor], progress: comfy.utils.ProgressBar | None) -> Tensor:
    """Raw scores ``[windows]``; those without an answer have the mean of the others."""
    scores = run_in_batches(model, windows, model.patcher.model, progress=progress).flatten()
    if scores.isnan().all():
        raise ValueError(f"{model.entry.name} has no answer for any part of the picture; use another metric.")
    return scores.nan_to_num(scores.nanmean().item())


def _together(judged: Sequence[Tensor], entries: Sequence[Entry]) -> Tensor:
    """Product of the places of raw scores on their metrics' ranges, each 0 worst to 1 best."""
    total = torch.ones_like(judged[0])
    for scores, entry in zip(judged, entries, strict=True):
        total *= place(scores, entry.minimum, entry.maximum, entry.higher_is_better).clamp(LEAST_GOODNESS, 1)
    return total


def without_variation(grid: Tensor, weight: float) -> Tensor:
    """The grid u with least ``|u - grid|^2 / 2 + weight TV(u)``: even within regions, with edges between them.

    Chambolle's projection (2004).

    Args:
        grid: ``[rows, columns]``.
        weight: of the total variation, in the grid's unit; 0 leaves it as it is.
    """
    if weight == 0:
        return grid
    flow, step = torch.zeros(2, *grid.shape), 0.25
    for _ in range(ITERATIONS):
        slope = _gradient(_divergence(flow) - grid / weight)
        flow = (flow + step * slope) / (1 + step * slope.norm(dim=0))
    return grid - weight * _divergence(flow)


def _gradient(grid: Tensor) -> Tensor:
    """Differences to the next row and column, 0 at the last, ``[2, rows, columns]``."""
    slope = torch.zeros(2, *grid.shape)
    slope[0, :-1] = grid[1:] - grid[:-1]
    slope[1, :, :-1] = grid[:, 1:] - grid[:, :-1]
    return slope


def _divergence(flow: Tensor) -> Tensor:
    """The negative adjoint of :func:`_gradient`."""
    total = torch.zeros(flow.shape[1:])
    total[:-1] += flow[0, :-1]
    total[1:] -= flow[0, :-1]
    total[:, :-1] += flow[1, :, :-1]
    total[:, 1:] -= flow[1, :, :-1]
    return total


def _starts(length: int, window: int, stride: int) -> list[int]:
    return [*range(0, length - window, stride), length - window]


def _averaged(grids: Tensor, tops: list[int], lefts: list[int], window: int, size: tuple[int, int]) -> Tensor:
    """Values of windows ``[maps, rows, columns]`` -> mean over the windows that hold a pixel, ``[maps, H, W]``."""
    total, count = torch.zeros(len(grids), *size), torch.zeros(*size)
    for (row, top), (column, left) in product(enumerate(tops), enumerate(lefts)):
        place = slice(top, top + window), slice(left, left + window)
        total[(slice(None), *place)] += grids[:, row, column, None, None]
        count[place] += 1
    return total / count
