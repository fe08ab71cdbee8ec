"""The command line of IQA-Adapter: ``python iqa.py COMMAND ...``; ``python iqa.py COMMAND --help`` explains each.

Arguments are read before anything heavy is imported, so that ``--help`` and mistakes are answered at once.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import ModuleType

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

PICTURES = """folder of pictures with captions (name.txt beside name.png, or metadata.jsonl with file_name and text),
folder of WebDataset .tar shards or Parquet files with pictures, or one of these files"""

LONGEST_WAIT = timedelta(hours=12)  # of a process that has done its share, for the others
# Commands whose code is in the repository and not in an installed pack (.comfyignore)
OF_THE_REPOSITORY = {"build": "quickstart/making", "docs": "documentation"}
WORK = Path(".runtime/quickstart")  # of `build`
EVALUATION = Path(".runtime/evaluation")  # of `evaluate`


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

    def command(add: Callable[[argparse.ArgumentParser], None], run: Callable, name: str, summary: str) -> None:
        if not _is_here(name):
            return
        subparser = commands.add_parser(name, help=summary, formatter_class=raw)
        add(subparser)
        subparser.set_defaults(run=run)

    command(_score_arguments, _train_or_score, "score", "pictures -> table of their scores, or activations")
    command(_train_arguments, _train_or_score, "train", "pictures and their table -> adapter")
    command(_convert_arguments, _convert, "convert", "any readable adapter file -> .safetensors that says what it is")
    command(_demo_arguments, _demo, "demo", "quality sweep and reference transfer on the embedded model")
    command(_evaluate_arguments, _evaluate, "evaluate", "measure what adapters do to a base model: plan -> report")
    command(_vote_arguments, _vote, "vote", "a page where people say which of two pictures is better")
    command(_docs_arguments, _docs, "docs", "make the pictures of README.md and docs/")
    command(_build_arguments, _build, "build", "make the embedded models from nothing (hours to days)")
    return parser.parse_args(arguments)


def _is_here(command: str) -> bool:
    """Whether the code of a command, or what it writes into, came with this pack."""
    return (Path(__file__).parent / OF_THE_REPOSITORY.get(command, "")).is_dir()


def _score_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = """Score pictures into a table; captions are not needed here. The same command goes on where
it was: pictures that came later or were replaced are scored, renamed ones keep their rows, rows of deleted ones are
dropped.

