"""Scores that a picture must reach to be good enough: ``topiq_nr=0.6, laion_aes=p80``."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from .entries import NUMBER, entries, quoted
from .names import unknown_metric
from .resize import in_words
from .statistics import MetricStatistics


def parse_thresholds(
    text: str,
    metrics: Sequence[str],
    statistics: Mapping[str, MetricStatistics],
    resize: str,
    known: Collection[str] = (),
) -> dict[str, float]:
    """Raw scores by metric name.

    Args:
        text: ``metric=0.6`` for a raw score, ``metric=p80`` for what is better than 80 % of the reference pictures,
            ``metric=+1.5z`` for a z-score; a bare ``0.6`` is meant for the first metric. Commas, semicolons or new
            lines separate entries.
        metrics: that are measured, in order.
        statistics: of those for which percentiles and z-scores are known at this resize.
        resize: how the pictures are scaled, for the messages; see :mod:`.resize`.
        known: names of all metrics that exist, to suggest one for a name that does not.

    Raises:
        ValueError: an entry cannot be read, names a metric that is not measured, or needs statistics that are not
            known.
    """
    found = {}
    for entry in entries(text):
        match = re.fullmatch(rf"(?:([^=\s]+)\s*=\s*)?(p?)({NUMBER})(z?)", entry, re.IGNORECASE)
        if not match or (match[2] and match[4]):
            raise ValueError(f"Threshold {quoted(entry)} cannot be read; write metric=0.6, metric=p80 or metric=+1z.")
        name, value = match[1] or metrics[0], float(match[3])
        if name not in metrics:
            raise ValueError(unknown_metric(name, metrics, known))
        if match[2] or match[4]:
            if name not in statistics:
                raise ValueError(
                    f"Threshold {quoted(entry)} needs statistics, and none are known of {name} for pictures "
                    f"{in_words(resize)}; write a raw score such as {name}=0.6."
                )
            of_metric = statistics[name]
            value = of_metric.raw(of_metric.z_at(value) if match[2] else value)
        found[name] = value
    return found
