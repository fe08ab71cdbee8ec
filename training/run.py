"""One training run from scored pictures to the adapter's file: what the node and the command line have in common."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import folder_paths
from comfy.model_patcher import ModelPatcher
from filelock import FileLock, Timeout

from ..adapter.adapter import Adapter
from ..files import written_whole
from ..iqa_models.loading import load_iqa_model
from ..pictures.reading import Picture, left_out
from .dataset import TrainingSet
from .encoder import Encoder, Models
from .encoding import Encoding
from .loop import LESS_MEMORY, RESULT, check, train
from .memory import memory_errors
from .names import check_name
from .observer import Observer
from .own_size import own_resolution
from .pictures_record import PicturesRecord
from .processes import in_main, is_main, processes
from .record import RunRecord
from .sampling import Samples
from .settings import RunSettings
from .state import check_steps, forget_checkpoints, has_checkpoint, steps_done
from .table import ScoredTable
from .trainable import TrainableAdapter

RUNS, CACHE = "iqa_training", "cache"  # below ComfyUI's output folder; beside the runs
PREPARING = "preparing the pictures", "lower resolution, or free memory for the VAE and the text encoder"


@dataclass(frozen=True)
class Run:
    """A training by its name.

    Attributes:
        folder: of checkpoints, record, log and samples; latents and embeddings are kept in ``cache/`` beside it, where
            all runs find them.
        target: file of the adapter.
        settings: all of them.
        anew: forget what an earlier run of this name learnt, once everything else is known to be right.
        initial: adapter to start from, instead of the model's own attention.
    """

    folder: Path
    target: Path
    settings: RunSettings
    anew: bool = False
    initial: Adapter | None = None

    @classmethod
    def named(cls, name: str, settings: RunSettings, folder: Path | None = None, **options) -> Run:
        """A run whose adapter goes to ``models/iqa_adapter/NAME.safetensors``.

        Args:
            folder: None for ``output/iqa_training/NAME``.

        Raises:
            ValueError: the name cannot be that of a file and a folder.
        """
        check_name(name)
        target = Path(folder_paths.get_folder_paths("iqa_adapter")[0]) / f"{name}.safetensors"
        return cls(folder or Path(folder_paths.get_output_directory()) / RUNS / name, target, settings, **options)


def train_on_pictures(
    models: Models, pictures: Sequence[Picture], table: ScoredTable, run: Run, observer: Observer | None = None
) -> Adapter:
    """Prepare the pictures, train, and put the adapter where ComfyUI looks for it, also when the run is cancelled.

    What cannot work is refused before pictures are prepared and before anything of an earlier run is touched.

    Raises:
        ValueError: pictures, table, models and settings do not fit each other, or not the run that is there; or another
            process trains under this name.
        TrainingStopped, TrainingOutOfMemory, TrainingDiverged, OSError: see :func:`.loop.train`.
    """
    observer, settings = observer or Observer(), run.settings
    opening = _Opening(run)
    if settings.data.drawn and models.iqa_model is None:
        models = models._replace(iqa_model=load_iqa_model(table.contents.models[0]))
    with memory_errors(*PREPARING):
        seed, cache = settings.training.seed, run.folder.parent / CACHE
        encoder = Encoder(models, table, settings.data)
        items = TrainingSet(
            pictures, table, encoder, settings.data, cache, seed, known=lambda: PicturesRecord.read(run.folder)
        )
        encoding = Encoding(items, encoder)
        data = encoding.data
        check(models.model, data, settings.training)
    if run.initial is not None:  # reports what does not fit
        TrainableAdapter.from_adapter(run.initial, models.model.model.diffusion_model, len(items.mean))
    with _locked(run):
        about_pictures = [*left_out(pictures), *items.notes]
        about_run = in_main(lambda: [*opening.examine(items, models), *encoding.room()])
        notes = [*_about_size(models.model, settings), *about_pictures, *about_run]
        for note in notes if is_main() else ():
            observer.note(note)
        with memory_errors(*PREPARING):
            encoding.prepare(observer)
        in_main(opening.begin)
        watching = observer
        if settings.training.sample_interval:
            watching = _Sampling(observer, Samples(models, data, settings.samples, run.folder))
        try:
            adapter = train(models.model, data, settings.training, run.folder, watching, run.initial)
        except BaseException:
            with contextlib.suppress(OSError):  # of the two, the first error is the cause
                _publish(run)
            raise
        _publish(run)
    return dataclasses.replace(adapter, name=run.target.name)


def _about_size(model: ModelPatcher, settings: RunSettings) -> list[str]:
    own, chosen = own_resolution(model), settings.data.resolution
    if chosen <= own:
        return []
    return [
        f"This model is made for {own} pixels; at resolution {chosen} a step takes {(chosen / own) ** 2:.0f} times as "
        f"long or more. Set resolution to {own} unless you mean it."
    ]


class _Sampling(Observer):
    """Another observer, and sample sheets made for it."""

    def __init__(self, observer: Observer, samples: Samples):
        self.step, self.note, self.should_stop = observer.step, observer.note, observer.should_stop
        self._observer, self._samples = observer, samples

    def sample(self, step: int, adapter: Adapter) -> None:
        with memory_errors("sampling", f"set sample_interval to 0, or {LESS_MEMORY}"):
            picture = self._samples(step, adapter)
        self._observer.sheet(step, picture)


class _Opening:
    """Compares a run with the one in its folder, then begins it or lets it go on; in the main process only."""

    def __init__(self, run: Run):
        self._run = run
        self._record: RunRecord | None = None

    def examine(self, items: TrainingSet, models: Models) -> list[str]:
        """Make sure that the run in the folder is this one, unless it is to be forgotten; touches nothing.

        Returns:
            What the user should know.

        Raises:
            ValueError: it is another one, or has more steps than are asked for.
        """
        run, settings, notes = self._run, self._run.settings.training, []
        samples = settings.batch_size * settings.gradient_accumulation * processes().num_processes
        self._record = RunRecord.of(items, models, run.settings, samples, run.initial)
        if run.anew or not has_checkpoint(run.folder):
            return []
        before = RunRecord.read(run.folder)
        if before is None:
            notes.append(
                f"{run.folder} was begun by version 0.1.0, which did not write down what it trained on; it goes on "
                "unchecked."
            )
        else:
            self._record.check(before, run.folder)
            if before.pack != self._record.pack:
                notes.append(f"Begun with version {before.pack} of this pack, goes on with {self._record.pack}.")
        check_steps(run.folder, steps_done(run.folder), settings.steps)
        return notes

    def begin(self) -> None:
        """Write down what this run is."""
        if self._run.anew:
            forget_checkpoints(self._run.folder)
        self._record.write(self._run.folder)


@contextlib.contextmanager
def _locked(run: Run) -> Iterator[None]:
    """Hold the run's folder and its adapter's file; a process that dies lets go of them.

    Raises:
        ValueError: another process holds them.
    """
    locks = [FileLock(run.folder / "run.lock"), FileLock(run.target.with_name(f".{run.target.stem}.lock"))]

    def acquire() -> None:
        for lock in locks:
            Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise ValueError(
                    f"Another training of the name {run.target.stem} is running ({lock.lock_file} is locked). Wait for "
                    "its end, stop it, or choose another name."
                ) from None

    try:
        in_main(acquire)
        yield
    finally:
        for lock in reversed(locks):
            lock.release()


def _publish(run: Run) -> None:
    """Copy the adapter, if there is one, to where ComfyUI looks for it."""
    if is_main() and (run.folder / RESULT).is_file():
        with written_whole(run.target) as temporary:
            shutil.copyfile(run.folder / RESULT, temporary)
