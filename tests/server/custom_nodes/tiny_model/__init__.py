"""Test nodes: narrow models of several families with random weights, and random text embeddings."""

import importlib
import sys
from pathlib import Path

from comfy_api.latest import ComfyExtension, io

TESTS = Path(__file__).resolve().parents[3]


def of_the_tests(module):
    """A module of tests/, which imports the pack by its fixed name; the server has it under its own."""
    sys.path[:0] = [path for path in (str(TESTS), str(TESTS.parent)) if path not in sys.path]
    importlib.import_module("comfyui_runtime").load_pack()
    return importlib.import_module(module)


class TinyModel(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="TestTinyModel",
            inputs=[
                io.Combo.Input("family", options=["SD1.5", "SDXL", "SSD-1B", "DiT"]),
                io.Boolean.Input("as_loaded", default=False, optional=True, tooltip="in the precision of a loaded one"),
                io.Int.Input("text_width", default=32, optional=True, tooltip="of the embeddings"),
            ],
            outputs=[io.Model.Output(), io.Conditioning.Output(), io.Conditioning.Output()],
        )

    @classmethod
    def execute(cls, family, as_loaded=False, text_width=32):
        models = of_the_tests("models")
        precision = models.loaded_precision(family) if as_loaded else {}
        model = models.tiny_dit() if family == "DiT" else models.comfy_model(family, **precision)
        return io.NodeOutput(model, *(models.conditioning(seed, width=text_width) for seed in (1, 2)))


class TinyTransformer(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="TestTinyTransformer",
            inputs=[io.Combo.Input("family", options=["Flux", "Z-Image"])],
            outputs=[io.Model.Output(), io.Conditioning.Output(), io.Conditioning.Output()],
        )

    @classmethod
    def execute(cls, family):
        transformers = of_the_tests("transformer_models")
        texts = [transformers.conditioning(family, seed) for seed in (1, 2)]
        return io.NodeOutput(transformers.transformer(family), *texts)


class LatentPicture(io.ComfyNode):
    """Three channels of a latent as a picture: a model with random weights has no VAE."""

    @classmethod
    def define_schema(cls):
        return io.Schema(node_id="TestLatentPicture", inputs=[io.Latent.Input("samples")], outputs=[io.Image.Output()])

    @classmethod
    def execute(cls, samples):
        return io.NodeOutput(samples["samples"][:, :3].sigmoid().movedim(1, -1))


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
        return [TinyModel, TinyTransformer, LatentPicture, ImageList]


async def comfy_entrypoint():
    return TestExtension()
