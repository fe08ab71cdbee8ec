"""Speed and memory of training, beside a loop written as the public training script does it.

    python -m benchmarks.training                       # a narrow SD1.5; about two minutes on two CPU cores
    python -m benchmarks.training --width 320 --resolution 512 --batch 8   # SD1.5 itself, for a GPU

Both train on the same UNet, text encoder and VAE (random weights, which neither time nor memory notice) and read the
same pictures from disk. The public way: diffusers' UNet with attention processors, wrapped together with the adapter;
pictures are decoded, and encoded by VAE and text encoder, in every step. Ours: ComfyUI's UNet; pictures and captions
are encoded once, which is timed apart.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks import public_training
from benchmarks.measure import peak_memory, table
from benchmarks.small_sd15 import Size, comfy_models, write_weights
from comfyui_runtime import load_pack
from iqa_adapter.pictures.reading import find_pictures
from iqa_adapter.training import table as rows
from iqa_adapter.training.dataset import TrainingSet
from iqa_adapter.training.encoder import Encoder, Models
from iqa_adapter.training.encoding import Encoding
from iqa_adapter.training.loop import train
from iqa_adapter.training.observer import Observer
from iqa_adapter.training.settings import DataSettings, TrainingSettings
from iqa_adapter.training.table import ScoredTable

PICTURES = 24
METRICS = ("topiq_nr", "laion_aes")
READ = 400  # samples that are read
TURN = 3  # timed steps per turn


@dataclasses.dataclass(frozen=True)
class Task:
    """What both loops do: pictures, captions, scores and weights lie in ``folder``."""

    folder: Path
    size: Size
    resolution: int
    batch: int

    @property
    def pictures(self) -> Path:
        return self.folder / "pictures"

    @property
    def table(self) -> Path:
        return self.folder / "table"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=64, help="channels of the UNet's first level; SD1.5 has 320")
    parser.add_argument("--resolution", type=int, default=128, help="side of the training pictures in pixels")
    parser.add_argument("--batch", type=int, default=4, help="pictures per step")
    parser.add_argument("--rounds", type=int, default=4, help=f"turns of {TURN} timed steps each")
    options = parser.parse_args()
    load()
    with tempfile.TemporaryDirectory() as folder:
        task = Task(Path(folder), Size.of_width(options.width), options.resolution, options.batch)
        write_weights(task.size, task.folder)
        write_set(task)
        print(speed(task, options.rounds), "\n", flush=True)
        print(memory(task), "\n", flush=True)
        print(reading(task))


def load() -> None:
    """Everything that is imported, so that it counts for neither side."""
    load_pack()
    logging.getLogger().setLevel(logging.ERROR)


def write_set(task: Task) -> None:
    """Noisy pictures, a quarter larger than needed, with captions and random scores."""
    task.pictures.mkdir()
    random = np.random.default_rng(0)
    side = task.resolution * 5 // 4
    for number in range(PICTURES):
        pixels = random.integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(task.pictures / f"{number:02d}.jpg", quality=90)
        (task.pictures / f"{number:02d}.txt").write_text(f"a photo of thing number {number}, seen from afar")
    contents = rows.Contents("score", METRICS, "as is")
    contents.write(task.table)
    keys = [path.name for path in sorted(task.pictures.glob("*.jpg"))]
    values = torch.randn(PICTURES, len(METRICS), generator=torch.Generator().manual_seed(0))
    rows.Rows(keys, torch.full((PICTURES, 2), side), values).write(task.table, 0, contents)
    rows.measure(task.table)


def speed(task: Task, rounds: int) -> str:
    """Steps per second; the loops take turns, so that a noisy machine disturbs them alike."""
    loops = {"public": public_training.Loop(task), "ours": Ours(task)}
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for number in range(rounds + 1):
        for name, loop in loops.items():
            timed = loop.turn(TURN)
            if number:
                seconds[name] += timed
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    rows = [[name, f"{1 / value:.3f}", f"x {medians['public'] / value:.2f}"] for name, value in medians.items()]
    device, threads = loops["public"].device, torch.get_num_threads()
    title = f"{device}, {threads} threads; {task.resolution} px, batch {task.batch}, UNet {task.size.width} wide"
    once = f"ours encodes a picture and its caption once, in {loops['ours'].preparation / PICTURES:.3f} s"
    return f"{title}\n{table(['loop', 'steps per second', 'against public'], rows)}\n{once}"


def memory(task: Task) -> str:
    """Peak memory of a process beyond its imports, from loading the weights to the last step."""
    peaks = {name: peak_of(name, task) for name in ("public", "ours")}
    rows = [[name, f"{peak / 2**20:.0f} MiB", f"x {peak / peaks['public']:.2f}"] for name, peak in peaks.items()]
    return table(["loop", "peak memory", "against public"], rows)


def reading(task: Task) -> str:
    """Samples per second that one thread reads, in random order: of the cache, and pictures where nothing is kept. The
    public way decodes and scales a picture, too, and leaves its encoding to the step."""
    public = public_training.Pictures(task.pictures, ScoredTable.read(task.table).rows, task.resolution)
    rows = []
    order = np.random.default_rng(0).integers(PICTURES, size=READ).tolist()
    sets = {"public, pictures": public, "ours, pictures (cache: false)": Ours(task, cache=False).data.items,
            "ours, cache": Ours(task).data.items}  # fmt: skip
    for name, items in sets.items():
        begin = time.perf_counter()
        for index in order:
            items[index]
        rows.append([name, f"{READ / (time.perf_counter() - begin):.0f}"])
    return table(["samples read", "per second and thread"], rows)


def peak_of(name: str, task: Task) -> int:
    """Bytes of main memory."""
    loop = {"public": "public_training.Loop", "ours": "training.Ours"}[name]
    code = (
        "from pathlib import Path\nfrom benchmarks import public_training, training\n"
        "from benchmarks.small_sd15 import Size\n"
        f"task = training.Task(Path({str(task.folder)!r}), {task.size!r}, {task.resolution}, {task.batch})\n"
        f"training.load()\nmark()\n{loop}(task).turn(2)\nmark()\n"
    )
    return peak_memory(code)[1]


class Ours:
    """The loop of ``training/``, as node and command line run it."""

    def __init__(self, task: Task, cache: bool = True):
        self.task, self.steps = task, 0
        self.run = Path(tempfile.mkdtemp(dir=task.folder))
        self.models = comfy_models(task.size, task.folder)
        found = find_pictures(task.pictures)
        scored = ScoredTable.read(task.table)
        settings = DataSettings(resolution=task.resolution, cache=cache)
        begin = time.perf_counter()
        encoder = Encoder(Models(*self.models), scored, settings)
        encoding = Encoding(TrainingSet(found, scored, encoder, settings, self.run / "cache"), encoder)
        encoding.prepare(Observer())
        self.data = encoding.data
        self.preparation = time.perf_counter() - begin

    def turn(self, count: int) -> list[float]:
        """Seconds of ``count`` steps, after one that is not timed."""
        ends: list[float] = []
        self.steps += count + 1
        precision = "bfloat16" if self.models[0].load_device.type == "cuda" else "float32"
        settings = TrainingSettings(steps=self.steps, batch_size=self.task.batch, precision=precision, late_from=1.0)
        train(self.models[0], self.data, settings, self.run, Clock(ends))
        return np.diff(ends).tolist()


class Clock(Observer):
    """Notes when each step ends."""

    def __init__(self, ends: list[float]):
        self.ends = ends

    def step(self, step: int, loss: float) -> None:
        self.ends.append(time.perf_counter())


if __name__ == "__main__":
    main()
