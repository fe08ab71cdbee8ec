"""The embedded tiny text-to-image model, and pictures to try with it."""

from __future__ import annotations

import folder_paths
import torch
from comfy_api.latest import io, ui

from ..pictures.distortions import KINDS, distort
from ..pictures.photos import SHOWN, photo
from ..quickstart.model import BLOCK, LATENT_CHANNELS, load_quickstart
from ..quickstart.rendering import SIZE, render_pictures
from ..quickstart.world import HELD_OUT_SEEDS, Scene, Thing, prompt
from .prompt_words import KNOWN, PromptWords
from .schema import fixed_seed, schema


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
                io.Int.Input("batch_size", default=4, min=1, max=256, tooltip="Pictures in the empty latent, 1 to 256.")
            ],
            outputs=[
                io.Model.Output(tooltip="The diffusion model."),
                io.Clip.Output(tooltip=f'Its text encoder. Try: "{prompt(example_scene(0))}".'),
                io.Vae.Output(tooltip="Pixels to latents and back, without loss."),
                io.Latent.Output(tooltip="Empty latent of the model's size."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, batch_size: int) -> io.NodeOutput:
        model, clip, vae = load_quickstart(embedding_directory=folder_paths.get_folder_paths("embeddings"))
        clip.tokenizer.listener = PromptWords(cls.hidden.unique_id if cls.hidden else None)
        latent = {"samples": torch.zeros(batch_size, LATENT_CHANNELS, SIZE // BLOCK, SIZE // BLOCK)}
        return io.NodeOutput(model, clip, vae, latent, ui={"text": [KNOWN]})


class IQAQuickstartPicture(io.ComfyNode):
    """Nothing -> IMAGE: a small picture with a chosen distortion."""

    SCENE = "scene"

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="IQAQuickstartPicture",
            display_name="Quickstart Picture",
            search_aliases=["reference photo", "example image", "test picture"],
            description="A picture of the size of the quickstart's own, distorted as you like: a reference to try "
            "quality transfer with, or a scene to edit.",
            inputs=[
                io.Combo.Input(
                    "picture",
                    options=[*SHOWN, cls.SCENE],
                    tooltip="A photograph (they ship with scikit-image), or a scene like those the model draws.",
                ),
                io.Combo.Input(
                    "distortion", options=list(KINDS), default="motion_blur", tooltip="What is done to the picture."
                ),
                io.Float.Input(
                    "severity", default=0.8, min=0.0, max=1.0, step=0.05, tooltip="0 leaves it as it is, 1 is most."
                ),
                fixed_seed(len(HELD_OUT_SEEDS) - 1, "Draws noise, the direction of blur and shift, and the scene."),
            ],
            outputs=[io.Image.Output(tooltip=f"{SIZE} x {SIZE} pixels.")],
        )

    @classmethod
    def execute(cls, picture: str, distortion: str, severity: float, seed: int) -> io.NodeOutput:
        clean = render_pictures([example_scene(seed)]) if picture == cls.SCENE else photo(picture)
        generator = torch.Generator().manual_seed(seed)
        made = distort(clean, distortion, severity, generator).movedim(1, -1)
        return io.NodeOutput(made, ui=ui.PreviewImage(made, cls=cls))


def example_scene(seed: int) -> Scene:
    """The one that the workflows' prompt describes, in as many forms as there are seeds."""
    return Scene((Thing("pink", "ring", "dotted"),), "teal", "stripes", HELD_OUT_SEEDS[seed])
