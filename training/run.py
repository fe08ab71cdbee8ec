"""One training run from scored pictures to the adapter's file: what the node and the command line have in common."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import comfy.sd
from comfy.model_patcher import ModelPatcher

from ..adapter.adapter import Adapter
from ..iqa_models.loading import load_iqa_model
from ..optional import needed
from ..pictures.reading import Picture
from .checked import make_settings
from .data_settings import DataSettings, SampleSettings
from .dataset import TrainingSet
from .loop import RESULT, train
from .sampling import Samples
from .score_set import Progress
from .settings import TrainingSettings
from .table import ScoredTable


@dataclass(frozen=True)
class RunSettings:
    """All settings of a run."""

    training: TrainingSettings
    data: DataSettings
    samples: SampleSettings

    @classmethod
    def from_mapping(cls, given: dict, origin: str) -> RunSettings:
        """Settings of all three by name; ``origin`` is for messages.

        Raises:
            ValueError: an unknown setting, or one out of its range.
        """
        return cls(*make_settings(given, origin, TrainingSettings, DataSettings, SampleSettings))


def train_on_pictures(
    models: tuple[ModelPatcher, comfy.sd.CLIP, comfy.sd.VAE],
    pictures: Sequence[Picture],
    table: ScoredTable,
    settings: RunSettings,
    folder: Path,
    target: Path,
    preparing: Callable[[int], Progress],
    progress: Callable[[int, float], None] | None = None,
    initial: Adapter | None = None,
    should_stop: Callable[[], bool] | None = None,
    show: Callable[[int, Path], None] | None = None,
) -> Adapter:
    """Prepare the pictures, train, and put the adapter where ComfyUI looks for it, also when the run is cancelled.

    Args:
        models: MODEL, CLIP and VAE.
        folder: of the run, from which it resumes; latents and embeddings are kept in ``cache/`` beside it, where all
            runs find them.
        target: file of the adapter.
        preparing: makes the progress bar of the preparation from the number of its steps.
        progress, initial, should_stop: see :func:`.loop.train`, also for what is raised.
        show: called with the step and the file of every sample sheet.
    """
    with needed("accelerate"):
        from accelerate import PartialState
    model, clip, vae = models
    iqa_model = load_iqa_model(table.contents.models[0]) if settings.data.drawn else None
    data = TrainingSet(
        pictures, table, model, clip, vae, settings.data, folder.parent / "cache", iqa_model, settings.training.seed
    )
    folder.mkdir(parents=True, exist_ok=True)
    data.prepare(preparing)
    samples = Samples(model, clip, vae, data, settings.samples, folder) if settings.training.sample_interval else None

    def sample(step: int, adapter: Adapter) -> None:
        path = samples(step, adapter)
        if show is not None:
            show(step, path)

    try:
        adapter = train(
            model, data, settings.training, folder, data.metadata, data.empty_text, progress, initial,
            samples and sample, should_stop,
        )  # fmt: skip
    finally:
        if PartialState().is_main_process and (folder / RESULT).is_file():
            _publish(folder / RESULT, target)
    return dataclasses.replace(adapter, name=target.name)


def _publish(result: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.part")
    shutil.copyfile(result, partial)
    os.replace(partial, target)
