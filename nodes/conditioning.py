"""Requested quality -> IQA_EMBEDS, for the whole model or for single conditionings."""

from __future__ import annotations

from comfy_api.latest import io

from ..adapter.adapter import Adapter
from ..adapter.guider import with_quality
from ..adapter.tokens import QualityTokens, embed_negated, embed_quality
from ..iqa_models import catalogue
from ..iqa_models.scoring import Scores
from ..quality.calibration import Calibration
from ..quality.statistics import MetricStatistics
from ..quality.targets import measured_targets, requested, sliders
from .schema import IQAAdapterType, IQACalibrationType, IQAEmbedsType, IQAScoresType, advanced, schema

NEGATIVES = ["zero", "negated", "percentile"]


class IQAQualityEmbed(io.ComfyNode):
    """Percentiles, targets or scores to match -> IQA_EMBEDS."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        percentile = {"min": 0.0, "max": 100.0, "step": 1.0, "round": 0.01, "display_mode": io.NumberDisplay.slider}
        return schema(
            node_id="IQAQualityEmbed",
            display_name="Quality Score Conditioning",
            category="conditioning",
            search_aliases=["percentile", "target quality", "aesthetic", "sharpness", "restore", "iqa embed"],
            description="Asks for a quality: 99 means better than 99 % of the pictures the adapter was trained on, 1 "
            "means realistic degradation.",
            inputs=[
                IQAAdapterType.Input("iqa_adapter", tooltip="A score-based IQA-Adapter."),
                io.Float.Input(
                    "quality",
                    default=99.0,
                    tooltip="Technical quality (sharpness, noise, compression) as a percentile, 0 to 100; 50 is "
                    "average. Sets every metric of the adapter that is not about aesthetics.",
                    **percentile,
                ),
                io.Float.Input(
                    "aesthetics",
                    default=99.0,
                    tooltip="Aesthetic appeal as a percentile, 0 to 100; 50 is average. Sets the adapter's aesthetic "
                    "metrics and does nothing where it has none.",
                    **percentile,
                ),
                advanced(
                    io.String.Input(
                        "targets",
                        default="",
                        optional=True,
                        multiline=True,
                        placeholder="topiq_nr=0.78, laion_aes=p95, hyperiqa=+1.5z",
                        tooltip="Single metrics, over the sliders: metric=0.78 is a raw value, metric=p95 a "
                        "percentile (0 to 100, higher is better), metric=+1.5z standard deviations from the mean. With "
                        "a calibration, metric=measured 0.7 is what the pictures shall have in the mean.",
                    )
                ),
                IQAScoresType.Input(
                    "match_scores",
                    optional=True,
                    tooltip="Scores of pictures to match, from Score Images; one row of embeds per picture. They "
                    "override the sliders for the metrics they contain, and must be of pictures resized as the "
                    "adapter's training pictures were.",
                ),
                advanced(
                    io.Combo.Input(
                        "negative",
                        options=NEGATIVES,
                        default="zero",
                        tooltip="What the unconditional side of CFG gets: zero (as trained), negated (the request "
                        "times minus negative_strength, a stronger effect), or percentile (a quality of its own).",
                    )
                ),
                advanced(
                    io.Float.Input(
                        "negative_strength",
                        default=0.5,
                        min=0.0,
                        max=100.0,
                        step=0.05,
                        tooltip="For negated: the factor, 0 to 2, 0.5 in the paper. For percentile: the percentile, "
                        "0 to 100, for example 1.",
                    )
                ),
                IQACalibrationType.Input(
                    "calibration",
                    optional=True,
                    tooltip="From Calibrate Adapter, for targets such as topiq_nr=measured 0.7. It holds for its base "
                    "model and strength.",
                ),
            ],
            outputs=[
                IQAEmbedsType.Output(display_name="iqa_embeds", tooltip="For Apply IQA-Adapter."),
                io.String.Output(display_name="request", tooltip="What was asked for, metric by metric."),
            ],
        )

    @classmethod
    def execute(
        cls,
        iqa_adapter: Adapter,
        quality: float,
        aesthetics: float,
        targets: str = "",
        match_scores: Scores | None = None,
        negative: str = "zero",
        negative_strength: float = 0.5,
        calibration: Calibration | None = None,
    ) -> io.NodeOutput:
        metrics = adapter_metrics(iqa_adapter)
        if calibration is not None:
            _check_calibration(calibration, iqa_adapter, targets)
        match, resize = (None, "") if match_scores is None else (match_scores.by_metric(), match_scores.resize)
        request = requested(metrics, quality, aesthetics, targets, match, resize, catalogue.names(), calibration)
        tokens, versus = _embed(iqa_adapter, metrics, request, negative, negative_strength)
        rows = [", ".join(map(MetricStatistics.describe, metrics, row)) for row in request.tolist()]
        said = [calibration.in_words(value, name) for name, value in measured_targets(targets)] if calibration else []
        return io.NodeOutput(tokens, "\n".join([*rows, f"negative: {versus}", *said]))


class IQAConditioningQuality(io.ComfyNode):
    """CONDITIONING + IQA_EMBEDS -> CONDITIONING with a quality of its own."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="IQAConditioningQuality",
            display_name="Set Quality of Conditioning",
            category="conditioning",
            search_aliases=["regional quality", "quality area", "quality mask", "quality per prompt"],
            description="Gives a conditioning a quality of its own, which overrides the one of Apply IQA-Adapter. With "
            "areas, masks or time ranges, parts of the picture or of the sampling get different qualities.",
            inputs=[
                io.Conditioning.Input("conditioning", tooltip="Prompt, with or without area, mask or time range."),
                IQAEmbedsType.Input(
                    "iqa_embeds",
                    tooltip="Quality for this conditioning. The model needs an Apply IQA-Adapter with the same "
                    "adapter file; its strength, range and mask hold here, too.",
                ),
            ],
            outputs=[io.Conditioning.Output(tooltip="The prompt with its quality.")],
        )

    @classmethod
    def execute(cls, conditioning: list, iqa_embeds: QualityTokens) -> io.NodeOutput:
        return io.NodeOutput(with_quality(conditioning, iqa_embeds))


