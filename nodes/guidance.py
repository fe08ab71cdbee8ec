"""MODEL + IQA_MODELs -> a model that climbs the scores while it samples, and what it did."""

from __future__ import annotations

from comfy_api.latest import io, ui

from ..guidance.aims import Aim
from ..guidance.decoding import MODES, WHOLE, Decoding
from ..guidance.gradient import Guidance, apply_guidance
from ..guidance.record import Record
from ..iqa_models import catalogue
from ..iqa_models.loading import IQAModel
from ..quality.resize import AS_IS
from ..quality.thresholds import parse_thresholds
from .schema import IQAModelType, IQARecordType, advanced, further_metrics, metric_weights, schema

MAXIMISE, MINIMISE = "better", "worse"
PREDICTION, MODEL, CHECKPOINTED = "prediction", "through the model", "through the model, checkpointed"
ROUTES = (PREDICTION, MODEL, CHECKPOINTED)


class IQAGradientGuidance(io.ComfyNode):
    """MODEL, VAE, IQA_MODELs -> MODEL."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="IQAGradientGuidance",
            display_name="IQA Gradient Guidance",
            search_aliases=["quality guidance", "gradient guidance", "classifier guidance", "reward guidance"],
            description="Moves every step of the sampling up the gradient of IQA models. Needs no adapter, but two "
            "decodings and a backward pass per step, and it can produce patterns that please only the metric: the "
            "baseline that IQA-Adapters are compared with. Several of these nodes in a row add up.",
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
                    tooltip="Towards better or worse quality; metrics for which lower is better are turned around. "
                    "Metrics with a target do not look at it.",
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
                *further_metrics("iqa_model", "A further learned metric."),
                IQAModelType.Input(
                    "check_with",
                    optional=True,
                    tooltip="A metric that is measured in every guided step, but does not guide. Where the moves lower "
                    "it, Guidance Record says so.",
                ),
                io.Mask.Input(
                    "mask", optional=True, tooltip="Where it acts, such as the face; everywhere without a mask."
                ),
                io.String.Input(
                    "targets",
                    default="",
                    optional=True,
                    placeholder="quickstart_iqa=0.7",
                    tooltip="Raw scores to reach, from whichever side, in place of better or worse. Metrics that are "
                    "not named follow the direction. Empty for none.",
                ),
                advanced(
                    io.Combo.Input(
                        "route",
                        options=list(ROUTES),
                        default=PREDICTION,
                        optional=True,
                        tooltip="prediction: the gradient by the predicted picture, cheap. through the model: by the "
                        "noisy picture, as in the paper; one backward pass through the diffusion model per step. "
                        "checkpointed: the same in less memory, slower by another forward.",
                    )
                ),
                advanced(
                    io.Combo.Input(
                        "decode",
                        options=list(MODES),
                        default=WHOLE,
                        optional=True,
                        tooltip="How the metric sees the predicted picture. half or quarter size: a fraction of the "
                        "memory, blind to fine detail. tiles: whole, but one part of 512 pixels after the other.",
                    )
                ),
                *metric_weights(0.0, "Weight of {metric} among the metrics, 0 to 10."),
            ],
            outputs=[
                io.Model.Output(tooltip="The guided model; the one that came in stays as it was."),
                IQARecordType.Output(display_name="record", tooltip="Scores step by step, for Guidance Record."),
            ],
        )

    @classmethod
    def execute(
        cls, model, vae, iqa_model: IQAModel, scale: float, direction: str, start_percent: float, end_percent: float,
        every: int = 1, iqa_model_2=None, iqa_model_3=None, iqa_model_4=None, check_with=None, mask=None,
        targets: str = "", route: str = PREDICTION, decode: str = WHOLE, weight: float = 1.0, weight_2: float = 1.0,
        weight_3: float = 1.0, weight_4: float = 1.0,
    ) -> io.NodeOutput:  # fmt: skip
        connected = (iqa_model, weight), (iqa_model_2, weight_2), (iqa_model_3, weight_3), (iqa_model_4, weight_4)
        used = [(metric, pull) for metric, pull in connected if metric is not None and pull > 0]
        names = [metric.entry.name for metric, _ in used]
        wanted = parse_thresholds(targets, names, {}, AS_IS, catalogue.names()) if names else {}
        aims = tuple(
            Aim(metric, pull, (direction == MAXIMISE) == metric.entry.higher_is_better, wanted.get(metric.entry.name))
            for metric, pull in used
        )
        record = Record.of(aims, check_with, direction == MAXIMISE)
        guidance = Guidance(
            aims, Decoding(vae, decode), scale, record, start_percent, end_percent, every, mask, route != PREDICTION,
            route == CHECKPOINTED, check_with,
        )  # fmt: skip
        return io.NodeOutput(apply_guidance(model, guidance), record)


class IQAGuidanceRecord(io.ComfyNode):
    """What a guided sampling did -> plot and text."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="IQAGuidanceRecord",
            display_name="Guidance Record",
            category="results",
            search_aliases=["guidance plot", "score per step"],
            description="Shows how the scores of the predicted picture went, step by step, in a sampling with IQA "
            "Gradient Guidance, and warns where only the guiding metric rises.",
            inputs=[
                IQARecordType.Input("record", tooltip="From IQA Gradient Guidance."),
                io.Latent.Input("latent", tooltip="Of the sampler with the guided model, so that this comes after it."),
            ],
            outputs=[
                io.Image.Output(display_name="plot", tooltip="Score by guided step."),
                io.String.Output(display_name="summary", tooltip="The numbers, and a warning if any."),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, record: Record, latent: dict) -> io.NodeOutput:
        plot, summary = record.plot(), record.table()
        return io.NodeOutput(plot, summary, ui={**ui.PreviewImage(plot, cls=cls).as_dict(), "text": [summary]})
