"""Makes icon.png and banner.png beside this file with the quickstart's models: ``python docs/registry/pictures.py``."""

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parents[1]))
import comfyui_runtime

comfyui_runtime.load_pack()

import torch

from iqa_adapter.adapter.checkpoint import load_adapter
from iqa_adapter.adapter.tokens import embed_quality
from iqa_adapter.figures.grid import sheet, write_png
from iqa_adapter.quality.targets import sliders
from iqa_adapter.quickstart.adapters import SCORE
from iqa_adapter.quickstart.model import WEIGHTS, load_quickstart
from iqa_adapter.quickstart.sampling import BatchSampler

PROMPTS = (  # with the seed of each
    ("a striped red heart on teal fabric", 5),
    ("a plain yellow star on navy stripes", 3),
    ("a dotted pink ring on teal stripes", 1),
)
LEVELS = (1, 20, 40, 60, 80, 99)  # of quality, in percent; columns of the banner


def main() -> None:
    adapter = load_adapter(WEIGHTS / SCORE.file)
    tokens = embed_quality(adapter, torch.tensor([sliders(adapter.metadata.metrics, level, 50) for level in LEVELS]))
    sample, count = BatchSampler(*load_quickstart()), len(LEVELS)
    rows = [sample([prompt] * count, [seed] * count, tokens, SCORE.strength) for prompt, seed in PROMPTS]
    pictures = torch.cat(rows).movedim(1, -1)  # [rows * levels, 64, 64, 3]
    write_png(FOLDER / "banner.png", sheet(pictures, count, zoom=2))
    worst, best = pictures[0], pictures[count - 1]
    half = worst.shape[1] // 2
    write_png(FOLDER / "icon.png", sheet(torch.cat([worst[:, :half], best[:, half:]], 1)[None], 1, zoom=4))


if __name__ == "__main__":
    main()
