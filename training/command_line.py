"""What ``iqa.py score`` and ``iqa.py train`` do."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import comfy.sd
import folder_paths
from tqdm import tqdm

from ..adapter.checkpoint import load_adapter
from ..iqa_models.loading import load_iqa_model
from ..optional import needed
from ..pictures.reading import find_pictures
from .checked import parse_mapping
from .loop import TrainingDiverged, TrainingStopped
from .run import RunSettings, train_on_pictures
from .score_set import score_dataset
from .state import CHECKPOINT
from .table import ScoredTable

with needed("accelerate"):
    from accelerate import PartialState

INTERRUPTED = 130  # exit status of a shell's commands after Ctrl-C


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
        {"score": _score, "train": _train}[arguments.command](arguments, embedded)
    except (KeyboardInterrupt, TrainingStopped) as stop:
        _say(f"{stop or 'Interrupted.'} Start the same command again to go on.")
        return INTERRUPTED
    except (ValueError, OSError, TrainingDiverged) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _score(arguments: argparse.Namespace, _embedded: Mapping) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a cluster's time limit: keep the rows that are done
    pictures = find_pictures(arguments.pictures)
    names = arguments.metrics or [arguments.features]
    score_dataset(
        pictures,
        [load_iqa_model(name) for name in names],
        arguments.table,
        features=arguments.features is not None,
        protocol=arguments.resize,
        layer=arguments.layer,
        pooling=arguments.pooling,
        progress=lambda total: _bar(total, "scoring", "score"),
        shard_size=arguments.shard_size,
    )
    table = ScoredTable.read(arguments.table)
    _say(f"{len(table.rows.keys)} of {len(pictures)} pictures: {table.contents} in {arguments.table}")


def _train(arguments: argparse.Namespace, embedded: Mapping[str, Callable[[], tuple]]) -> None:
    settings = _settings(arguments)
    pictures, table = find_pictures(arguments.pictures), ScoredTable.read(arguments.table)
    folder = arguments.folder or Path(folder_paths.get_output_directory()) / "iqa_training" / arguments.name
    target = Path(folder_paths.get_folder_paths("iqa_adapter")[0]) / f"{arguments.name}.safetensors"
    if arguments.anew and PartialState().is_main_process:
        (folder / CHECKPOINT).unlink(missing_ok=True)
    PartialState().wait_for_everyone()
    models = _load_models(arguments.checkpoint, embedded)
    initial = load_adapter(arguments.from_adapter) if arguments.from_adapter else None
    train_on_pictures(
        models, pictures, table, settings, folder, target,
        preparing=lambda total: _bar(total, "encoding", "picture"),
        progress=_TrainingBar(settings.training.steps),
        initial=initial,
        should_stop=_StopSign().seen,
    )  # fmt: skip
    _say(f"Adapter: {target}\nLog, samples and checkpoint: {folder}")


def _settings(arguments: argparse.Namespace) -> RunSettings:
    file, given, origin = arguments.settings, {}, "--set"
    if file:
        given, origin = parse_mapping(file.read_text(encoding="utf-8"), file.name), f"{file.name} and --set"
    lines = "\n".join(entry.replace("=", ": ", 1) for entry in arguments.set)
    return RunSettings.from_mapping(given | parse_mapping(lines, "--set"), origin)


def _load_models(checkpoint: str, embedded: Mapping[str, Callable[[], tuple]]) -> tuple:
    if checkpoint in embedded:
        return embedded[checkpoint]()
    path = folder_paths.get_full_path("checkpoints", checkpoint) or checkpoint
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"There is no checkpoint {checkpoint} in models/checkpoints/ nor at that path; embedded is "
            f"{', '.join(embedded)}."
        )
    embeddings = folder_paths.get_folder_paths("embeddings")
    model, clip, vae, *_ = comfy.sd.load_checkpoint_guess_config(path, embedding_directory=embeddings)
    missing = [name for name, part in (("UNet", model), ("text encoder", clip), ("VAE", vae)) if part is None]
    if missing:
        raise ValueError(f"{path} has no {' and no '.join(missing)}; training needs a whole checkpoint.")
    return model, clip, vae


class _StopSign:
    """The first Ctrl-C or SIGTERM (of a cluster) stops the run after its step; a second Ctrl-C ends it at once."""

    def __init__(self):
        self._seen = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def _note(self, number: int, _frame) -> None:
        self._seen = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def seen(self) -> bool:
        return self._seen


class _TrainingBar:
    """Steps, loss and time left, counted from the first step that this process makes."""

    def __init__(self, steps: int):
        self._steps, self._bar = steps, None

    def __call__(self, step: int, loss: float) -> None:
        self._bar = self._bar or _bar(self._steps, "training", "step", initial=step - 1)
        self._bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
        self._bar.update(1)


def _bar(total: int, what: str, unit: str, initial: int = 0) -> tqdm:
    return tqdm(total=total, desc=what, unit=unit, initial=initial, disable=not PartialState().is_main_process)


def _say(text: str) -> None:
    if PartialState().is_main_process:
        tqdm.write(text)
