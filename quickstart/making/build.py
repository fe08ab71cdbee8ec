"""``iqa.py build``: makes the weights of the quickstart from nothing, stage by stage.

Every stage keeps what it has done in the work folder and goes on from there when it is started again.
"""

from __future__ import annotations

from pathlib import Path

from ...figures.grid import sheet, write_png
from ..adapters import REFERENCE, SCORE
from ..model import BASE_WEIGHTS, WEIGHTS, load_quickstart
from ..reader import READER_WEIGHTS
from ..sampling import BatchSampler
from ..world import HELD_OUT_SEEDS, HELD_OUT_THINGS, SEEN_THINGS, prompt, sample_scene
from .adapters import REFERENCE_TRAINING, SCORE_TRAINING, train_adapter
from .base_training import BaseTraining, train_base
from .export import ROUNDING, export, export_as_bytes, write_weights
from .iqa import train_iqa
from .procedural import make_scene_cache
from .reader import train_reader

SHOWN = 16  # pictures after each checkpoint of the base model, half of them of held-out combinations


def _scenes(work: Path, steps: int) -> None:
    make_scene_cache(work / "scenes", steps)


def _base(work: Path, steps: int) -> None:
    prompts = [
        prompt(sample_scene(HELD_OUT_SEEDS[i], SEEN_THINGS if i < SHOWN // 2 else HELD_OUT_THINGS, two_objects=0.1))
        for i in range(SHOWN)
    ]

    def checkpoint(training: BaseTraining) -> None:
        write_weights(work / BASE_WEIGHTS, training.average, training.facts())
        pictures = BatchSampler(*load_quickstart(work))(prompts, range(1, SHOWN + 1)).movedim(1, -1)
        write_png(work / f"base_{training.step:06d}.png", sheet(pictures, columns=SHOWN // 2, zoom=2))

    train_base(work, steps, checkpoint)


def _iqa(work: Path, epochs: int) -> None:
    print(train_iqa(work, epochs))


def _reader(work: Path, epochs: int) -> None:
    print(train_reader(work, epochs))


def _score(work: Path, steps: int) -> None:
    print(train_adapter(SCORE_TRAINING, work, steps))


def _reference(work: Path, steps: int) -> None:
    print(train_adapter(REFERENCE_TRAINING, work, steps))


def _export(work: Path, _steps: int) -> None:
    """Put the trained weights where the nodes load them."""
    rounding = {Path(BASE_WEIGHTS): ROUNDING, SCORE.file: ROUNDING, REFERENCE.file: ROUNDING}
    for file in sorted([*work.glob("*.safetensors"), *work.glob("adapters/*.safetensors")]):
        name = file.relative_to(work)
        target = WEIGHTS / name
        if name == Path(READER_WEIGHTS):
            export_as_bytes(file, target)
        else:
            export(file, target, rounding.get(name, 0))
        print(f"{target}: {target.stat().st_size / 1e6:.2f} MB")


# Each stage with the default of --steps
STAGES = {
    "scenes": (_scenes, 30000),
    "base": (_base, 22250),
    "iqa": (_iqa, 10),
    "reader": (_reader, 12),
    "score": (_score, 14000),
    "reference": (_reference, 8000),
    "export": (_export, 0),
}


def build(work: Path, stage: str | None = None, steps: int | None = None) -> None:
    """Run one stage, or all of them in order.

    Args:
        work: work folder.
        stage: a key of ``STAGES``.
        steps: training steps (scenes: pictures; iqa, reader: epochs); None for the stage's own number.
    """
    for name in [stage] if stage else STAGES:
        run, usual = STAGES[name]
        run(work, steps or usual)
