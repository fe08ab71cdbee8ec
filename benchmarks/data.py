"""Sets of pictures: start-up and memory at the size of CC3M, reading, and memory of scoring large photographs.

    python -m benchmarks.data                       # all of it; about six minutes on two CPU cores, 0.6 GB of disk
    python -m benchmarks.data start-up --count 3300000
    python -m benchmarks.data reading
    python -m benchmarks.data scoring --pictures 40

Start-up: what a training does with a set before its models are loaded: list it, read its table, find the row of each
picture, choose the buckets and the order of the first epoch. Every figure is of a new process that reads from the disk.
The way it was (an object for each picture, read from every shard by every process, and loops) is measured with
50,000 pictures, and so is ours, once without index and once with it; the large set has holes for pixels.

Reading: pictures in random order by one thread, decoded.

Scoring: the plain loop holds 64 pictures that are read ahead and 32 that are scored, in float32, whatever their size;
ours holds as many as fit into the memory that it is given (1 GiB, `iqa.py score --memory`).
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.measure import peak_memory, table
from comfyui_runtime import load_pack

SIZE = (4000, 3000)  # width and height
PARTS = ("start-up", "reading", "scoring")
SMALL = 50_000  # pictures with which the way it was is measured
READ, SIDE = 400, 512  # pictures that are read, and their shorter side
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


START = """
from comfyui_runtime import load_pack
load_pack()
import accelerate, numpy, pyarrow.parquet
from iqa_adapter.pictures.cropping import bucket_sizes, nearest_bucket
from iqa_adapter.training.find_together import find_together
from iqa_adapter.training.matching import match
from iqa_adapter.training.processes import is_main
from iqa_adapter.training.rows import of_rows
from iqa_adapter.training.settings import TrainingSettings
from iqa_adapter.training.stream import ItemStream
from iqa_adapter.training.table import ScoredTable
is_main()
class Items:
    def __init__(self, buckets): self.buckets = buckets
    def __len__(self): return len(self.buckets)
mark()
pictures, table = find_together({folder!r}), ScoredTable.read({table!r})
rows = match(pictures, table, dict).rows if {is_main!r} else numpy.arange(len(pictures), dtype=numpy.int32)
values, (width, height) = of_rows(table.rows.values, rows), of_rows(table.rows.sizes, rows).numpy().T
items = Items(nearest_bucket(height, width, bucket_sizes(1024, 64)))
ItemStream(items, dict(), TrainingSettings(batch_size=8))._index(0)
mark()
"""

AS_IT_WAS = """
from comfyui_runtime import load_pack
load_pack()
import pathlib, numpy, torch, pyarrow.parquet as parquet
from iqa_adapter.pictures import shards
from iqa_adapter.pictures.cropping import bucket_sizes
from iqa_adapter.pictures.picture import Picture
from iqa_adapter.training.pictures_seen import places
def nearest(height, width, sizes):
    ratios = torch.tensor([h / w for h, w in sizes]).log()
    return int((ratios - torch.tensor(height / width).log()).abs().argmin())
mark()
pictures = []
for file in sorted(pathlib.Path({folder!r}).glob("*.tar")):
    pictures += [Picture(f"{{file.name}}/{{key}}", caption, file, *rest)
                 for key, caption, *rest in shards.pictures_in(file)[0]]
pictures.sort(key=lambda picture: picture.key)
table = [parquet.read_table(path) for path in sorted(pathlib.Path({table!r}).glob("[0-9]*.parquet"))]
keys, digests = ([text for part in table for text in part[name].to_pylist()] for name in ("key", "digest"))
seen = numpy.concatenate([numpy.stack([part[name] for name in ("bytes", "offset", "time")], 1) for part in table])
row_of = {{key: row for row, key in enumerate(keys)}}
rows, now = [row_of[picture.key] for picture in pictures], places(pictures)
same = (now == seen[rows]).all(1)
known = {{picture.key: [place, digests[row]] for picture, place, row in zip(pictures, now.tolist(), rows)}}
sizes, chosen = [(w, h) for part in table for w, h in zip(part["width"].to_pylist(), part["height"].to_pylist())], []
buckets = numpy.array([nearest(sizes[row][1], sizes[row][0], bucket_sizes(1024, 64)) for row in rows])
captions = sorted({{picture.caption for picture in pictures}})
numpy.random.default_rng(0).permutation(len(pictures))
mark()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all where none is named")
    parser.add_argument("--count", type=int, default=3_300_000, help="pictures of the large set (default: %(default)s)")
    parser.add_argument("--pictures", type=int, default=40, help="photographs that are scored (default: %(default)s)")
    options = parser.parse_args()
    texts = {
        "start-up": lambda folder: start_up(folder, options.count),
        "reading": reading,
        "scoring": lambda folder: scoring(folder, options.pictures),
    }
    for part in options.parts or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            print(texts[part](Path(folder)), "\n", flush=True)


