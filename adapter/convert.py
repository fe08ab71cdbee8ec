"""Command line: any readable adapter file -> our ``.safetensors`` with metadata."""

from __future__ import annotations

import argparse
import dataclasses

import torch
from typing_extensions import TypedDict

from ..files import Finite, Positive, read_json
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
        given = map(MetricStatistics.from_json, read_json(options.statistics, list[MetricEntry]))
        known |= {metric.name: metric for metric in given}
    metrics = tuple(known.get(name, MetricStatistics(name)) for name in options.metrics)
    features = read_json(options.feature_statistics, _Moments) if options.feature_statistics else {}
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
