"""Working memory of IQA models, for ``iqa_models/data/models.csv``.

    python -m benchmarks.memory [METRIC ...] [--write]

Every metric judges a picture of two sizes with random weights, on the CPU; from the peaks of resident memory follow
bytes per picture and bytes per pixel. Metrics that differ in their weights only are measured once. ``--write`` puts the
numbers into the table; what was not measured stays as it is there. Linux only (``/proc/self``).
"""

from __future__ import annotations

import argparse
import csv
import ctypes
import shutil
import sys
import tempfile
import time
from pathlib import Path

import folder_paths
import torch

from iqa_adapter.iqa_models import catalogue, loading, scoring

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests"))
import iqa_weights

SIDES = (320, 640)  # pixels
M_MMAP_THRESHOLD = -3  # of mallopt: from this size on, memory goes back to the system when it is freed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("metrics", nargs="*", help="default: all that can be loaded with random weights")
    parser.add_argument("--write", action="store_true", help="put the numbers into iqa_models/data/models.csv")
    options = parser.parse_args()
    own = [[name] for name in catalogue.names() if catalogue.find(name).module]
    found = {}
    print("metric                 seconds  MB per picture  bytes per pixel")
    for family in [*own, *iqa_weights.families()]:
        if options.metrics and not set(family) & set(options.metrics):
            continue
        begin = time.process_time()
        per_picture, per_pixel = measure(family[0])
        found |= dict.fromkeys(family, (per_picture, per_pixel))
        seconds = time.process_time() - begin
        print(f"{family[0]:<22} {seconds:7.1f}  {per_picture / 1e6:14.1f}  {per_pixel:15d}", flush=True)
        if options.write:
            write(found)


def measure(metric: str) -> tuple[int, int]:
    """Bytes per picture and per pixel, rounded up to thousands and to whole bytes."""
    folder = Path(tempfile.mkdtemp())
    folders, suffixes = folder_paths.folder_names_and_paths["iqa"]
    try:
        folder_paths.folder_names_and_paths["iqa"] = ([str(folder), *folders], suffixes)
        if not catalogue.find(metric).module:
            iqa_weights.write_weights(metric, folder)
        model = loading.load_iqa_model(metric)
        pictures = [torch.rand(1, side, side, 3, generator=torch.Generator().manual_seed(side)) for side in SIDES]
        scoring.score_images([model], pictures[0])  # loads the weights, fills caches
        small, large = (peak(model, picture) for picture in pictures)
    finally:
        folder_paths.folder_names_and_paths["iqa"] = (folders, suffixes)
        shutil.rmtree(folder)
    pixels = [side**2 for side in SIDES]
    per_pixel = max(1, -(-(large - small) // (pixels[1] - pixels[0])))
    return max(0, -(-(small - per_pixel * pixels[0]) // 1000) * 1000), per_pixel


def peak(model: loading.IQAModel, picture: torch.Tensor) -> int:
    """Bytes that judging a picture takes beyond what is there before."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the highest resident size counts from here
    before = _resident("VmRSS")
    scoring.score_images([model], picture)
    return _resident("VmHWM") - before


def _resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def write(found: dict[str, tuple[int, int]]) -> None:
    with catalogue.TABLE.open(newline="") as table:
        rows = list(csv.DictReader(table))
    for row in rows:
        if row["name"] in found:
            row["bytes_per_picture"], row["bytes_per_pixel"] = found[row["name"]]
    with catalogue.TABLE.open("w", newline="") as table:
        writer = csv.DictWriter(table, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 2**16)
    main()
