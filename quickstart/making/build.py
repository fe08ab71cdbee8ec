"""``iqa.py build``: makes the weights of the quickstart from nothing, stage by stage.

Every stage keeps what it has done in the work folder and goes on from there when it is started again.
"""

from __future__ import annotations

from pathlib import Path


def _scenes(work: Path, steps: int) -> None:
    from .scene_cache import make_scene_cache

    make_scene_cache(work / "scenes", steps)


def _base(work: Path, steps: int) -> None:
    from ..captions import prompt
    from ..world import HELD_OUT_SEEDS, HELD_OUT_THINGS, SEEN_THINGS, sample_scene
    from .base_training import train_base
    from .export import sample, write_sheet, write_weights

    first = HELD_OUT_SEEDS.start
    scenes = [sample_scene(first + i, SEEN_THINGS if i < 8 else HELD_OUT_THINGS, two_objects=0.1) for i in range(16)]
    prompts = [prompt(scene) for scene in scenes]

    def checkpoint(training) -> None:
        write_weights(work / "base.safetensors", training.average, training.facts())
        write_sheet(work / f"base_{training.step:06d}.png", sample(work, prompts, seed=1), columns=8)

    train_base(work, steps, checkpoint)


def _iqa(work: Path, epochs: int) -> None:
    from ..iqa import train_iqa

    print(train_iqa(work, epochs))


def _reader(work: Path, epochs: int) -> None:
    from ..reader import train_reader

    print(train_reader(work, epochs))


def _score(work: Path, steps: int) -> None:
    from ..adapters import SCORE, train_adapter

    print(train_adapter(SCORE, work, steps))


def _reference(work: Path, steps: int) -> None:
    from ..adapters import REFERENCE, train_adapter

    print(train_adapter(REFERENCE, work, steps))


def _export(work: Path, _steps: int) -> None:
    """Put the trained weights where the nodes load them."""
    from ..adapters import REFERENCE, SCORE
    from ..model import BASE_WEIGHTS, WEIGHTS
    from ..reader import READER_WEIGHTS
    from .export import ROUNDING, export, export_as_bytes

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
