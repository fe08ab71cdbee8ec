"""What an adapter file says about itself: the data by which adapters and IQA models meet."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass

FORMAT_VERSION = 1
HEADER_KEY = "iqa_adapter"  # entry of the safetensors header that holds the JSON
KINDS = ("score", "reference")


@dataclass(frozen=True)
class Metadata:
    """Description of an adapter, stored as JSON in the header of our ``.safetensors`` layout.

    Attributes:
        kind: ``"score"`` (conditioned on metric values) or ``"reference"`` (on activations of an IQA model).
        base_model: family of the UNet it was trained on, as :func:`adapter.layers.family` names it; "" if unknown.
        use_flag: a constant 1.0 is appended to the quality input.
        positional_octaves: L of the positional encoding; 0 for none.
        metrics: for score adapters, one mapping per input in order: ``name``, ``mean``, ``std``, ``percentiles`` (rank
            -> raw score), optionally ``min`` and ``max``. A mapping with only a ``name`` has unknown statistics.
        iqa_model, layer, pooling: for reference adapters, where the activations were taken.
        protocol: for reference adapters, how pictures were scaled before: ``"as is"``, or their side in pixels.
        feature_mean, feature_std: for reference adapters, per activation; empty means raw activations.
        origin: free text about how the adapter was made.
        version: of this format.

    Raises:
        ValueError: unknown kind, or a field that the kind needs is missing.
    """

    kind: str = "score"
    base_model: str = ""
    use_flag: bool = False
    positional_octaves: int = 0
    metrics: tuple[Mapping, ...] = ()
    iqa_model: str = ""
    layer: str = ""
    pooling: str = ""
    protocol: str = "512"
    feature_mean: tuple[float, ...] = ()
    feature_std: tuple[float, ...] = ()
    origin: str = ""
    version: int = FORMAT_VERSION

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"Adapter metadata: kind must be 'score' or 'reference', not {self.kind!r}.")
        if self.version > FORMAT_VERSION:
            raise ValueError(
                f"The adapter's metadata has format version {self.version}; this pack reads up to {FORMAT_VERSION}. "
                "Update ComfyUI-IQA-Adapter."
            )
        if self.kind == "score" and not (self.metrics and all("name" in metric for metric in self.metrics)):
            raise ValueError("Adapter metadata: a score adapter must name its metrics.")
        if self.kind == "reference" and not (self.iqa_model and self.layer and self.pooling):
            raise ValueError("Adapter metadata: a reference adapter must name its iqa_model, layer and pooling.")
        if len(self.feature_mean) != len(self.feature_std) or any(std <= 0 for std in self.feature_std):
            raise ValueError("Adapter metadata: feature_mean and feature_std must be equally long, std above 0.")

    @property
    def metric_names(self) -> tuple[str, ...]:
        return tuple(metric["name"] for metric in self.metrics)

    @property
    def quality_width(self) -> int | None:
        """Number of values in the quality input before any encoding; None where only the weights can tell."""
        return len(self.metrics) if self.kind == "score" else len(self.feature_mean) or None

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Metadata:
        """Inverse of :meth:`to_json`; unknown fields are ignored, so that later versions may add some.

        Raises:
            ValueError: not JSON, or fields that contradict each other.
        """
        try:
            fields = json.loads(text)
            known = {field.name for field in dataclasses.fields(cls)}
            fields = {key: value for key, value in fields.items() if key in known}
            for key in ("metrics", "feature_mean", "feature_std"):
                fields[key] = tuple(fields.get(key, ()))
            return cls(**fields)
        except (TypeError, AttributeError) as error:
            raise ValueError(f"The adapter's metadata cannot be understood: {error}") from error
