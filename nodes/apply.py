"""IQA_EMBEDS -> MODEL."""

from __future__ import annotations

from comfy_api.latest import io

from ..adapter.apply import apply_adapter
from ..adapter.layer_strengths import WEIGHTINGS
from .schema import IQAEmbedsType, advanced, schema, strength_input


class IQAAdapterApply(io.ComfyNode):
    """MODEL + IQA_EMBEDS -> a model that obeys the requested quality."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="IQAAdapterApply",
            display_name="Apply IQA-Adapter",
            search_aliases=["apply quality", "iqa adapter", "quality adapter", "image quality"],
            description="Lets the model's cross-attention attend to quality tokens beside the prompt. Works with any "
            "sampler and guider, LoRA, ControlNet, other IQA-Adapters and IP-Adapters.",
            inputs=[
                io.Model.Input("model", tooltip="SD1.5, SD2, SDXL or a relative; of the same family as the adapter."),
                IQAEmbedsType.Input("iqa_embeds", tooltip="From a Quality or Reference Quality Conditioning node."),
                strength_input(),
                advanced(
                    io.Float.Input(
                        "start_percent",
                        default=0.0,
                        min=0.0,
                        max=1.0,
                        step=0.001,
                        tooltip="Part of the sampling at which it begins to act, 0 to 1.",
                    )
                ),
                advanced(
                    io.Float.Input(
                        "end_percent",
                        default=1.0,
                        min=0.0,
                        max=1.0,
                        step=0.001,
                        tooltip="Part of the sampling at which it stops to act, 0 to 1.",
                    )
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Where it acts: 1 fully, 0 not at all. Any size; several masks go to the pictures of the "
                    "batch in turn. Where every tile is sampled as a picture of its own (Ultimate SD Upscale), put "
                    "masks on conditionings instead.",
                ),
                advanced(
                    io.Combo.Input(
                        "layer_weighting",
                        options=list(WEIGHTINGS),
                        default="all",
                        tooltip="Which cross-attention layers take part: all, those of the input, middle or output "
                        "blocks, or custom multipliers.",
                    )
                ),
                advanced(
                    io.String.Input(
                        "layer_multipliers",
                        default="",
                        optional=True,
                        placeholder="input=0.5, middle=1, output.3=1.2",
                        tooltip="For custom weighting: factors of the strength by kind of block (input, middle, "
                        "output) or single block (output.3). Layers that are not named get 0; at least one must be.",
                    )
                ),
            ],
            outputs=[io.Model.Output(tooltip="The patched model; the one that came in stays as it was.")],
        )

    @classmethod
    def execute(
        cls,
        model,
        iqa_embeds,
        strength: float,
        start_percent: float = 0.0,
        end_percent: float = 1.0,
        mask=None,
        layer_weighting: str = "all",
        layer_multipliers: str = "",
    ) -> io.NodeOutput:
        return io.NodeOutput(
            apply_adapter(
                model, iqa_embeds, strength, start_percent, end_percent, mask, layer_weighting, layer_multipliers
            )
        )
