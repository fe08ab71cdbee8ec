"""Reference pictures -> IQA_FEATURES -> IQA_EMBEDS."""

from __future__ import annotations

import logging

from comfy_api.latest import io
from torch import Tensor

from ..adapter.adapter import Adapter
from ..adapter.tokens import embed_features
from ..iqa_models.features import POOLINGS, Features, extract_features
from ..iqa_models.loading import IQAModel
from ..iqa_models.mixing import add_difference, blend, combine
from ..quality.entries import numbers
from ..quality.resize import RESIZES, differ, in_words
from .schema import (
    IQAAdapterType,
    IQAEmbedsType,
    IQAFeaturesType,
    IQAModelType,
    advanced,
    pictures,
    resize_input,
    schema,
    single,
)

BLEND, ADD_DIFFERENCE = "blend", "add what B has over C"
EACH, MEAN = "one by one", "mean"
AUTO = "auto"
WEIGHTS = "a number per picture, for example 1, 0.5"


class IQAReferenceFeatures(io.ComfyNode):
    """IQA_MODEL + IMAGE -> IQA_FEATURES."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="IQAReferenceFeatures",
            display_name="Reference Activations",
            category="reference",
            search_aliases=["reference quality", "iqa features", "quality transfer", "style of quality"],
            description="Takes what an IQA model sees in reference pictures (their quality rather than their content), "
            "for Reference Quality Conditioning.",
            is_input_list=True,
            inputs=[
                IQAModelType.Input("iqa_model", tooltip="The model that looks, from Load IQA Model."),
                io.Image.Input("images", tooltip="Reference pictures, 0 to 1, a batch or a list."),
                IQAAdapterType.Input(
                    "iqa_adapter",
                    optional=True,
                    tooltip="The reference adapter to be used: layer, pooling and resize are then those it was "
                    "trained on.",
                ),
                advanced(
                    io.String.Input(
                        "layer",
                        default="",
                        optional=True,
                        placeholder="encoder.layer4",
                        tooltip="Without an adapter: module path of the layer; empty for the model's usual one.",
                    )
                ),
                advanced(
                    io.Combo.Input(
                        "pooling",
                        options=[AUTO, *POOLINGS],
                        default=AUTO,
                        tooltip="Without an adapter: how the layer's positions become one vector. auto is none for "
                        "vectors and mean for everything else.",
                    )
                ),
                advanced(
                    resize_input(
                        "Without an adapter: 512 scales to 512x512 pixels first, as for the training of the paper's "
                        "adapters, 64 as for the quickstart's; as is leaves the pictures in their own size; auto is "
                        "what the IQA model is used with: 64 for quickstart_iqa, 512 for all others.",
                        [*RESIZES, AUTO],
                        AUTO,
                    )
                ),
                advanced(
                    io.Combo.Input(
                        "references",
                        options=[EACH, MEAN],
                        default=EACH,
                        tooltip="Several pictures: one by one gives a row each (image i of the batch follows picture "
                        "i), mean makes one of them.",
                    )
                ),
                advanced(
                    io.String.Input(
                        "weights",
                        default="",
                        optional=True,
                        placeholder="1, 0.5",
                        tooltip="For mean: a weight per picture, at least 0, separated by commas; empty for equal.",
                    )
                ),
            ],
            outputs=[IQAFeaturesType.Output(display_name="iqa_features", tooltip="Raw activations, row by row.")],
        )

    @classmethod
    def execute(
        cls,
        iqa_model: list[IQAModel],
        images: list[Tensor],
        iqa_adapter: list[Adapter] = (),
        layer: list[str] = ("",),
        pooling: list[str] = (AUTO,),
        protocol: list[str] = (AUTO,),
        references: list[str] = (EACH,),
        weights: list[str] = ("",),
    ) -> io.NodeOutput:
        model, shares = single(iqa_model, "iqa_model"), numbers(single(weights, "weights"), "weights", WEIGHTS)
        where = (single(layer, "layer").strip(), single(pooling, "pooling"))
        resize = single(protocol, "resize")
        if iqa_adapter:
            where, resize = _as_trained(single(iqa_adapter, "iqa_adapter"), model.entry.name, resize)
        layer, pooling = where
        resize = model.entry.resize if resize == AUTO else resize
        features = extract_features(model, pictures(images), layer, "" if pooling == AUTO else pooling, resize)
        return io.NodeOutput(
            combine([features], shares or None) if single(references, "references") == MEAN else features
        )


class IQAMixFeatures(io.ComfyNode):
    """Two or three IQA_FEATURES -> IQA_FEATURES."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="IQAMixFeatures",
            display_name="Mix Activations",
            category="reference",
            search_aliases=["blend references", "mix quality", "feature arithmetic"],
            description="Mixes the activations of reference pictures: between A and B, or A plus what B has over C.",
            inputs=[
                IQAFeaturesType.Input("features_a", tooltip="From Reference Activations."),
                IQAFeaturesType.Input("features_b", tooltip="Of the same model, layer, pooling and resize."),
                IQAFeaturesType.Input(
                    "features_c", optional=True, tooltip="Only for 'add what B has over C': B without what is wanted."
                ),
                io.Combo.Input(
                    "mode",
                    options=[BLEND, ADD_DIFFERENCE],
                    tooltip="blend: (1 - amount) A + amount B. add what B has over C: A + amount (B - C).",
                ),
                io.Float.Input(
                    "amount",
                    default=0.5,
                    min=-2.0,
                    max=2.0,
                    step=0.05,
                    tooltip="-2 to 2. For blend 0 is A, 1 is B, beyond it goes further in that direction.",
                ),
            ],
            outputs=[IQAFeaturesType.Output(display_name="iqa_features", tooltip="The mixture.")],
        )

    @classmethod
    def execute(
        cls,
        features_a: Features,
        features_b: Features,
        mode: str,
        amount: float,
        features_c: Features | None = None,
    ) -> io.NodeOutput:
        if mode == BLEND:
            return io.NodeOutput(blend(features_a, features_b, amount))
        if features_c is None:
            raise ValueError(f"'{ADD_DIFFERENCE}' needs features_c: connect activations without what B has.")
        return io.NodeOutput(add_difference(features_a, features_b, features_c, amount))