--import makes a table of scores that you have: opinions of people, a metric of your own, or the paper's files.

  python iqa.py score photos/ tables/mos --import mos.csv --key file --columns mos:higher
  python iqa.py score photos/ tables/both --import all.parquet --key path --columns sharpness:higher noise:lower
  python iqa.py score cc3m/ tables/paper --import cc3m.ft --key image_file --columns topiq_nr laion_aes"""
    parser.add_argument("pictures", type=Path, help=PICTURES)
    parser.add_argument("table", type=Path, help="folder of the table, made if there is none")
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--metrics", nargs="+", metavar="METRIC", help="for a score-based adapter: names of metrics")
    kind.add_argument("--features", metavar="MODEL", help="for a reference adapter: activations of this IQA model")
    kind.add_argument(
        "--import", dest="scores", type=Path, metavar="FILE",
        help="for a score-based adapter: scores from a CSV, TSV, Parquet or Feather file",
    )  # fmt: skip
    parser.add_argument(
        "--key", default="", metavar="COLUMN",
        help="of --import: column that names the pictures, with or without folders and ending (default: file_name, "
        "file, image or the like)",
    )  # fmt: skip
    parser.add_argument(
        "--columns", nargs="+", default=[], metavar="COLUMN:higher",
        help="of --import: columns of scores, as COLUMN[=NAME][:higher|lower][:technical|aesthetic]: the metric's name "
        "if it is to have another, which of its scores are the better ones, and what it judges (default: technical). "
        "Of metrics that --metrics knows the name is enough; METRIC_normalized of the paper's files becomes METRIC in "
        "its own unit",
    )  # fmt: skip
    parser.add_argument("--layer", default="", help="of --features (default: the catalogue's)")
    parser.add_argument("--pooling", default="", choices=["", "mean", "max", "mean+std", "none"], help="of --features")
    parser.add_argument(
        "--resize", "--protocol", dest="resize", choices=["512", "64", "as is"],
        help="how pictures are scaled before an IQA model sees them: to 512x512 pixels, as for the released adapters, "
        "to 64x64, as for the quickstart, or not at all (default: 512; of --import: not known)",
    )  # fmt: skip
    parser.add_argument("--shard-size", type=int, default=1000, help="pictures per file of the table (default: 1000)")
    parser.add_argument(
        "--memory", type=float, default=1.0, metavar="GIB",
        help="GiB of main memory for decoded pictures that wait to be scored, beside the IQA models; a picture that "
        "is larger is read alone (default: 1)",
    )  # fmt: skip


def _train_arguments(parser: _Parser) -> None:
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


class _Parser(argparse.ArgumentParser):
    """Of a command. ``more_help()`` follows its help, and is called only when that is printed."""

    more_help: Callable[[], str] | None = None

    def format_help(self) -> str:
        return super().format_help() + (f"\n{self.more_help()}\n" if self.more_help else "")


def _settings_table() -> ModuleType:
    """``training/settings.py`` alone, for the whole pack would bring torch and ComfyUI, which take seconds."""
    from training import settings

    return settings


def _convert_arguments(parser: argparse.ArgumentParser) -> None:
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


def _demo_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Run both quickstart workflows on a ComfyUI server of its own and keep their pictures."
    parser.add_argument("--prompt", default="", help="what to draw instead of the workflows' own prompt")
    parser.add_argument("--reference", default="", help="a picture of your own whose quality is to be transferred")
    parser.add_argument("--output", type=Path, default=Path("output"), help="folder of the pictures (default: output)")


def _evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = """Carry out a plan: sample a base model with and without adapters at the same prompts and
seeds, measure every picture, and write a report of the experiments that the plan names. The same command goes on where
it was; pictures and scores are shared by experiments and plans. Plans that come with the pack, and every setting:
evaluation/plans/."""
    parser.add_argument(
        "plan", type=Path, nargs="?", metavar="PLAN.yaml", help="what is evaluated (default: the embedded models)"
    )
    parser.add_argument(
        "--work", type=Path, default=EVALUATION, help="keeps pictures and scores (default: %(default)s)"
    )
    parser.add_argument("--report", type=Path, metavar="FOLDER", help="of the report (default: WORK/reports/PLAN)")
    parser.set_defaults(publish=None)
    if _is_here("docs"):
        parser.add_argument(
            "--publish", choices=["readme", "card"],
            help="also write the figures into README.md, with the report in docs/evaluation, or into the model card",
        )  # fmt: skip
    parser.add_argument("--estimate", action="store_true", help="only say what it would take on one GPU, counted")


def _vote_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = """Serve a page on this computer that shows pairs of pictures of the same prompt and seed, and
asks which is better, without telling what made them: a score adapter at its highest, middle and lowest level, or the
base model. Ctrl-C ends it with Bradley-Terry scores of all votes; the experiment `preference` of `iqa.py evaluate`
shows them. Everybody goes on where he was."""
    parser.add_argument(
        "plan",
        type=Path,
        nargs="?",
        metavar="PLAN.yaml",
        help="whose pictures are judged (default: the embedded models)",
    )
    parser.add_argument("--adapter", default="", help="name in the plan (default: its first score adapter)")
    parser.add_argument("--port", type=int, default=0, help="of the page (default: a free one)")
    _work_argument(parser)


def _work_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--work", type=Path, default=EVALUATION, help="keeps pictures, scores, votes (%(default)s)")


def _build_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = """Make the weights of the quickstart from nothing, stage by stage. Every stage keeps what it
has done in the work folder and goes on from there when it is started again."""
    stages = ["scenes", "base", "iqa", "reader", "score", "reference", "export"]
    parser.add_argument("--stage", choices=stages, help="only this stage (default: all, in order)")
    parser.add_argument("--steps", type=int, help="training steps (scenes: pictures; iqa, reader: epochs)")
    parser.add_argument("--minutes", type=float, help="of the stage base: as many steps as that allows")
    parser.add_argument("--work", type=Path, default=WORK, help="work folder (default: %(default)s)")


def _docs_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = """Make all pictures of README.md and docs/ into docs/images/, from the embedded models. Takes
a minute or two; run it when tests/unit/test_documentation.py says that a picture is stale.