def adapter_metrics(adapter: Adapter, instead: str = "Reference Quality Conditioning") -> list[MetricStatistics]:
    """The metrics of a score adapter.

    Args:
        instead: display name of the node for reference adapters.

    Raises:
        ValueError: it is a reference adapter.
    """
    if adapter.metadata.kind != "score":
        raise ValueError(
            f"{adapter.name} is conditioned on a reference picture (activations of {adapter.metadata.iqa_model}), not "
            f"on scores. Use {instead}, or load a score adapter."
        )
    return list(adapter.metadata.metrics)


def _embed(
    adapter: Adapter, metrics: list[MetricStatistics], request, negative: str, strength: float
) -> tuple[QualityTokens, str]:
    if negative == "negated":
        return embed_negated(adapter, request, strength), f"the request times {-strength:g}"
    if negative == "percentile":
        versus = request.new_tensor([sliders(metrics, strength, strength)])
        return embed_quality(adapter, request, versus), f"percentile {strength:g}"
    return embed_quality(adapter, request), "zero"


def _check_calibration(calibration: Calibration, adapter: Adapter, targets: str) -> None:
    """
    Raises:
        ValueError: it is of another adapter, or nothing asks for it.
    """
    if calibration.adapter != adapter.digest:
        raise ValueError(f"The calibration is of another adapter than {adapter.name}; calibrate this one.")
    if not measured_targets(targets):
        moved = calibration.responses[0].metric
        raise ValueError(
            f"The calibration does nothing: no target is measured. Write one, for example `{moved}=measured 0.7`, or "
            "disconnect it."
        )
