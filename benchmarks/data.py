"""Memory of scoring large photographs, beside a plain loop that reads as many ahead.

    python -m benchmarks.data                # 40 pictures of 12 megapixels; about two minutes on two CPU cores

The plain loop holds 64 pictures that are read ahead and 32 that are scored, in float32, whatever their size; ours holds
as many as fit into the memory that it is given (1 GiB, `iqa.py score --memory`).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.measure import peak_memory, table

SIZE = (4000, 3000)  # width and height
METRIC = "entropy"  # takes next to no memory itself
RESIZES = ("as is", "512")

OURS = """
from comfyui_runtime import load_pack
load_pack()
from iqa_adapter.iqa_models.loading import load_iqa_model
from iqa_adapter.pictures.reading import find_pictures
from iqa_adapter.training.score_set import Scorer, score_dataset
scorer, found = Scorer([load_iqa_model({metric!r})], {resize!r}), find_pictures({folder!r})
mark()
score_dataset(found, scorer, {table!r})
mark()
"""

PLAIN = """
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from comfyui_runtime import load_pack
load_pack()
import torch
from iqa_adapter.iqa_models.batches import model_input
from iqa_adapter.iqa_models.loading import load_iqa_model
from iqa_adapter.iqa_models.scoring import score_images
from iqa_adapter.pictures.reading import find_pictures
model, found, resize = load_iqa_model({metric!r}), find_pictures({folder!r}), {resize!r}
def read(picture):
    return model_input(picture.read()[None], resize, torch.device("cpu"))[0].movedim(0, -1)
mark()
ahead, group = deque(), []
with ThreadPoolExecutor(8) as pool:
    for picture in [*found, *[None] * 64]:
        ahead.append(picture and pool.submit(read, picture))
        if len(ahead) > 64:
            group.append(ahead.popleft().result())
            if len(group) == 32 or not ahead[0]:
                score_images([model], group)
                group = []
mark()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=40)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_photos(Path(folder) / "photos", options.pictures)
        rows = []
        for resize in RESIZES:
            ours, plain = (scoring_memory(code, Path(folder), resize) for code in (OURS, PLAIN))
            rows.append([resize, *(f"{seconds:.0f} s, {peak / 2**20:.0f} MiB" for seconds, peak in (plain, ours)),
                         f"x {ours[1] / plain[1]:.2f}"])  # fmt: skip
    print(f"{options.pictures} pictures of {SIZE[0]}x{SIZE[1]}, {METRIC}: time and memory beyond that of the imports\n")
    print(table(["resize", "plain loop", "ours", "memory, ours / plain"], rows))


def scoring_memory(code: str, folder: Path, resize: str) -> tuple[float, int]:
    """Seconds, and the bytes by which the peak memory of a process rises that scores the photos."""
    places = {"folder": str(folder / "photos"), "table": str(folder / f"table {resize}")}
    return peak_memory(code.format(metric=METRIC, resize=resize, **places))


def write_photos(folder: Path, count: int) -> None:
    """Smooth noise as JPEG; every one is another part of one picture."""
    folder.mkdir()
    random = np.random.default_rng(0)
    small = Image.fromarray(random.integers(0, 256, (120, 160, 3), dtype=np.uint8))
    large = small.resize((SIZE[0] + 8 * count, SIZE[1]), Image.Resampling.BICUBIC)
    for number in range(count):
        part = large.crop((8 * number, 0, 8 * number + SIZE[0], SIZE[1]))
        part.save(folder / f"{number:02d}.jpg", quality=90)


if __name__ == "__main__":
    main()
