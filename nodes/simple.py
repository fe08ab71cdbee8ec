"""Quality in one node: an adapter file is loaded, asked and applied."""

from __future__ import annotations

from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from torch import Tensor

from ..adapter.apply import apply_adapter
from ..adapter.tokens import embed_features, embed_quality
from ..iqa_models.features import extract_features
from ..iqa_models.loading import load_iqa_model
from ..quality.statistics import MetricStatistics
from ..quality.targets import requested
from . import adapter_files
from .conditioning import adapter_metrics
from .schema import IQAEmbedsType, listed, schema, strength_input

CUSTOM = "custom"
PRESETS = {"best": 99.0, "good": 75.0, "average": 50.0, "poor": 25.0, "worst": 1.0}  # percentiles


class IQAQuality(io.ComfyNode):
    """MODEL + percentiles -> MODEL, IQA_EMBEDS."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        percentile = {"min": 0.0, "max": 100.0, "step": 1.0, "round": 0.01, "display_mode": io.NumberDisplay.slider}
        return schema(
            node_id="IQAQuality",
            display_name="Quality (simple)",
            search_aliases=["quality", "aesthetic", "degrade", "restore", "percentile", "sharp", "low quality"],
            description="Lets a model draw at the quality you ask for: 99 means better than 99 % of the pictures the "
            "adapter was trained on, 1 means realistic degradation. Loads the adapter, asks and applies it.",
            inputs=[
                io.Model.Input("model", tooltip="SD1.5, SD2, SDXL or a relative; of the same family as the adapter."),
                adapter_files.adapter_input(
                    "score", "A score adapter in models/iqa_adapter/, of the family of the checkpoint."
                ),
                io.Combo.Input(
                    "preset",
                    options=[CUSTOM, *PRESETS],
                    tooltip="custom takes the two sliders; best, good, average, poor and worst stand for 99, 75, 50, "
                    "25 and 1 on both.",
                ),
                io.Float.Input(
                    "quality",
                    default=99.0,
                    tooltip="Technical quality (sharpness, noise, compression) as a percentile, 0 to 100; 50 is "
                    "average. Acts where preset is custom.",
                    **percentile,
                ),
                io.Float.Input(
                    "aesthetics",
                    default=99.0,
                    tooltip="Aesthetic appeal as a percentile, 0 to 100; 50 is average. Acts where preset is custom, "
                    "and the adapter has aesthetic metrics.",
                    **percentile,
                ),
                strength_input(),
                adapter_files.metrics_input(),
            ],
            outputs=outputs(),
        )

    @classmethod
    def validate_inputs(cls, adapter_name: str) -> bool | str:
        return listed(adapter_files.FOLDER, adapter_name)

    @classmethod
    def fingerprint_inputs(cls, adapter_name: str = "", metrics: str = "", **_inputs) -> tuple:
        return adapter_files.fingerprint(adapter_name, metrics)

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        adapter_name: str,
        preset: str,
        quality: float,
        aesthetics: float,
        strength: float,
        metrics: str = "",
    ) -> io.NodeOutput:
        adapter = adapter_files.load(adapter_name, metrics)
        known = adapter_metrics(adapter, "Quality from Picture (simple)")
        if preset != CUSTOM:
            quality = aesthetics = PRESETS[preset]
        request = requested(known, quality, aesthetics)
        tokens = embed_quality(adapter, request)
        said = ", ".join(map(MetricStatistics.describe, known, request[0].tolist()))
        return io.NodeOutput(apply_adapter(model, tokens, strength), tokens, ui={"text": [said]})


class IQAQualityFromPicture(io.ComfyNode):
    """MODEL + IMAGE -> MODEL, IQA_EMBEDS."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="IQAQualityFromPicture",
            display_name="Quality from Picture (simple)",
            search_aliases=["reference quality", "quality transfer", "copy quality", "degrade", "restore", "style"],
            description="Lets a model draw with the quality of a picture, not its content: its blur, noise, "
            "compression or clarity. The IQA model that the adapter was trained with is loaded by itself.",
            inputs=[
                io.Model.Input("model", tooltip="SD1.5, SD2, SDXL or a relative; of the same family as the adapter."),
                io.Image.Input(
                    "image", tooltip="Whose quality to follow, 0 to 1; several are spread over the images of the batch."
                ),
                adapter_files.adapter_input(
                    "reference", "A reference adapter in models/iqa_adapter/, of the family of the checkpoint."
                ),
                strength_input(),
                io.Boolean.Input(
                    "download_if_missing",
                    default=False,
                    optional=True,
                    tooltip="Fetch the IQA model's files to models/iqa/ where they are missing; off: the network is "
                    "never touched.",
                ),
            ],
            outputs=outputs(),
        )

    @classmethod
    def validate_inputs(cls, adapter_name: str) -> bool | str:
        return listed(adapter_files.FOLDER, adapter_name)

    @classmethod
    def fingerprint_inputs(cls, adapter_name: str = "", **_inputs) -> tuple:
        return adapter_files.fingerprint(adapter_name, "")

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        image: Tensor,
        adapter_name: str,
        strength: float,
        download_if_missing: bool = False,
    ) -> io.NodeOutput:
        adapter = adapter_files.load(adapter_name)
        trained = adapter.metadata
        if trained.kind != "reference":
            raise ValueError(
                f"{adapter.name} is conditioned on scores ({', '.join(trained.metric_names)}), not on a reference "
                "picture. Use Quality (simple), or choose a reference adapter."
            )
        iqa_model = load_iqa_model(trained.iqa_model, download_if_missing)
        resize = trained.protocol or iqa_model.entry.resize
        features = extract_features(iqa_model, image, trained.layer, trained.pooling, resize)
        tokens = embed_features(adapter, features.tensor)
        said = f"{len(features.tensor)} picture(s), seen by {trained.iqa_model}"
        return io.NodeOutput(apply_adapter(model, tokens, strength), tokens, ui={"text": [said]})


def outputs() -> list[io.Output]:
    return [
        io.Model.Output(tooltip="The patched model; the one that came in stays as it was."),
        IQAEmbedsType.Output(display_name="iqa_embeds", tooltip="What was asked for, for Set Quality of Conditioning."),
    ]
