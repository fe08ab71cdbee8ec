"""Small photos on disk; as a script, one process that scores them.

Usage: ``training_pictures.py PHOTOS TABLE [stopping]``
"""

import sys
import time
from pathlib import Path

if __name__ == "__main__":
    import conftest  # noqa: F401  finds the repository and loads the pack

import iqa_nets
from PIL import Image

from iqa_adapter.iqa_models.loading import load_iqa_model
from iqa_adapter.pictures.reading import find_pictures
from iqa_adapter.training.score_set import Scorer, score_dataset


def write(folder: Path, count: int) -> Path:
    """``00.png`` and so on, 80x64 and 64x80 in turn, with captions."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, pixels in enumerate(iqa_nets.photos(count, 64, 80)):
        pixels = (pixels if number % 2 == 0 else pixels.movedim(0, 1)) * 255
        Image.fromarray(pixels.byte().numpy()).save(folder / f"{number:02d}.png")
        (folder / f"{number:02d}.txt").write_text(f"smooth noise number {number}")
    return folder


class Stopping:
    """Stands still in the middle of a shard, once the table has two, until the process is killed."""

    def __init__(self, table: Path):
        self.table = table

    def update(self, count: int) -> None:
        while len(list(self.table.glob("[0-9]*.parquet"))) >= 2:
            time.sleep(60)


if __name__ == "__main__":
    photos, table, *stopping = sys.argv[1:]
    models = [load_iqa_model(name) for name in ("piqe", "entropy")]
    found = find_pictures(photos)
    options = {"progress": lambda total: Stopping(Path(table))} if stopping else {}
    score_dataset(found, Scorer(models, "as is"), table, shard_size=2, **options)
