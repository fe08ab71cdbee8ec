"""Images -> scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import comfy.utils
import torch
from torch import Tensor

from ..quality.names import unknown_metric
from ..quality.resize import AS_IS
from ..quality.statistics import MetricStatistics, cc3m_statistics
from . import catalogue
from .batches import check_images, run_in_batches

if TYPE_CHECKING:
    from .loading import IQAModel


@dataclass(frozen=True, eq=False)
class Scores:
    """Raw scores of a batch of images.

    Attributes:
        metrics: names, all different.
        values: ``[images, metrics]`` float32 on the CPU, in each metric's own unit and direction; NaN where a metric
            has no answer for an image.
        resize: how the images were scaled before the models saw them, see :mod:`..quality.resize`.

    Raises:
        ValueError: ``values`` has another shape, or a metric appears twice.
    """

    metrics: tuple[str, ...]
    values: Tensor
    resize: str

    def __post_init__(self):
        if self.values.ndim != 2 or self.values.shape[1] != len(self.metrics):
            raise ValueError(f"Scores of {len(self.metrics)} metrics cannot have shape {list(self.values.shape)}.")
        if len(set(self.metrics)) != len(self.metrics):
            raise ValueError(f"Every metric can be given once only, but these are {', '.join(self.metrics)}.")

    def __len__(self) -> int:
        return len(self.values)

    def by_metric(self) -> dict[str, list[float]]:
        """Raw scores per image by metric name."""
        return {name: column.tolist() for name, column in zip(self.metrics, self.values.T, strict=True)}

    def statistics(self) -> dict[str, MetricStatistics]:
        """CC3M statistics of those metrics that have them, and whose numbers were measured at the same resize."""
        known = cc3m_statistics()
        return {name: known[name] for name in self.metrics if name in known and known[name].resize == self.resize}

    def column(self, metric: str = "") -> tuple[str, Tensor]:
        """Name and raw scores ``[images]`` of a metric; of the first one if it is empty.

        Raises:
            ValueError: the images were not scored with ``metric``.
        """
        name = metric.strip() or self.metrics[0]
        if name not in self.metrics:
            raise ValueError(unknown_metric(name, self.metrics, catalogue.names()))
        return name, self.values[:, self.metrics.index(name)]

    def best(self, count: int, metric: str = "") -> list[int]:
        """Indices of the ``count`` best images, best first; all of them where there are fewer.

        Args:
            count: at least 1.
            metric: which of the metrics decides; the first if empty. Lower-is-better metrics count downwards; NaN is
                worst.

        Raises:
            ValueError: the images were not scored with ``metric``.
        """
        name, column = self.column(metric)
        goodness = column if catalogue.find(name).higher_is_better else -column
        return best_first(goodness)[:count]


def best_first(goodness: Tensor) -> list[int]:
    """Numbers of the pictures, best first, equal ones in their order; those without goodness (NaN) last."""
    return goodness.nan_to_num(nan=-math.inf).argsort(descending=True, stable=True).tolist()


def score_images(
    models: Sequence[IQAModel],
    images: Sequence[Tensor],
    resize: str = AS_IS,
    batch_size: int = 0,
    progress: comfy.utils.ProgressBar | None = None,
    names: Sequence[str] = (),
) -> Scores:
    """Score images with one or several IQA models, one model in memory at a time.

    Args:
        models: different metrics.
        images: ``[batch, height, width, channels]``, 0...1, or pictures ``[height, width, channels]`` of different
            sizes; see :mod:`.batches` for grey, RGBA and HDR.
        resize: one of :data:`..quality.resize.RESIZES`; the CC3M statistics hold for ``"512"``.
        batch_size: images at once for batch-safe metrics; 0 chooses.
        progress: advances by one per image and model; a ComfyUI progress bar of its own if None.
        names: of the images, for the log.

    Raises:
        ValueError: the images do not suit one of the models, or a metric is given twice; before any work.
        MemoryError: one image alone does not fit into memory.
    """
    entries = [model.entry for model in models]
    check_images(images, entries, resize)
    values = torch.empty(len(images), len(models))
    scores = Scores(tuple(entry.name for entry in entries), values, resize)
    progress = progress or comfy.utils.ProgressBar(values.numel())
    for column, model in enumerate(models):
        values[:, column] = run_in_batches(model, images, model.patcher.model, resize, batch_size, progress, names)
    return scores
