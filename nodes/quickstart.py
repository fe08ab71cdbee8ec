"""The embedded tiny text-to-image model as a node."""

from __future__ import annotations

import folder_paths
import torch
from comfy_api.latest import io

from ..quickstart.model import LATENT_CHANNELS, load_quickstart
from ..quickstart.rendering import SIZE
from .schema import schema


class IQAQuickstartModel(io.ComfyNode):
    """Nothing -> MODEL, CLIP, VAE and an empty LATENT, without a download."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="IQAQuickstartModel",
            display_name="Quickstart Model",
            search_aliases=["tiny model", "demo model", "iqa quickstart"],
            description="A tiny text-to-image model that comes with the pack, for trying everything without a "
            f"download: {SIZE} x {SIZE} pictures of coloured shapes. Connect it like a checkpoint.",
            inputs=[
                io.Int.Input(
                    "batch_size", default=4, min=1, max=256, tooltip="Pictures in the empty latent, 1 to 256."
                )
            ],
            outputs=[
                io.Model.Output(tooltip="The diffusion model."),
                io.Clip.Output(tooltip='Its text encoder. Try: "a striped red circle on teal leaves".'),
                io.Vae.Output(tooltip="Pixels to latents and back, without loss."),
                io.Latent.Output(tooltip="Empty latent of the model's size."),
            ],
        )

    @classmethod
    def execute(cls, batch_size: int) -> io.NodeOutput:
        model, clip, vae = load_quickstart(embedding_directory=folder_paths.get_folder_paths("embeddings"))
        latent = {"samples": torch.zeros(batch_size, LATENT_CHANNELS, SIZE // 2, SIZE // 2)}
        return io.NodeOutput(model, clip, vae, latent)