def start_up(folder: Path, count: int) -> str:
    """Seconds and memory of processes that begin to train."""
    load_pack()
    from benchmarks import large_sets
    from iqa_adapter.pictures.index import NAME
    from iqa_adapter.pictures.reading import find_pictures

    for name, size, write in (("small", SMALL, large_sets.write_shards), ("large", count, large_sets.write_holes)):
        write(folder / name, size)
        large_sets.write_table(find_pictures(folder / name), folder / f"table {name}")
    (folder / "small" / NAME).unlink()

    def measured(name: str, code: str, is_main: bool = True) -> list[str]:
        for place in (folder / name, folder / f"table {name}"):
            large_sets.forget(place)
        places = {"folder": str(folder / name), "table": str(folder / f"table {name}")}
        seconds, peak = peak_memory(code.format(is_main=is_main, **places))
        return [f"{seconds:.1f} s", f"{peak / 2**20:.0f} MiB"]

    rows = [
        [f"{SMALL:,}", "as it was, every process, every time", *measured("small", AS_IT_WAS)],
        [f"{SMALL:,}", "ours, the first time, which writes the index", *measured("small", START)],
        [f"{SMALL:,}", "ours, from then on", *measured("small", START)],
        [f"{count:,}", "ours, main process", *measured("large", START)],
        [f"{count:,}", "ours, each other process", *measured("large", START, is_main=False)],
    ]
    title = "Start-up of a training on shards: time and memory beyond that of the imports"
    return f"{title}\n\n{table(['pictures', 'way', 'time', 'memory'], rows)}"


def reading(folder: Path) -> str:
    """Pictures per second and thread."""
    load_pack()
    from benchmarks import large_sets
    from iqa_adapter.pictures.reading import find_pictures

    places, rows = large_sets.write_pictures(folder, READ, SIDE), []
    order = np.random.default_rng(0).permutation(READ).tolist()
    for name, place in places.items():
        pictures = find_pictures(place)
        large_sets.forget(place)
        took = {}
        for way, read in (("plain", decoded), ("ours", lambda picture: picture.values())):
            begin = time.perf_counter()
            for number in order:
                read(pictures[number])
            took[way] = READ / (time.perf_counter() - begin)
        rows.append([name, f"{took['plain']:.0f}", f"{took['ours']:.0f}", f"x {took['ours'] / took['plain']:.2f}"])
    title = f"{READ} JPEG pictures of {SIDE * 3 // 2}x{SIDE} in random order, per second and thread"
    return f"{title}\n\n{table(['set', 'plain', 'ours', 'ours / plain'], rows)}"


def decoded(picture) -> np.ndarray:
    """A picture read in the plain way: from Parquet by its row group, each time anew."""
    data = content_of_row(picture.file, picture.offset) if picture.file.suffix == ".parquet" else picture.content()
    return np.array(Image.open(io.BytesIO(data)).convert("RGB"))


def content_of_row(file: Path, row: int) -> bytes:
    """Bytes of one picture; the file is opened, and its row group read, for each."""
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(file) as opened:
        for group in range(opened.num_row_groups):
            count = opened.metadata.row_group(group).num_rows
            if row < count:
                return opened.read_row_group(group, columns=["image"])["image"][row].as_py()["bytes"]
            row -= count
    raise IndexError(row)


def scoring(folder: Path, count: int) -> str:
    """Time and memory of scoring photographs."""
    write_photos(folder / "photos", count)
    rows = []
    for resize in RESIZES:
        ours, plain = (scoring_memory(code, folder, resize) for code in (OURS, PLAIN))
        rows.append([resize, *(f"{seconds:.0f} s, {peak / 2**20:.0f} MiB" for seconds, peak in (plain, ours)),
                     f"x {ours[1] / plain[1]:.2f}"])  # fmt: skip
    title = f"{count} pictures of {SIZE[0]}x{SIZE[1]}, {METRIC}: time and memory beyond that of the imports"
    return f"{title}\n\n{table(['resize', 'plain loop', 'ours', 'memory, ours / plain'], rows)}"


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
