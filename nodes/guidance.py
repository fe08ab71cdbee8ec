"""MODEL + IQA_MODEL -> a model that climbs the score while it samples."""

from __future__ import annotations

from comfy_api.latest import io

from ..guidance.gradient import apply_gradient_guidance
from ..iqa_models.loading import IQAModel
from .schema import IQAModelType, advanced, schema

MAXIMISE, MINIMISE = "better", "worse"


class IQAGradientGuidance(io.ComfyNode):
    """MODEL, VAE, IQA_MODEL -> MODEL."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="IQAGradientGuidance",
            display_name="IQA Gradient Guidance",
            search_aliases=["quality guidance", "gradient guidance", "classifier guidance", "reward guidance"],
            description="Moves every step of the sampling up the gradient of an IQA model. Needs no adapter, but a "
            "decoding and a backward pass per step, and it can produce patterns that please only the metric: the "
            "baseline that IQA-Adapters are compared with.",
            inputs=[
                io.Model.Input("model", tooltip="Any diffusion model of single pictures."),
                io.Vae.Input("vae", tooltip="Its VAE."),
                IQAModelType.Input("iqa_model", tooltip="A learned metric, from Load IQA Model."),
                io.Float.Input(
                    "scale",
                    default=0.5,
                    min=0.0,
                    max=50.0,
                    step=0.05,
                    tooltip="Size of the steps, 0 to 50. 1 moves the prediction by a tenth of its usual spread while "
                    "there is much noise, and less and less towards the end; 0 switches it off.",
                ),
                io.Combo.Input(
                    "direction",
                    options=[MAXIMISE, MINIMISE],
                    tooltip="Towards better or worse quality; metrics for which lower is better are turned around.",
                ),
                io.Float.Input(
                    "start_percent",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Part of the sampling at which it begins to act, 0 to 1.",
                ),
                io.Float.Input(
                    "end_percent",
                    default=0.8,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Part of the sampling at which it stops to act, 0 to 1; the last steps clean up after it.",
                ),
                advanced(
                    io.Int.Input(
                        "every",
                        default=1,
                        min=1,
                        max=100,
                        tooltip="Guides every n-th step only, 1 to 100: n times faster.",
                    )
                ),
            ],
            outputs=[io.Model.Output(tooltip="The guided model; the one that came in stays as it was.")],
        )

    @classmethod
    def execute(
        cls,
        model,
        vae,
        iqa_model: IQAModel,
        scale: float,
        direction: str,
        start_percent: float,
        end_percent: float,
        every: int = 1,
    ) -> io.NodeOutput:
        maximise = direction == MAXIMISE
        return io.NodeOutput(
            apply_gradient_guidance(model, vae, iqa_model, scale, start_percent, end_percent, every, maximise)
        )
