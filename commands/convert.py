"""``iqa.py convert``: an adapter file of any layout is written as one that says what it is."""

from __future__ import annotations

import argparse
from pathlib import Path

from .processes import start_comfyui

SUMMARY = "any readable adapter file -> .safetensors that says what it is"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Write any readable adapter file as .safetensors with a header that says what it is."
    parser.add_argument("source", type=Path, help="adapter file of any layout (.safetensors or .bin)")
    parser.add_argument("target", type=Path, help="file to write (.safetensors)")
    parser.add_argument("--kind", choices=["score", "reference"], default="score", help="what it is conditioned on")
    parser.add_argument(
        "--metrics", nargs="*", default=[],
        help="score adapters: metrics in training order; statistics of the 21 metrics of the paper are known",
    )  # fmt: skip
    parser.add_argument("--statistics", type=Path, help="JSON list of metrics with name, mean, std, percentiles")
    parser.add_argument("--resize", choices=["512", "64", "as is"], default="512", help="how pictures were scaled")
    parser.add_argument("--iqa-model", default="", help="reference adapters: IQA model of the activations")
    parser.add_argument("--layer", default="", help="reference adapters: layer of the activations")
    parser.add_argument("--pooling", default="", help="reference adapters: pooling of the activations")
    parser.add_argument("--feature-statistics", type=Path, help="reference adapters: JSON with mean and std lists")
    parser.add_argument("--base-model", default="", help="family of the UNet; found from the weights if not given")
    parser.add_argument("--origin", default="", help="free text about how the adapter was made")
    parser.add_argument(
        "--dtype", choices=["keep", "float32", "float16", "bfloat16"], default="keep", help="of the weights in the file"
    )


def run(options: argparse.Namespace) -> None:
    start_comfyui()
    from iqa_adapter.adapter.convert import convert

    print(convert(options))
