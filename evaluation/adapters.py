"""Adapters under evaluation: loaded, asked, and applied under a condition."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import folder_paths
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..adapter.apply import apply_adapter
from ..adapter.checkpoint import load_adapter
from ..adapter.metadata import Metadata
from ..adapter.sites import check_fit, sites
from ..adapter.tokens import QualityTokens, embed_features, embed_negated, embed_quality
from ..files import shown
from ..iqa_models import catalogue
from ..iqa_models.features import extract_features
from ..iqa_models.loading import IQAModel, load_iqa_model
from ..quality.names import unknown_metric
from ..quality.resize import AS_IS
from ..quality.statistics import MetricStatistics, cc3m_statistics
from ..quality.targets import sliders
from .cells import Condition, Levels
from .plan import AdapterChoice

FOLDER = "iqa_adapter"  # key of ComfyUI's folder_paths


class AdapterUnderTest:
    """One of a plan's adapters.

    Args:
        name: in the plan.
        choice: what the plan says of it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no adapter, or does not say its metrics and neither does the plan.
    """

    def __init__(self, name: str, choice: AdapterChoice):
        self.name, self.strength = name, choice.strength
        self.adapter = load_adapter(adapter_file(choice.file), _described(choice.metrics))

    @property
    def metadata(self) -> Metadata:
        return self.adapter.metadata

    @property
    def is_reference(self) -> bool:
        return self.metadata.kind == "reference"

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Metrics whose numbers it has seen in training, so that they say nothing new about it."""
        return (self.metadata.iqa_model,) if self.is_reference else self.metadata.metric_names

    @property
    def has_aesthetics(self) -> bool:
        return not self.is_reference and any(metric.aesthetic for metric in self.metadata.metrics)

    @cached_property
    def iqa_model(self) -> IQAModel:
        """The model of a reference adapter's activations."""
        return load_iqa_model(self.metadata.iqa_model)

    @cached_property
    def digest(self) -> str:
        """Of its weights and, for a reference adapter, of where its activations come from."""
        if not self.is_reference:
            return self.adapter.digest
        source = (self.metadata.iqa_model, self.metadata.layer, self.metadata.pooling, self.metadata.protocol)
        return "-".join([self.adapter.digest, *source, *(file.sha256() for file in self.iqa_model.files)])

    def check_fit(self, model: ModelPatcher) -> None:
        """Refuse a base model of another family.

        Raises:
            ValueError: the adapter's layers are not those of the model.
        """
        check_fit(self.adapter.name, self.adapter.shapes, sites(model.get_model_object("diffusion_model")))

    def z_scores(self, levels: Levels) -> list[float]:
        """Quality input of a score adapter."""
        return sliders(self.metadata.metrics, levels.quality, levels.aesthetics)

    def tokens(self, requests: Sequence[Levels | Tensor], condition: Condition) -> QualityTokens:
        """Quality tokens, a row for each picture.

        Args:
            requests: levels for a score adapter; reference pictures ``[3, H, W]`` in 0…1 for a reference adapter.
            condition: says what the unconditional rows get and how many tokens are used.
        """
        tokens = self._of_pictures(requests) if self.is_reference else self._of_levels(requests, condition)
        count = condition.tokens or self.adapter.tokens
        return QualityTokens(tokens.adapter, tokens.cond[:, :count], tokens.uncond[:, :count])

    def apply(self, model: ModelPatcher, requests: Sequence[Levels | Tensor], condition: Condition) -> ModelPatcher:
        """A clone of the model that follows the requests; picture i of a batch follows request i."""
        tokens = self.tokens(requests, condition)
        return apply_adapter(model, tokens, condition.strength, condition.start, condition.end)

    def _of_levels(self, requests: Sequence[Levels], condition: Condition) -> QualityTokens:
        quality = torch.tensor([self.z_scores(levels) for levels in requests])
        if condition.negative == "negated":
            return embed_negated(self.adapter, quality, condition.negative_strength)
        if condition.negative == "percentile":
            level = condition.negative_strength
            return embed_quality(self.adapter, quality, torch.tensor([self.z_scores(Levels(level, level))]))
        return embed_quality(self.adapter, quality)

    def _of_pictures(self, requests: Sequence[Tensor]) -> QualityTokens:
        images = [picture.movedim(0, -1) for picture in requests]
        metadata = self.metadata
        source = (metadata.layer, metadata.pooling, metadata.protocol or AS_IS)
        return embed_features(self.adapter, extract_features(self.iqa_model, images, *source).tensor)


def adapter_file(name: str) -> Path:
    """An adapter's file by its name in models/iqa_adapter, with or without ending, or by its path.

    Raises:
        FileNotFoundError: there is none.
    """
    for candidate in (name, f"{name}.safetensors"):
        path = Path(folder_paths.get_full_path(FOLDER, candidate) or candidate)
        if path.is_file():
            return path
    raise FileNotFoundError(f"There is no adapter {shown(name)} in models/iqa_adapter/ nor at that path.")


def _described(names: Sequence[str]) -> Metadata | None:
    """What the plan says of a file that says nothing."""
    return Metadata(metrics=tuple(map(_metric, names))) if names else None


def _metric(name: str) -> MetricStatistics:
    known = cc3m_statistics()
    if name not in known:
        raise ValueError(unknown_metric(name, known, catalogue.names()))
    return known[name]