--workflows builds workflows in ComfyUI's front end, as documentation/workflows/ describes them, instead: both forms
and the thumbnail of each, into workflows/. --nodes makes the pictures of the help pages, into web/docs/images/: it runs
small graphs in the front end and cuts out the nodes; run it when tests/unit/test_help.py says so. Both need Playwright
and a Chromium."""
    parser.add_argument(
        "--workflows", nargs="*", metavar="NAME", help="make these workflows, or all of them, and no pictures"
    )
    parser.add_argument(
        "--keep-thumbnails", action="store_true", help="of --workflows: make the forms only, which takes seconds"
    )
    parser.add_argument("--nodes", nargs="*", metavar="NODE", help="picture these nodes, or all of them")


def _train_or_score(options: argparse.Namespace) -> int:
    training = options.command == "train"
    with _processes("--fp32-vae" if training and (options.fp32_vae or options.recipe == "paper") else ""):
        from iqa_adapter.quickstart.model import load_quickstart
        from iqa_adapter.training.command_line import run

        return run(options, {"quickstart": load_quickstart})


@contextlib.contextmanager
def _processes(argument: str = "") -> Iterator[None]:
    """The process group, and ComfyUI on this process's device."""
    if os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true"):  # `accelerate launch --cpu`
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import torch
    from accelerate import PartialState

    # Chooses the process's GPU, which ComfyUI then takes
    processes = PartialState(cpu=not torch.cuda.is_available(), timeout=LONGEST_WAIT)
    _start_comfyui(*filter(None, [argument]))
    try:
        yield
    finally:
        processes.destroy_process_group()


def _convert(options: argparse.Namespace) -> None:
    _start_comfyui()
    from iqa_adapter.adapter.convert import convert

    print(convert(options))


def _demo(options: argparse.Namespace) -> None:
    import comfyui_runtime
    from comfyui_client import Client

    _start_comfyui()
    from iqa_adapter.quickstart.demo import run

    run(options, comfyui_runtime.serve, Client)


def _evaluate(options: argparse.Namespace) -> int:
    with _processes():
        from iqa_adapter.evaluation.command_line import run
        from iqa_adapter.quickstart.model import load_quickstart

        return run(options, {"quickstart": load_quickstart})


_vote = _evaluate  # the command line tells them apart


def _docs(options: argparse.Namespace) -> None:
    _start_comfyui()
    if options.workflows is not None:
        import comfyui_runtime
        from comfyui_client import Client
        from iqa_adapter.documentation.workflow_files import make_workflows

        example = comfyui_runtime.find_comfyui() / "input" / "example.png"
        make_workflows(options.workflows, comfyui_runtime.serve, Client, example, not options.keep_thumbnails)
        return
    if options.nodes is not None:
        import comfyui_runtime
        from comfyui_client import Client
        from iqa_adapter.documentation import node_pictures

        node_pictures.make(comfyui_runtime.serve, Client, tuple(options.nodes))
        return
    from iqa_adapter.documentation.making import make

    make()


def _build(options: argparse.Namespace) -> None:
    _start_comfyui()
    from iqa_adapter.quickstart.making.build import build

    build(options.work, options.stage, options.steps, options.minutes)


def _start_comfyui(*arguments: str) -> None:
    """From here on the pack can be imported as ``iqa_adapter``; ComfyUI gets the arguments."""
    import comfyui_runtime

    comfyui_runtime.load_pack(*arguments)


if __name__ == "__main__":
    sys.exit(main())
