"""Whole runs on the quickstart, from a few small photos to the adapter's file."""

from __future__ import annotations

import signal
from pathlib import Path

import training_models
import training_pictures
import yaml

import iqa
from iqa_adapter.iqa_models.loading import load_iqa_model
from iqa_adapter.pictures.reading import Picture, find_pictures
from iqa_adapter.quickstart.model import load_quickstart
from iqa_adapter.training import command_line
from iqa_adapter.training.dataset import TrainingSet
from iqa_adapter.training.encoder import Encoder, Models
from iqa_adapter.training.encoding import Encoding
from iqa_adapter.training.run import Run, train_on_pictures
from iqa_adapter.training.score_set import Scorer, score_dataset
from iqa_adapter.training.settings import RunSettings
from iqa_adapter.training.table import ScoredTable

SETTINGS = """
steps: 4
batch_size: 2
learning_rate: 0.01
precision: float32
resolution: 64
bucket_step: 8
sample_steps: 2
sample_targets: [1, 99]
sample_prompts: [a red circle, a blue square, noise]
"""

Scored = tuple[list[Picture], ScoredTable]


def command(*words) -> int:
    """``iqa.py WORDS`` in this process, which keeps its own handlers of signals; returns the exit status."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return command_line.run(iqa.parse([str(word) for word in words]), {"quickstart": load_quickstart})
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def scored(photos: Path, table: Path, *metrics: str, resize: str = "as is") -> Scored:
    """Six photos, written where there are none yet, and their scores."""
    if not photos.exists():
        training_pictures.write(photos, 6)
    found = find_pictures(photos)
    models = [load_iqa_model(name) for name in metrics or ("entropy",)]
    score_dataset(found, Scorer(models, resize), table)
    return found, ScoredTable.read(table)


def encoding(photos: Path, table: ScoredTable, models, settings, cache: Path, iqa_model=None) -> Encoding:
    """What makes training items of photos."""
    encoder = Encoder(Models(*models[:3], iqa_model), table, settings)
    return Encoding(TrainingSet(find_pictures(photos), table, encoder, settings, cache), encoder)


def go(scored, folder, models=None, watch=None, anew=False, initial=None, **overrides):
    """Train, or go on; the adapter and the losses."""
    settings = RunSettings.from_mapping(yaml.safe_load(SETTINGS) | overrides, "the test")
    chosen = Run(folder / "run", folder / "models" / "new.safetensors", settings, anew, initial)
    watch = watch or training_models.Watch()
    models = Models(*(models or load_quickstart()))
    return train_on_pictures(models, *scored, chosen, watch), watch.losses
