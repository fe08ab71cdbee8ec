"""Command line: any readable adapter file -> our ``.safetensors`` with metadata."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import torch
from typing_extensions import TypedDict

from ..files import Finite, Positive, WrongFile, read_json, shown
from ..quality.statistics import MetricStatistics, cc3m_statistics
from .checkpoint import load_adapter, save_adapter
from .metadata import Metadata, MetricEntry
from .sites import family_name, transformer_family

DTYPES = {"keep": None, "float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class _Moments(TypedDict, total=False):
    """Of activations, as tables have them."""

    mean: list[Finite]
    std: list[Positive]


def convert(options: argparse.Namespace) -> str:
    """Convert a file as the command line of ``iqa.py convert`` says; what the new file is, in one line.

    Raises:
        ValueError, FileNotFoundError: see :func:`.checkpoint.load_adapter`.
    """
    known = dict(cc3m_statistics())
    if options.statistics:
        known |= read_statistics(options.statistics)
    metrics = tuple(known.get(name, MetricStatistics(name)) for name in options.metrics)
    features = read_moments(options.feature_statistics) if options.feature_statistics else {}
    bare = Metadata(
        kind=options.kind,
        metrics=metrics,
        iqa_model=options.iqa_model,
        layer=options.layer,
        pooling=options.pooling,
        protocol=options.resize,
        feature_mean=tuple(features.get("mean", ())),
        feature_std=tuple(features.get("std", ())),
    )
    adapter = load_adapter(options.source, bare)
    transformer = transformer_family(adapter.metadata.base_model)
    base_model = options.base_model or family_name(adapter.width, len(adapter.layers), transformer)
    origin = options.origin or f"converted from {options.source.name}"
    metadata = dataclasses.replace(adapter.metadata, base_model=base_model, origin=origin)
    save_adapter(dataclasses.replace(adapter, metadata=metadata), options.target, DTYPES[options.dtype])
    inputs = [metric.name + ("" if metric.known else " (no statistics: z-scores only)") for metric in metadata.metrics]
    return (
        f"{options.target}: {metadata.kind} adapter for {base_model}, {adapter.tokens} tokens, "
        f"{metadata.iqa_model or ', '.join(inputs)}"
    )


def read_statistics(path: Path) -> dict[str, MetricStatistics]:
    """Statistics of metrics by name, from JSON.

    Raises:
        OSError, WrongFile: it cannot be read, or is something else.
    """
    entries = read_json(path, list[MetricEntry])
    try:
        return {entry["name"]: MetricStatistics.from_json(entry) for entry in entries}
    except ValueError as error:
        raise WrongFile(f"{shown(path)}: {shown(error)}") from error


def read_moments(path: Path) -> _Moments:
    """Mean and standard deviation of activations, from JSON.

    Raises:
        OSError, WrongFile: it cannot be read, or is something else.
    """
    moments = read_json(path, _Moments)
    if len(moments.get("mean", ())) != len(moments.get("std", ())):
        raise WrongFile(f"{shown(path)} has another number of means than of standard deviations. Get it again.")
    return moments
