"""A small set of pictures with captions, to try a training with."""

from __future__ import annotations

from pathlib import Path

import folder_paths
import torch
from comfy_api.latest import io, ui

from ..figures.grid import sheet, write_png
from ..files import write_text
from ..pictures.distortions import distort_randomly
from ..quickstart.rendering import SIZE, render_pictures
from ..quickstart.world import prompt, sample_scene
from .schema import schema

PICTURES = "iqa_pictures"  # subfolder of ComfyUI's output folder
MOST = 1000  # pictures, and scenes between two variants
SHOWN, COLUMNS = 32, 8  # pictures at the node


class IQAQuickstartTrainingPictures(io.ComfyNode):
    """Nothing -> path of a folder of pictures with captions."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="IQAQuickstartTrainingPictures",
            display_name="Quickstart Training Pictures",
            category="training",
            search_aliases=["example dataset", "training set", "captioned pictures", "demo data"],
            description=f"Draws a folder of {SIZE} x {SIZE} pictures with captions, most of them distorted, to try a "
            "training on the quickstart with. For a training of your own, choose your folder in Score Dataset instead.",
            inputs=[
                io.Int.Input("count", default=120, min=2, max=MOST, tooltip=f"Pictures in the folder, 2 to {MOST}."),
                io.Float.Input(
                    "clean",
                    default=0.3,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="Share of pictures that stay as they are, 0 to 1. Each of the others gets one distortion "
                    "(blur, noise, JPEG and so on) of any severity, so that there is bad quality to learn from.",
                ),
                io.Int.Input(
                    "variant", default=0, min=0, max=10**6, tooltip="Another number draws other scenes and distortions."
                ),
            ],
            outputs=[io.String.Output(display_name="pictures", tooltip="The folder, for Score Dataset.")],
        )

    @classmethod
    def execute(cls, count: int, clean: float, variant: int) -> io.NodeOutput:
        folder = Path(folder_paths.get_output_directory()) / PICTURES / f"quickstart_{count}_{clean:g}_{variant}"
        scenes = [sample_scene(variant * MOST + number) for number in range(count)]
        images, *_ = distort_randomly(render_pictures(scenes), clean, torch.Generator().manual_seed(variant))
        images = images.clamp(0, 1).movedim(1, -1)
        for number, (scene, image) in enumerate(zip(scenes, images, strict=True)):
            file = folder / f"{number:03d}.png"
            if not file.is_file():  # the time of change is part of what a training knows a picture by
                write_text(file.with_suffix(".txt"), prompt(scene))
                write_png(file, image[None])
        some = images[: min(SHOWN, count) // COLUMNS * COLUMNS or 1]
        return io.NodeOutput(str(folder), ui=ui.PreviewImage(sheet(some, min(COLUMNS, len(some)), zoom=2), cls=cls))
