"""Command line: any readable adapter file -> our ``.safetensors`` with metadata."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from .checkpoint import load_adapter, save_adapter
from .layers import family_name
from .metadata import KINDS, Metadata

DTYPES = {"keep": None, "float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def main(arguments: Sequence[str], known_metrics: Mapping[str, Mapping]) -> None:
    """Convert a file as the command line says.

    Args:
        arguments: of the command line, without the program's name.
        known_metrics: statistics by metric name, for files that do not carry their own.
    """
    options = _parser(known_metrics).parse_args(arguments)
    metrics = tuple(known_metrics.get(name, {"name": name}) for name in options.metrics)
    if options.statistics:
        given = {metric["name"]: metric for metric in json.loads(options.statistics.read_text())}
        metrics = tuple(given.get(metric["name"], metric) for metric in metrics)
    features = json.loads(options.feature_statistics.read_text()) if options.feature_statistics else {}
    bare = Metadata(
        kind=options.kind,
        metrics=metrics,
        iqa_model=options.iqa_model,
        layer=options.layer,
        pooling=options.pooling,
        feature_mean=tuple(features.get("mean", ())),
        feature_std=tuple(features.get("std", ())),
    )
    adapter = load_adapter(options.source, bare)
    base_model = options.base_model or family_name(adapter.width, len(adapter.layers))
    origin = options.origin or f"converted from {options.source.name}"
    metadata = dataclasses.replace(adapter.metadata, base_model=base_model, origin=origin)
    save_adapter(dataclasses.replace(adapter, metadata=metadata), options.target, DTYPES[options.dtype])
    inputs = [
        metric["name"] + ("" if "mean" in metric else " (no statistics: z-scores only)") for metric in metadata.metrics
    ]
    print(
        f"{options.target}: {metadata.kind} adapter for {base_model}, {adapter.tokens} tokens, "
        f"{metadata.iqa_model or ', '.join(inputs)}"
    )


def _parser(known_metrics: Mapping[str, Mapping]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="convert_adapter.py", description=__doc__)
    parser.add_argument("source", type=Path, help="adapter file of any layout (.safetensors or .bin)")
    parser.add_argument("target", type=Path, help="file to write (.safetensors)")
    parser.add_argument("--kind", choices=KINDS, default="score", help="what the adapter is conditioned on")
    parser.add_argument(
        "--metrics",
        nargs="*",
        default=[],
        help="score adapters: metrics in training order; statistics are known for " + ", ".join(known_metrics),
    )
    parser.add_argument("--statistics", type=Path, help="JSON list of metrics with name, mean, std, percentiles")
    parser.add_argument("--iqa-model", default="", help="reference adapters: IQA model of the activations")
    parser.add_argument("--layer", default="", help="reference adapters: layer of the activations")
    parser.add_argument("--pooling", default="", help="reference adapters: pooling of the activations")
    parser.add_argument("--feature-statistics", type=Path, help="reference adapters: JSON with mean and std lists")
    parser.add_argument("--base-model", default="", help="family of the UNet; found from the weights if not given")
    parser.add_argument("--origin", default="", help="free text about how the adapter was made")
    parser.add_argument("--dtype", choices=DTYPES, default="keep", help="of the weights in the new file")
    return parser
