"""Test nodes: a narrow UNet of SD1.5's structure with random weights, and random text embeddings."""

import sys
from pathlib import Path

from comfy_api.latest import ComfyExtension, io

TESTS = Path(__file__).resolve().parents[3]


class TinyModel(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="TestTinyModel",
            inputs=[io.Combo.Input("family", options=["SD1.5", "SDXL", "SSD-1B", "DiT"])],
            outputs=[io.Model.Output(), io.Conditioning.Output(), io.Conditioning.Output()],
        )

    @classmethod
    def execute(cls, family):
        sys.path[:0] = [path for path in (str(TESTS), str(TESTS.parent)) if path not in sys.path]
        import comfyui_runtime

        comfyui_runtime.load_pack()  # models.py imports the pack by its fixed name, the server has it under its own
        import models

        model = models.tiny_dit() if family == "DiT" else models.comfy_model(family)
        return io.NodeOutput(model, models.conditioning(1), models.conditioning(2))


class ImageList(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="TestImageList",
            inputs=[io.Image.Input("a"), io.Image.Input("b")],
            outputs=[io.Image.Output(is_output_list=True)],
        )

    @classmethod
    def execute(cls, a, b):
        return io.NodeOutput([a, b])


class TestExtension(ComfyExtension):
    async def get_node_list(self):
        return [TinyModel, ImageList]


async def comfy_entrypoint():
    return TestExtension()
