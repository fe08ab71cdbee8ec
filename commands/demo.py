"""``iqa.py demo``: the quickstart workflows, run on a server of their own."""

from __future__ import annotations

import argparse
from pathlib import Path

from .processes import start_comfyui

SUMMARY = "quality sweep and reference transfer on the embedded model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Run both quickstart workflows on a ComfyUI server of its own and keep their pictures."
    parser.add_argument("--prompt", default="", help="what to draw instead of the workflows' own prompt")
    parser.add_argument("--reference", default="", help="a picture of your own whose quality is to be transferred")
    parser.add_argument("--output", type=Path, default=Path("output"), help="folder of the pictures (default: output)")


def run(options: argparse.Namespace) -> None:
    import comfyui_runtime
    from comfyui_client import Client

    start_comfyui()
    from iqa_adapter.quickstart.demo import run

    run(options, comfyui_runtime.serve, Client)
