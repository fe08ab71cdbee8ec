"""Speed and memory of scoring, beside a plain loop over the same pyiqa nets.

    python -m benchmarks.scoring             # 64 images of 512x512, and peak memory up to 256 images
    python -m benchmarks.scoring --images 16 # quicker

The weights are random, which neither time nor memory notice.
"""

from __future__ import annotations

import argparse

import torch

from benchmarks.measure import peak_memory, side_by_side, table
from comfyui_runtime import load_pack
from iqa_adapter.iqa_models import batches, catalogue, construction, loading, scoring

SIDE = 512
METRICS = ("piqe", "entropy", "cnniqa")  # larger ones take their time on a CPU
MEMORY_COUNTS = (16, 64, 256)
SPEED = ["metric", "plain loop, s", "ours, s", "loop / ours", "images at once", "largest difference"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=64, help="images per turn")
    parser.add_argument("--rounds", type=int, default=3, help="turns per candidate")
    parser.add_argument("--metrics", nargs="+", default=METRICS, help="metrics of the catalogue")
    options = parser.parse_args()
    load_pack()
    import comfy.model_management

    device = comfy.model_management.get_torch_device()
    print(f"device {device}, {torch.get_num_threads()} threads; {options.images} images of {SIDE}x{SIDE}; medians\n")
    rows = [speed(name, options.images, options.rounds) for name in options.metrics]
    print(table(SPEED, rows), "\n")
    print(table(["cnniqa", "images themselves", "peak memory on top"], [memory(count) for count in MEMORY_COUNTS]))


def speed(name: str, count: int, rounds: int) -> list[str]:
    """The same net on the same images: picture after picture, and by ``score_images``."""
    from comfy.model_management import get_free_memory

    model = with_random_weights(name)
    images = torch.rand(count, SIDE, SIDE, 3, generator=torch.Generator().manual_seed(0))
    device = model.patcher.load_device
    scores = {}

    def loop():
        with torch.no_grad():
            rows = [model.patcher.model(image.movedim(-1, 0)[None].to(device)) for image in images]
        scores["loop"] = torch.cat(rows).cpu()

    def ours():
        scores["ours"] = scoring.score_images([model], images).values[:, 0]

    ours()  # brings the model to its device
    seconds = side_by_side({"loop": loop, "ours": ours}, rounds)
    difference = (scores["loop"] - scores["ours"]).abs().max().item()
    at_once = batches.automatic_batch_size(model.entry, SIDE * SIDE, device, get_free_memory(device))
    ratio = f"{seconds['loop'] / seconds['ours']:.2f}"
    return [name, f"{seconds['loop']:.2f}", f"{seconds['ours']:.2f}", ratio, str(at_once), f"{difference:.1e}"]


def memory(count: int) -> list[str]:
    """Peak memory of scoring ``count`` images, beyond images and model, in a process of its own."""
    code = (
        "from benchmarks.scoring import SIDE, with_random_weights\n"
        "from iqa_adapter.iqa_models import scoring\nimport torch\n"
        "model = with_random_weights('cnniqa')\n"
        f"images = torch.rand({count}, SIDE, SIDE, 3)\n"
        "mark()\nscoring.score_images([model], images)\nmark()"
    )
    _, peak = peak_memory(code)
    return [f"{count} images", f"{count * SIDE * SIDE * 12 / 2**20:.0f} MiB", f"{peak / 2**20:.0f} MiB"]


def with_random_weights(name: str):
    """An IQA model as the loader makes it, but with the weights as initialised."""
    import comfy.model_management
    from comfy.model_patcher import ModelPatcher

    net = loading.ScoringModel(construction.build(name, {}))
    device = comfy.model_management.get_torch_device()
    return loading.IQAModel(catalogue.find(name), ModelPatcher(net, device, torch.device("cpu")))


if __name__ == "__main__":
    main()
