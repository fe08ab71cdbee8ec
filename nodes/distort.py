"""IMAGE -> IMAGE that is worse in a chosen way."""

from __future__ import annotations

import comfy.model_management
import comfy.utils
import torch
import torch.nn.functional as F
from comfy_api.latest import io
from torch import Tensor

from ..iqa_models.batches import check_images
from ..pictures.looks import LOOKS, degrade
from ..quality.resize import AS_IS
from .schema import advanced, fixed_seed, schema

LARGEST_SEED = 2**32 - 1


class IQADistortImages(io.ComfyNode):
    """IMAGE -> IMAGE with a distortion, or a known combination of several."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="IQADistortImages",
            display_name="Distort Images",
            category="reference",
            search_aliases=["degrade", "blur", "jpeg", "noise", "pixelate", "low quality", "distortion", "film grain"],
            description="Makes pictures worse in a chosen way: a reference that asks for a degradation, or something "
            "to restore. What it does is relative to the picture's size, so that small and large pictures look alike.",
            inputs=[
                io.Image.Input("images", tooltip="Pictures of any size, 0 to 1; transparency is kept."),
                io.Combo.Input(
                    "kind",
                    options=list(LOOKS),
                    tooltip="One distortion, or several as old JPEGs, phones at night, film, VHS tapes and thumbnails "
                    "have them.",
                ),
                io.Float.Input(
                    "severity",
                    default=0.5,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    round=0.001,
                    display_mode=io.NumberDisplay.slider,
                    tooltip="0 leaves the pictures as they are, 1 is most.",
                ),
                fixed_seed(
                    LARGEST_SEED,
                    "Draws the noise, and the directions of motion and colour shift; picture i takes seed + i.",
                ),
                advanced(
                    io.Mask.Input(
                        "mask", optional=True, tooltip="Where: 1 distorted, 0 as it was. Any size; several in turn."
                    )
                ),
            ],
            outputs=[io.Image.Output(tooltip="The distorted pictures.")],
        )

    @classmethod
    def execute(
        cls, images: Tensor, kind: str, severity: float, seed: int, mask: Tensor | None = None
    ) -> io.NodeOutput:
        check_images(images, (), AS_IS)
        progress, made = comfy.utils.ProgressBar(len(images)), torch.empty_like(images)
        for number, image in enumerate(images):
            comfy.model_management.throw_exception_if_processing_interrupted()
            colours = image[None, ..., :3].movedim(-1, 1).clamp(0, 1)
            grey = colours.shape[1] == 1
            distorted = degrade(colours.expand(-1, 3, -1, -1), kind, severity, [seed + number])
            distorted = (distorted.mean(1, keepdim=True) if grey else distorted).movedim(1, -1)[0]
            made[number] = torch.cat([distorted, image[..., 3:]], -1)
            progress.update(1)
        return io.NodeOutput(made if mask is None else _within(mask, made, images))


def _within(mask: Tensor, inside: Tensor, outside: Tensor) -> Tensor:
    """``inside`` where the mask ``[(masks,) height, width]`` is 1, ``outside`` where it is 0."""
    masks = mask.reshape(-1, 1, *mask.shape[-2:]).float()
    scaled = F.interpolate(masks, inside.shape[1:3], mode="bilinear")[:, 0, ..., None].clamp(0, 1)
    turns = torch.arange(len(inside)) % len(scaled)
    return torch.lerp(outside, inside, scaled[turns].to(inside.dtype))
