"""What an adapter file says about itself: the data by which adapters and IQA models meet."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import ConfigDict, Field
from typing_extensions import Required, TypedDict

from ..files import Finite, Positive, Text, parse_json, shown
from ..quality.statistics import MetricStatistics

FORMAT_VERSION = 1
HEADER_KEY = "iqa_adapter"  # entry of the safetensors header that holds the JSON
KINDS = ("score", "reference")

Flag = Annotated[bool, Field(strict=True)]
Whole = Annotated[int, Field(strict=True, ge=0)]
Rank = Annotated[str, Field(strict=True, pattern=r"^\d{1,3}(\.\d+)?$")]
Resize = Annotated[str, Field(strict=True, pattern=r"^(as is|[1-9]\d{0,4})?$")]


class MetricEntry(TypedDict, total=False):
    """A metric as files have it, see :class:`quality.statistics.MetricStatistics`."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]  # later versions may add some

    name: Required[Annotated[Text, Field(min_length=1, max_length=200)]]
    mean: Finite
    std: Positive
    percentiles: Annotated[dict[Rank, Finite], Field(max_length=1001)]
    min: Finite
    max: Finite
    higher_is_better: Flag
    aesthetic: Flag
    protocol: Resize
    missing: Whole


class _Stored(TypedDict, total=False):
    """Types and ranges of :class:`Metadata` in a file; what it lacks has its default."""

    kind: Text
    base_model: Text
    use_flag: Flag
    positional_octaves: Annotated[int, Field(strict=True, ge=0, le=32)]
    metrics: Annotated[tuple[MetricEntry, ...], Field(max_length=1000)]
    iqa_model: Text
    layer: Text
    pooling: Text
    protocol: Resize
    feature_mean: tuple[Finite, ...]
    feature_std: tuple[Positive, ...]
    origin: Annotated[str, Field(strict=True, max_length=100_000)]
    version: Annotated[int, Field(strict=True, ge=1)]
    sites: Annotated[tuple[Text, ...], Field(max_length=10_000)]


class _Version(TypedDict, total=False):
    version: Annotated[int, Field(strict=True, ge=1)]


@dataclass(frozen=True)
class Metadata:
    """Description of an adapter, stored as JSON in the header of our ``.safetensors`` layout.

    Attributes:
        kind: ``"score"`` (conditioned on metric values) or ``"reference"`` (on activations of an IQA model).
        base_model: family of the UNet it was trained on, as :func:`.sites.family_name` names it; "" if unknown.
        use_flag: a constant 1.0 is appended to the quality input.
        positional_octaves: L of the positional encoding, 0...32; 0 for none.
        metrics: for score adapters, one per input in order; each may be given as a mapping, see
            :meth:`MetricStatistics.from_json`. One with only a ``name`` has unknown statistics.
        iqa_model, layer, pooling: for reference adapters, where the activations were taken.
        protocol: resize, how the training pictures were scaled before an IQA model saw them (:mod:`..quality.resize`);
            empty where it is unknown. Metrics that do not say it themselves were measured so, too.
        feature_mean, feature_std: for reference adapters, per activation; empty means raw activations.
        origin: free text about how the adapter was made.
        version: of this format.
        sites: names of the places where its layers attend, such as ``input.1.0``, in the file's order; empty where the
            file does not say.

    Raises:
        ValueError: unknown kind, or a field that the kind needs is missing.
    """

    kind: str = "score"
    base_model: str = ""
    use_flag: bool = False
    positional_octaves: int = 0
    metrics: tuple[MetricStatistics, ...] = ()
    iqa_model: str = ""
    layer: str = ""
    pooling: str = ""
    protocol: str = ""
    feature_mean: tuple[float, ...] = ()
    feature_std: tuple[float, ...] = ()
    origin: str = ""
    version: int = FORMAT_VERSION
    sites: tuple[str, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "metrics", tuple(map(self._measured_at, self.metrics)))
        resizes = {metric.resize for metric in self.metrics}
        if not self.protocol and len(resizes) == 1:
            object.__setattr__(self, "protocol", *resizes)
        if self.kind not in KINDS:
            kinds = " or ".join(map(repr, KINDS))
            raise ValueError(f"Adapter metadata: kind must be {kinds}, not {shown(self.kind)!r}.")
        if self.kind == "score" and not self.metrics:
            raise ValueError("Adapter metadata: a score adapter must name its metrics.")
        if self.kind == "reference" and not (self.iqa_model and self.layer and self.pooling):
            raise ValueError("Adapter metadata: a reference adapter must name its iqa_model, layer and pooling.")
        if len(self.feature_mean) != len(self.feature_std) or any(std <= 0 for std in self.feature_std):
            raise ValueError("Adapter metadata: feature_mean and feature_std must be equally long, std above 0.")

    def _measured_at(self, metric: MetricStatistics | Mapping) -> MetricStatistics:
        if not isinstance(metric, MetricStatistics):
            metric = MetricStatistics.from_json(metric)
        return dataclasses.replace(metric, resize=metric.resize or self.protocol)

    @property
    def metric_names(self) -> tuple[str, ...]:
        return tuple(metric.name for metric in self.metrics)

    @property
    def quality_width(self) -> int | None:
        """Number of values in the quality input before any encoding; None where only the weights can tell."""
        return len(self.metrics) if self.kind == "score" else len(self.feature_mean) or None

    def to_json(self, **weights: int) -> str:
        """As files have it.

        Args:
            weights: what is told of the weights beside it, for people and other programs; it is not read back.
        """
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return json.dumps(fields | {"metrics": [metric.to_json() for metric in self.metrics]} | weights)

    @classmethod
    def from_json(cls, text: str, origin: object = "The adapter's metadata") -> Metadata:
        """Inverse of :meth:`to_json`; unknown fields are ignored, so that later versions may add some.

        Args:
            origin: where the text comes from, for messages.

        Raises:
            ValueError: not JSON, a value of a wrong type or out of its range, or fields that contradict each other.
        """
        version = parse_json(text, _Version, origin).get("version", FORMAT_VERSION)  # first: later versions differ
        if version > FORMAT_VERSION:
            raise ValueError(
                f"{shown(origin)} has format version {version}; this pack reads up to {FORMAT_VERSION}. "
                "Update ComfyUI-IQA-Adapter."
            )
        fields: dict[str, Any] = {**parse_json(text, _Stored, origin)}
        if fields.get("kind") != "reference" and not any("protocol" in metric for metric in fields.get("metrics", ())):
            fields["protocol"] = ""  # version 0.1.0 wrote "512" into score adapters, whatever their pictures were
        try:
            return cls(**fields)
        except ValueError as error:
            raise ValueError(f"{shown(origin)}: {shown(error)}") from error