class IQAReferenceEmbed(io.ComfyNode):
    """IQA_ADAPTER + IQA_FEATURES -> IQA_EMBEDS."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="IQAReferenceEmbed",
            display_name="Reference Quality Conditioning",
            category="conditioning",
            search_aliases=["reference quality", "quality transfer", "iqa embed", "image prompt quality"],
            description="Asks for the quality of reference pictures instead of a number.",
            inputs=[
                IQAAdapterType.Input("iqa_adapter", tooltip="A reference adapter."),
                IQAFeaturesType.Input(
                    "iqa_features",
                    tooltip="Activations to follow; several rows are spread over the images of the batch.",
                ),
                IQAFeaturesType.Input(
                    "negative_features",
                    optional=True,
                    tooltip="Activations to move away from (the unconditional side of CFG); without them it gets zero, "
                    "as trained.",
                ),
            ],
            outputs=[IQAEmbedsType.Output(display_name="iqa_embeds", tooltip="For Apply IQA-Adapter.")],
        )

    @classmethod
    def execute(
        cls, iqa_adapter: Adapter, iqa_features: Features, negative_features: Features | None = None
    ) -> io.NodeOutput:
        for features in filter(None, (iqa_features, negative_features)):
            _check(iqa_adapter, features.model, features.layer, features.pooling)
            _check_resize(iqa_adapter, features)
        negative = None if negative_features is None else negative_features.tensor
        return io.NodeOutput(embed_features(iqa_adapter, iqa_features.tensor, negative))


def _as_trained(adapter: Adapter, model: str, resize: str) -> tuple[tuple[str, str], str]:
    """Layer and pooling, and the resize, that a reference adapter was trained on.

    Args:
        model: name of the IQA model that shall look.
        resize: what holds where the adapter's file does not say.
    """
    metadata = adapter.metadata
    if metadata.kind != "reference":
        raise ValueError(
            f"{adapter.name} is conditioned on scores ({', '.join(metadata.metric_names)}), not on activations. "
            "Connect a reference adapter, or none."
        )
    _check(adapter, model)
    if not metadata.protocol:
        logging.warning("%s does not say how its training pictures were resized; %s is used.", adapter.name, resize)
    return (metadata.layer, metadata.pooling), metadata.protocol or resize


def _check_resize(adapter: Adapter, features: Features) -> None:
    """Refuse activations of pictures that were scaled in another way than the adapter's training pictures."""
    trained = adapter.metadata.protocol
    if adapter.metadata.kind == "reference" and differ(trained, features.resize):
        raise ValueError(
            f"{adapter.name} was trained on pictures {in_words(trained)}, but these activations are of pictures "
            f"{in_words(features.resize)}. Connect the adapter to Reference Activations, too, or set its resize to "
            f"{trained}."
        )


def _check(adapter: Adapter, *source: str) -> None:
    """Refuse activations (of model[, layer, pooling]) on which a reference adapter was not trained."""
    metadata = adapter.metadata
    trained = (metadata.iqa_model, metadata.layer, metadata.pooling)
    if metadata.kind == "reference" and source != trained[: len(source)]:
        raise ValueError(
            f"{adapter.name} was trained on activations of {_words(*trained)}, but these are of {_words(*source)}. "
            "Load that IQA model, and connect the adapter to Reference Activations, too."
        )


def _words(model: str, layer: str = "", pooling: str = "") -> str:
    return f"{model} (layer {layer}, pooling {pooling})" if layer else model
