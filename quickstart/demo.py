"""``make demo``: both quickstart workflows on the real ComfyUI server, through its HTTP API.

python iqa.py demo --prompt "a dotted blue heart on beige fabric" --reference my.jpg
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch

from ..figures.grid import labelled_grid, stacked, write_png
from ..pictures.picture import UnreadablePicture, read_picture
from ..pictures.pixels import decode
from .rendering import SIZE
from .world import unknown_words

WORKFLOWS = Path(__file__).resolve().parent.parent / "workflows" / "api"
DISTORTIONS = ("motion_blur", "jpeg", "colour_shift", "pixelation", "clean")


class Graph:
    """A workflow in API format, whose nodes are found by their titles."""

    def __init__(self, name: str):
        self.nodes = json.loads((WORKFLOWS / f"{name}.json").read_text(encoding="utf-8"))

    def id_of(self, title: str) -> str:
        return next(number for number, node in self.nodes.items() if node["_meta"]["title"] == title)

    def __getitem__(self, title: str) -> dict:
        return self.nodes[self.id_of(title)]

    def follow(self, upload: str) -> None:
        """Take an uploaded picture, its central square reduced to the model's size, as the reference."""
        self.nodes["upload"] = {"class_type": "LoadImage", "inputs": {"image": upload}, "_meta": {"title": "Upload"}}
        scale = {"image": ["upload", 0], "upscale_method": "area", "width": SIZE, "height": SIZE, "crop": "center"}
        self["Reference"].update(class_type="ImageScale", inputs=scale)


class Demo:
    """Runs graphs and keeps their pictures.

    Args:
        client: of the running server.
        folder: the server's output folder.
    """

    def __init__(self, client, folder: Path):
        self.client, self.folder = client, folder

    def sweep(self, prompt: str) -> Path:
        """The quality sweep; prints its levels."""
        graph = Graph("quickstart_quality_sweep")
        if prompt:
            graph["Prompt"]["inputs"]["text"] = prompt
        outputs = self.client.outputs_of(graph.nodes)
        print(outputs[graph.id_of("Response Curve")]["text"][0], flush=True)
        return self._keep(outputs[graph.id_of("Save the grid")], "quality_sweep.png")

    def transfer(self, prompt: str, reference: Path | None) -> list[Path]:
        """Quality transfer from the distorted photograph, or from the user's own; prints the scores."""
        print(f"\n{'reference':<14}{'its score':>10}{'edited':>9}{'drawn':>8}")
        if reference is not None:
            return [self._transfer(prompt, reference.stem, lambda graph: graph.follow(self.client.upload(reference)))]
        paths = []
        for kind in DISTORTIONS:

            def distort(graph: Graph, kind: str = kind) -> None:
                graph["Reference"]["inputs"]["distortion"] = kind

            paths.append(self._transfer(prompt, kind, distort))
        return paths

    def _transfer(self, prompt: str, name: str, prepare) -> Path:
        graph = Graph("quickstart_reference_transfer")
        prepare(graph)
        if prompt:
            graph["Prompt"]["inputs"]["text"] = prompt
        drawings = graph["Labelled Grid"]["inputs"]["images"]
        for shown, pictures in (("reference", [graph.id_of("Reference"), 0]), ("drawings", drawings)):
            preview = {"class_type": "PreviewImage", "inputs": {"images": pictures}, "_meta": {"title": shown}}
            graph.nodes[shown] = preview
        outputs = self.client.outputs_of(graph.nodes)

        def scores(title: str) -> list[float]:
            (by_metric,) = outputs[graph.id_of(title)]["scores"]
            return by_metric["quickstart_iqa"]

        (reference,), (edited,) = scores("Score of the reference"), scores("Score of the edit")
        drawn = scores("Scores of the drawings")
        print(f"{name:<14}{reference:>10.2f}{edited:>9.2f}{sum(drawn) / len(drawn):>8.2f}", flush=True)
        compared = outputs[graph.id_of("Before and After")]
        shown = outputs["reference"]["images"] + compared["a_images"] + compared["b_images"]
        shown += outputs["drawings"]["images"]
        captions = [f"{name} {reference:.2f}", "picture", f"edited {edited:.2f}"]
        captions += [f"drawn {each:.2f}" for each in drawn]
        pictures = torch.cat([decode(self.client.picture(each))[None] for each in shown])
        path = self._keep(outputs[graph.id_of("Save the grid")], f"reference_{name}.png")
        write_png(path, labelled_grid(pictures, captions, columns=len(captions)))
        return path

    def _keep(self, output: dict, name: str) -> Path:
        (image,) = output["images"]
        return Path(shutil.move(self.folder / image["subfolder"] / image["filename"], self.folder / name))


def run(options: argparse.Namespace, serve: Callable, client: Callable) -> None:
    """Both workflows, one after the other.

    Args:
        options: ``prompt``, ``reference`` and ``output`` of the command line.
        serve, client: of ComfyUI's server, see ``comfyui_runtime`` and ``comfyui_client``.

    Raises:
        ValueError: the reference is no readable picture.
        FileNotFoundError: there is none.
    """
    reference = Path(options.reference) if options.reference else None
    if reference is not None:
        _check(reference)
    if unknown := unknown_words(options.prompt):
        print(
            f"The quickstart model never learnt {', '.join(unknown)}: it draws coloured shapes on textures, such as "
            '"a plain yellow star on navy stripes". What it knows: web/docs/IQAQuickstartModel.md'
        )
    folder = options.output.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "comfyui.log"
    print(f"Starting ComfyUI (log: {log}) ...", flush=True)
    with serve(log, "--output-directory", str(folder)) as address:
        demo = Demo(client(address, log), folder)
        sweep = demo.sweep(options.prompt)
        transfers = demo.transfer(options.prompt, reference)
    together = folder / "reference_transfer.png"
    write_png(together, stacked([read_picture(path)[None] for path in transfers]))
    print(f"\nPictures:\n{sweep}\n{together}")


def _check(reference: Path) -> None:
    """Refuse what is no picture before anything is started."""
    if not reference.is_file():
        raise FileNotFoundError(f"there is no picture {reference}")
    try:
        read_picture(reference)
    except UnreadablePicture as error:
        raise ValueError(f"{reference} cannot be read as a picture; give a PNG, JPEG or WebP") from error
