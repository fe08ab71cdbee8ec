"""What ``iqa.py score`` and ``iqa.py train`` do."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping

from safetensors import SafetensorError
from tqdm import tqdm

from ..adapter.checkpoint import load_adapter
from ..iqa_models.catalogue import DEFAULT_RESIZE
from ..iqa_models.loading import load_iqa_model
from ..pictures.reading import Found, Indexed, left_out
from .base_model import load_models
from .checked_settings import parse_mapping
from .find_together import find_together
from .import_scores import import_scores
from .loop import TrainingDiverged
from .memory import TrainingOutOfMemory, memory_errors
from .names import check_name
from .observer import Observer, TrainingStopped
from .own_size import own_size
from .processes import in_main, is_main
from .run import Run, train_on_pictures
from .score_set import Scorer, score_dataset
from .settings import RECIPES, RunSettings
from .table import ScoredTable

INTERRUPTED = 130  # exit status of a shell's commands after Ctrl-C
MISTAKES = (ValueError, OSError, ImportError, SafetensorError, TrainingDiverged, TrainingOutOfMemory)


def run(arguments: argparse.Namespace, embedded: Mapping[str, Callable[[], tuple]]) -> int:
    """Carry out a command.

    Args:
        arguments: of ``iqa.py score`` or ``iqa.py train``.
        embedded: models beside those of files, by name.

    Returns:
        Exit status: 0, 1 after an error that the user can mend, 130 after an interruption.
    """
    logging.getLogger().setLevel(logging.WARNING)
    try:
        with _Terminal() as terminal:  # its bars are closed before anything is said about the end
            scoring = arguments.command == "score"
            said = _score(arguments, terminal) if scoring else _train(arguments, embedded, terminal)
    except (KeyboardInterrupt, TrainingStopped) as stop:
        _say(f"{stop or 'Interrupted.'} Start the same command again to go on.")
        return INTERRUPTED
    except MISTAKES as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    _say(said)
    return 0


def _score(arguments: argparse.Namespace, terminal: _Terminal) -> str:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a cluster's time limit: keep the rows that are done
    pictures = find_together(arguments.pictures)
    for note in left_out(pictures):
        terminal.note(note)
    if not arguments.memory > 0:
        raise ValueError(f"--memory is the GiB for decoded pictures, so it must be above 0, not {arguments.memory:g}.")
    if arguments.scores is not None:
        _import(arguments, pictures, terminal)
    else:
        _measure(arguments, pictures, terminal)
    table = ScoredTable.read(arguments.table)
    return f"{len(table.rows)} of {len(pictures)} pictures: {table.contents} in {arguments.table}"


def _measure(arguments: argparse.Namespace, pictures: Found | Indexed, terminal: _Terminal) -> None:
    if arguments.key or arguments.columns:
        raise ValueError("--key and --columns are of --import; leave them out.")
    names = arguments.metrics or [arguments.features]
    with memory_errors("scoring", "free memory, or choose a smaller --resize"):
        models, of_layer = [load_iqa_model(name) for name in names], (arguments.layer, arguments.pooling)
        how = (arguments.resize or DEFAULT_RESIZE, arguments.features is not None, *of_layer)
        scorer = Scorer(models, *how, arguments.memory * 2**30)

        def bar(total: int) -> tqdm:
            return terminal.bar(total, "scoring", "score")

        score_dataset(pictures, scorer, arguments.table, bar, arguments.shard_size, terminal.note)


def _import(arguments: argparse.Namespace, pictures: Found | Indexed, terminal: _Terminal) -> None:
    if not arguments.columns:
        raise ValueError("--import needs --columns: the columns that hold scores, as in --columns mos:higher.")

    def bar(total: int) -> tqdm:
        return terminal.bar(total, "reading", "picture")

    options = {"key": arguments.key, "resize": arguments.resize or "", "progress": bar}
    for note in in_main(
        lambda: import_scores(pictures, arguments.scores, arguments.columns, arguments.table, **options)
    ):
        terminal.note(note)


def _train(arguments: argparse.Namespace, embedded: Mapping[str, Callable[[], tuple]], terminal: _Terminal) -> str:
    check_name(arguments.name)
    given, origin = _settings(arguments)
    RunSettings.from_mapping(given, origin)  # mistakes are answered before anything is loaded
    pictures, table = find_together(arguments.pictures), ScoredTable.read(arguments.table)
    initial = load_adapter(arguments.from_adapter) if arguments.from_adapter else None
    terminal.heed_signals()
    models = load_models(arguments.checkpoint, embedded)
    settings = RunSettings.from_mapping(own_size(models.model) | given, origin)
    run = Run.named(arguments.name, settings, arguments.folder, anew=arguments.anew, initial=initial)
    terminal.steps = settings.training.steps
    train_on_pictures(models, pictures, table, run, terminal)
    return f"Adapter: {run.target}\nLog, samples and checkpoint: {run.folder}"


def _settings(arguments: argparse.Namespace) -> tuple[dict, str]:
    """Settings by name, and where they come from, for messages."""
    file, given, origin = arguments.settings, {}, "--set"
    if file:
        given, origin = parse_mapping(file.read_bytes(), file.name), f"{file.name} and --set"
    lines = "\n".join(entry.replace("=", ": ", 1) for entry in arguments.set)
    return RECIPES[arguments.recipe] | given | parse_mapping(lines, "--set"), origin


class _Terminal(Observer):
    """Bars, notes and Ctrl-C of a command."""

    def __init__(self):
        self.steps = 0
        self._bar: tqdm | None = None  # there is one at a time
        self._training: tqdm | None = None
        self._stopping = False

    def __enter__(self) -> _Terminal:
        return self

    def __exit__(self, *_error) -> None:
        if self._bar is not None:
            self._bar.close()  # ends its line, on which an error would stand otherwise

    def bar(self, total: int, what: str, unit: str, initial: int = 0) -> tqdm:
        self.__exit__()
        self._bar = tqdm(total=total, desc=what, unit=unit, initial=initial, disable=not is_main())
        return self._bar

    def preparing(self, total: int) -> tqdm:
        return self.bar(total, "encoding", "picture")

    def step(self, step: int, loss: float) -> None:
        """Steps, loss and time left, counted from the first step that this process makes."""
        self._training = self._training or self.bar(self.steps, "training", "step", initial=step - 1)
        self._training.set_postfix(loss=f"{loss:.4f}", refresh=False)
        self._training.update(1)

    def note(self, text: str) -> None:
        _say(f"note: {text}")

    def heed_signals(self) -> None:
        """The first Ctrl-C or SIGTERM (of a cluster) stops the run after its step; a second Ctrl-C ends it at once."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)

    def _stop(self, number: int, _frame) -> None:
        self._stopping = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if is_main():
            text = "\nStopping after this step; what is learnt will be written. Ctrl-C again ends at once.\n"
            os.write(2, text.encode())  # print is not safe where a signal interrupted a print

    def should_stop(self) -> bool:
        return self._stopping


def _say(text: str) -> None:
    if is_main():
        tqdm.write(text)
