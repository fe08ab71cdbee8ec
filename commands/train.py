"""``iqa.py train``: pictures and their table become an adapter."""

from __future__ import annotations

import argparse
from pathlib import Path
from types import ModuleType

from .arguments import PICTURES
from .processes import process_group

SUMMARY = "pictures and their table -> adapter"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = """Train an adapter on scored pictures. It is written to models/iqa_adapter/, where Load
IQA-Adapter finds it. Ctrl-C writes a checkpoint and ends; the same command goes on from it. A run goes on only as what
it was begun: with the same settings, pictures, scores and base model, but for more steps."""
    parser.more_help = lambda: _settings_table().settings_help()
    parser.add_argument("pictures", type=Path, help=PICTURES)
    parser.add_argument("table", type=Path, help="folder of their table, from `iqa.py score`")
    parser.add_argument("name", help="of the adapter: models/iqa_adapter/NAME.safetensors")
    parser.add_argument(
        "--checkpoint", required=True,
        help="base model with UNet, text encoder and VAE: a name in models/checkpoints/, a path, or `quickstart` for "
        "the embedded tiny model",
    )  # fmt: skip
    parser.add_argument(
        "--settings", type=Path, nargs="?", action=_Settings, metavar="FILE",
        help="YAML file of settings, as those in training/examples/; without a FILE, print one with all settings and "
        "their defaults, and end",
    )  # fmt: skip
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="SETTING=VALUE",
        help="settings that win over the file's, for example steps=2000 batch_size=4; all are listed below",
    )  # fmt: skip
    parser.add_argument(
        "--recipe", choices=["default", "paper"], default="default",
        help="settings to start from, over which those of a file and --set win: the defaults, or those of arXiv "
        "2412.01794 with --fp32-vae (docs/recipe.md compares them)",
    )  # fmt: skip
    parser.add_argument(
        "--fp32-vae", action="store_true", help="encode pictures in float32 where ComfyUI would choose bfloat16"
    )
    # not --run: torchrun takes that for its own
    parser.add_argument("--folder", type=Path, help="of checkpoint, log, samples (default: output/iqa_training/NAME)")
    parser.add_argument("--anew", action="store_true", help="begin again; forgets the run's checkpoints")
    parser.add_argument("--from-adapter", type=Path, help="start from this adapter instead of the model's own weights")


class _Settings(argparse.Action):
    """``--settings FILE`` keeps the file; ``--settings`` alone prints one."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values, option=None) -> None:
        if values is None:
            print(_settings_table().settings_yaml())
            parser.exit()
        namespace.settings = values


def _settings_table() -> ModuleType:
    """``training/settings.py`` alone, for the whole pack would bring torch and ComfyUI, which take seconds."""
    from training import settings

    return settings


def run(options: argparse.Namespace) -> int:
    with process_group("--fp32-vae" if options.fp32_vae or options.recipe == "paper" else ""):
        from iqa_adapter.quickstart.model import load_quickstart
        from iqa_adapter.training.command_line import run

        return run(options, {"quickstart": load_quickstart})
