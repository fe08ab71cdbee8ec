"""Requested quality -> standardised scores: percentiles, raw values, z-scores, or scores to match."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from ..printable import shown
from .calibration import Calibration
from .entries import NUMBER, entries, quoted
from .names import unknown_metric
from .resize import differ, in_words
from .statistics import MetricStatistics

MEASURED = rf"([^=\s]+)\s*=\s*measured\s*({NUMBER})"


def sliders(metrics: Sequence[MetricStatistics], quality: float, aesthetics: float) -> list[float]:
    """z-scores of two percentiles, 0...100: ``aesthetics`` for aesthetic metrics, ``quality`` for the others."""
    return [metric.z_at(aesthetics if metric.aesthetic else quality) for metric in metrics]


def requested(
    metrics: Sequence[MetricStatistics],
    quality: float,
    aesthetics: float,
    targets: str = "",
    match: Mapping[str, Sequence[float]] | None = None,
    match_resize: str = "",
    known: Collection[str] = (),
    calibration: Calibration | None = None,
) -> Tensor:
    """Standardised quality input of an adapter.

    Args:
        metrics: the adapter's, in order.
        quality, aesthetics: percentiles for every metric that nothing else sets.
        targets: see :func:`parse_targets`; overrides ``match``.
        match: raw scores per image by metric name, for example measured on reference pictures.
        match_resize: how those pictures were scaled, see :mod:`.resize`.
        known: names of all metrics that exist, to suggest one for a name that does not.
        calibration: of the adapter, for targets that are to be measured.

    Returns:
        ``[N, metrics]`` float32; N = 1, or the number of images in ``match``.

    Raises:
        ValueError: unknown metric, value out of range or unreadable; no common metric with ``match``, or one whose
            training set was scaled in another way than the pictures to match.
    """
    overrides = parse_targets(metrics, targets, known, calibration)
    columns: dict[str, list[float]] = {name: [z] for name, z in overrides.items()}
    if match is not None:
        columns = _matched(metrics, match, match_resize) | columns
    for metric in metrics:
        if metric.name not in columns:
            columns[metric.name] = sliders([metric], quality, aesthetics)
    count = max(map(len, columns.values()))
    rows = [columns[metric.name] * (count // len(columns[metric.name])) for metric in metrics]
    return torch.tensor(rows, dtype=torch.float32).T


def _matched(
    metrics: Sequence[MetricStatistics], match: Mapping[str, Sequence[float]], match_resize: str
) -> dict[str, list[float]]:
    """z-scores of the pictures to match, by metric."""
    shared = [metric for metric in metrics if metric.name in match]
    if not shared:
        raise ValueError(
            f"The scores to match are of {', '.join(match)}, but the adapter was trained on "
            f"{', '.join(metric.name for metric in metrics)}. Score the pictures with one of these."
        )
    for metric in shared:
        if differ(metric.resize, match_resize):
            raise ValueError(
                f"The scores to match are of pictures {in_words(match_resize)}, but the adapter was trained on "
                f"{metric.name} of pictures {in_words(metric.resize)}. Set resize in Score Images to {metric.resize!r}."
            )
        if not metric.resize:
            logging.warning(
                "The adapter does not say how its training pictures were scaled for %s; scores of pictures %s are "
                "taken to fit.", metric.name, in_words(match_resize),
            )  # fmt: skip
        if bad := [str(number) for number, raw in enumerate(match[metric.name], 1) if not math.isfinite(raw)]:
            raise ValueError(
                f"{metric.name} has no score (NaN) for picture {', '.join(bad)} of those to match. Leave it out, or "
                "match another metric."
            )
    return {metric.name: [metric.z_score(raw) for raw in match[metric.name]] for metric in shared}


def parse_targets(
    metrics: Sequence[MetricStatistics],
    text: str,
    known: Collection[str] = (),
    calibration: Calibration | None = None,
) -> dict[str, float]:
    """z-scores by metric name from ``topiq_nr=0.78, laion_aes=p95, hyperiqa=+1.5z, musiq=measured 70``.

    A bare number is a raw value, ``p`` a percentile (better than so many per cent), ``z`` a z-score, ``measured`` what
    the pictures shall have in the mean, of any metric of the calibration. Commas, semicolons or new lines separate
    entries. What sets a metric by name wins over a measured target that moves several.

    Raises:
        ValueError: an entry cannot be read, names a metric the adapter was not trained on (the nearest is named), or
            is out of the calibration's reach.
    """
    by_name = {metric.name: metric for metric in metrics}
    parsed: dict[str, float] = {}
    measured = measured_targets(text)
    if measured and calibration is None:
        raise ValueError(
            f"The target {shown(measured[0][0])}=measured {measured[0][1]:g} needs a calibration; connect Calibrate "
            "Adapter."
        )
    if len(measured) > 1:
        raise ValueError("One target can be measured, since a calibration has one request to choose; leave out others.")
    if measured and calibration is not None:
        parsed |= calibration.requests(measured[0][1], measured[0][0], metrics)
    for entry in filter(lambda entry: not _measured(entry), entries(text)):
        match = re.fullmatch(rf"([^=\s]+)\s*=\s*(p?)({NUMBER})(z?)", entry, re.IGNORECASE)
        if not match or (match[2] and match[4]):
            raise ValueError(
                f"Target {quoted(entry)} cannot be read; write metric=0.78, metric=p95, metric=+1.5z or "
                "metric=measured 0.7."
            )
        name, is_percentile, value, is_z = match[1], match[2], float(match[3]), match[4]
        if name not in by_name:
            raise ValueError(unknown_metric(name, by_name, known))
        metric = by_name[name]
        parsed[name] = value if is_z else metric.z_at(value) if is_percentile else metric.z_score(value)
    return parsed


def measured_targets(text: str) -> list[tuple[str, float]]:
    """Metric and value of the entries that ask for a measured one."""
    return [(match[1], float(match[2])) for match in map(_measured, entries(text)) if match]


def _measured(entry: str) -> re.Match | None:
    return re.fullmatch(MEASURED, entry, re.IGNORECASE)
