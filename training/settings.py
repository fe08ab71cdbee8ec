"""What a training run is told: one frozen record with the paper's defaults, from and to YAML."""

from __future__ import annotations

from dataclasses import dataclass

from ..adapter.projection import MLP_WIDTH
from .checked import Checked

PROJECTIONS = ("linear", "mlp")
PRECISIONS = ("auto", "bfloat16", "float32")


@dataclass(frozen=True)
class TrainingSettings(Checked):
    """Settings of a training run; rates, optimiser, weight decay and tokens are those of arXiv 2412.01794.

    Attributes:
        steps: optimiser steps in all.
        batch_size: pictures per forward and process.
        gradient_accumulation: forwards per optimiser step.
        learning_rate, late_learning_rate: before and after ``late_from``, a share of the steps, 0...1
            (that share is this project's choice).
        weight_decay: of AdamW.
        gradient_clip: largest norm of the gradient; 0 does not clip.
        timestep_power: 1 draws the noise levels evenly over the model's timesteps; above 1 more often where little
            noise is left and fine detail is decided: with 2, half of them from the lowest quarter.
        quality_drop, text_drop, both_drop: probabilities with which the quality input, the text, or both are dropped.
        tokens: T, quality tokens per picture.
        projection: ``linear`` or ``mlp``.
        use_flag: append a constant 1 to the quality input.
        positional_octaves: L of the positional encoding; 0 for none.
        precision: in which the frozen UNet computes: ``bfloat16``, ``float32``, or ``auto``, which is bfloat16 where
            ComfyUI finds it fast on the model's device. The adapter's weights and its optimiser are float32.
        gradient_checkpointing: recompute the UNet's blocks in the backward pass: less memory, about a third slower.
        ema_decay: per step, of the averaged weights that become the result; 0 for none.
        seed: of the initial projection, the order of the data, the noise and the drops.
        checkpoint_interval: steps between checkpoints.
        sample_interval: steps between sample pictures; 0 for none.
        workers: processes that read the data beside each training process; 0 reads it in that process.

    Raises:
        ValueError: a setting is out of its range.
    """

    steps: int = 10_000
    batch_size: int = 8
    gradient_accumulation: int = 1
    learning_rate: float = 1e-4
    late_learning_rate: float = 1e-5
    late_from: float = 0.8
    weight_decay: float = 1e-2
    gradient_clip: float = 0.0
    timestep_power: float = 1.0
    quality_drop: float = 0.01
    text_drop: float = 0.05
    both_drop: float = 0.01
    tokens: int = 2
    projection: str = "linear"
    use_flag: bool = False
    positional_octaves: int = 0
    precision: str = "auto"
    gradient_checkpointing: bool = False
    ema_decay: float = 0.0
    seed: int = 0
    checkpoint_interval: int = 500
    sample_interval: int = 0
    workers: int = 0

    def __post_init__(self):
        self._check_types()
        for name in ("steps", "batch_size", "gradient_accumulation", "tokens", "checkpoint_interval"):
            self._require(name, getattr(self, name) >= 1, "at least 1")
        for name in ("learning_rate", "late_learning_rate", "timestep_power"):
            self._require(name, getattr(self, name) > 0, "above 0")
        for name in ("weight_decay", "gradient_clip", "positional_octaves", "seed", "workers", "sample_interval"):
            self._require(name, getattr(self, name) >= 0, "0 or above")
        for name in ("late_from", "quality_drop", "text_drop", "both_drop"):
            self._require(name, 0 <= getattr(self, name) <= 1, "between 0 and 1")
        self._require("ema_decay", 0 <= self.ema_decay < 1, "0 or above and below 1")
        self._require("projection", self.projection in PROJECTIONS, f"one of {', '.join(PROJECTIONS)}")
        self._require("precision", self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}")
        if self.quality_drop + self.text_drop + self.both_drop > 1:
            raise ValueError("Training settings: quality_drop, text_drop and both_drop must not add up to more than 1.")

    @property
    def mlp_width(self) -> int:
        """Hidden width of the projection; 0 for the linear one."""
        return MLP_WIDTH if self.projection == "mlp" else 0

    def learning_rate_at(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        return self.learning_rate if step < self.late_from * self.steps else self.late_learning_rate
