"""``make demo``: the quality sweep on the embedded model, through the real ComfyUI server.

    python -m quickstart.demo --prompt "a dotted blue heart on beige fabric"
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

LEVELS = (1, 25, 50, 75, 99)  # per cent
PREVIEW = (
    "The embedded model is an early checkpoint: the graph runs from end to end, but the pictures are rough and hardly "
    "follow the requested quality yet (see quickstart/MODEL_CARD.md)."
)
WORKFLOW = Path("workflows/api/quickstart_quality_sweep.json")


def main() -> None:
    import comfyui_runtime
    from comfyui_client import Client

    parser = argparse.ArgumentParser(prog="python -m quickstart.demo", description=__doc__)
    parser.add_argument("--prompt", default="", help="what to draw instead of the workflow's own prompt")
    parser.add_argument("--output", type=Path, default=Path("output"), help="folder of the pictures")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    graph = json.loads((comfyui_runtime.ROOT / WORKFLOW).read_text())
    if options.prompt:
        graph["positive"]["inputs"]["text"] = options.prompt

    log = options.output / "comfyui.log"
    print(f"Starting ComfyUI (log: {log}) and sampling {len(LEVELS)} levels of quality ...", flush=True)
    with comfyui_runtime.serve(log, "--output-directory", str(options.output.resolve())) as address:
        outputs = Client(address, log).outputs_of(graph)
    pictures = {level: files(outputs[f"save_{level}"]["images"], options.output) for level in LEVELS}
    print(report(pictures, options.output / "quality_sweep.png"))


def files(images: list[dict], folder: Path) -> list[Path]:
    """Paths of the pictures that a SaveImage node wrote."""
    return [folder / image["subfolder"] / image["filename"] for image in images]


def report(pictures: dict[int, list[Path]], sheet: Path) -> str:
    """Measure the pictures, write the labelled contact sheet; the table of scores as text."""
    from .colourfulness import colourfulness
    from .contact_sheet import contact_sheet, read_pictures
    from .iqa import load_iqa
    from .model import WEIGHTS

    model, _ = load_iqa(WEIGHTS)
    lines, rows = ["requested  measured quality  colourfulness"], []
    for level, paths in pictures.items():
        images = read_pictures(paths)
        quality = model(images).mean().item()
        lines.append(f"{level:>7} %  {quality:>16.3f}  {colourfulness(images).mean().item():>13.1f}")
        rows.append((f"quality {level} %\nmeasured {quality:.2f}", images))
    contact_sheet(rows, sheet)
    return "\n".join([*lines, PREVIEW, f"Pictures: {sheet.resolve()}"])


if __name__ == "__main__":
    from comfyui_runtime import room

    room("quickstart.demo").main()
