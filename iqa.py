"""The command line of IQA-Adapter: ``python iqa.py COMMAND ...``; ``python iqa.py COMMAND --help`` explains each.

Arguments are read before anything heavy is imported, so that ``--help`` and mistakes are answered at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from commands import build, convert, demo, docs, evaluate, score, train, vote
from commands.arguments import is_here

DESCRIPTION = """Perceptual quality as a condition of text-to-image models.

  python iqa.py score photos/ tables/photos --metrics topiq_nr laion_aes
  python iqa.py score photos/ tables/mos --import mos.csv --key file --columns mos:higher
  python iqa.py train photos/ tables/photos my_adapter --checkpoint sd_xl_base_1.0.safetensors
  python iqa.py convert released.bin models/iqa_adapter/topiq_laion.safetensors --metrics topiq_nr laion_aes
  python iqa.py evaluate my_plan.yaml
  python iqa.py demo --prompt "a dotted blue heart on beige fabric"

`score`, `train` and `evaluate` share their work among processes under `accelerate launch iqa.py train ...` or
`torchrun --nproc_per_node 8 iqa.py train ...`, and go on where they were when they are started again. ComfyUI is
the one in COMFYUI_PATH, else the one that this pack is installed in, else a copy that is fetched once."""

COMMANDS = {
    "score": score, "train": train, "convert": convert, "demo": demo, "evaluate": evaluate, "vote": vote, "docs": docs,
    "build": build,
}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Carry out a command; its exit status: 0, 1 after an error that the user can mend, 130 after an interruption."""
    options = parse(arguments)
    for stream in (sys.stdout, sys.stderr):  # Windows' code page lacks most characters of file names and captions
        stream.reconfigure(errors="backslashreplace")
    try:
        return options.run(options) or 0
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line: ``command``, ``run`` that carries it out, and the arguments by name."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="iqa.py", description=DESCRIPTION, formatter_class=raw)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    for name, command in COMMANDS.items():
        if is_here(name):
            subparser = commands.add_parser(name, help=command.SUMMARY, formatter_class=raw)
            command.add_arguments(subparser)
            subparser.set_defaults(run=command.run)
    return parser.parse_args(arguments)


class _Parser(argparse.ArgumentParser):
    """Of a command. ``more_help()`` follows its help, and is called only when that is printed."""

    more_help: Callable[[], str] | None = None

    def format_help(self) -> str:
        return super().format_help() + (f"\n{self.more_help()}\n" if self.more_help else "")


if __name__ == "__main__":
    sys.exit(main())
