"""What a training run is told. Everything that is known of a setting stands in its line here; the checks, the help of
``iqa.py train`` and its commented YAML are made from them.

Rates, optimiser, weight decay, drops and tokens are those of arXiv 2412.01794.
"""

from __future__ import annotations

from dataclasses import dataclass

from .checked_settings import Checked, make_settings, setting, to_commented_yaml, to_help

PROJECTIONS = ("linear", "mlp")
PRECISIONS = ("auto", "bfloat16", "float32")
MANY_STEPS = 10_000_000


@dataclass(frozen=True)
class TrainingSettings(Checked):
    """How the adapter learns.

    Raises:
        ValueError: a setting is out of its range.
    """

    steps: int = setting(
        10_000, "optimiser steps in all; a run that has ended goes on when it is given more",
        least=1, most=MANY_STEPS, paper="24,000",
    )  # fmt: skip
    batch_size: int = setting(
        8, "pictures per forward and process; times gradient_accumulation and processes, those of a step",
        unit="pictures", least=1, most=4096, paper="40 per step in all",
    )  # fmt: skip
    gradient_accumulation: int = setting(1, "forwards per step, for less memory at the same step", least=1, most=4096)
    learning_rate: float = setting(1e-4, "learning rate of AdamW up to late_from", above=0, most=1, paper="1e-4")
    late_learning_rate: float = setting(1e-5, "learning rate of AdamW from late_from on", above=0, most=1, paper="1e-5")
    late_from: float = setting(
        0.8, "share of the steps after which the learning rate falls",
        least=0, most=1, paper="1, and a second run at the late rate",
    )  # fmt: skip
    warm_restart: bool = setting(
        False,
        "when a run is prolonged after its learning rate fell: raise it again, up to late_from of all steps; else it "
        "stays low",
    )
    weight_decay: float = setting(1e-2, "weight decay of AdamW", least=0, most=10, paper="0.01")
    gradient_clip: float = setting(0.0, "largest norm of the gradient; 0 does not clip", least=0, most=1e6)
    timestep_power: float = setting(
        1.0,
        "1 draws noise levels evenly over the model's timesteps; with 2, half of them come from the lowest quarter, "
        "where fine detail is decided",
        above=0, most=10, paper="1",
    )  # fmt: skip
    quality_drop: float = setting(0.01, "share of items without quality input", least=0, most=1, paper="0.01")
    text_drop: float = setting(0.05, "share of items without text", least=0, most=1, paper="0.05")
    both_drop: float = setting(0.01, "share of items without either", least=0, most=1, paper="0.01")
    tokens: int = setting(2, "quality tokens per picture", least=1, most=256, paper="2")
    projection: str = setting("linear", "from quality input to tokens", choices=PROJECTIONS)
    use_flag: bool = setting(False, "append a constant 1 to the quality input")
    positional_octaves: int = setting(0, "octaves of a positional encoding of the input; 0 for none", least=0, most=32)
    precision: str = setting(
        "auto",
        "in which the frozen UNet computes: auto is bfloat16 where ComfyUI finds it fast on the device; the adapter "
        "and its optimiser are float32",
        choices=PRECISIONS, paper="float16",
    )  # fmt: skip
    gradient_checkpointing: bool = setting(False, "recompute the UNet's blocks: less memory, about a third slower")
    ema_decay: float = setting(
        0.0, "decay per step of the averaged weights that become the result; 0 for none", least=0, below=1
    )
    seed: int = setting(
        0, "seed of the first projection, the order of the data, noise and drops", least=0, most=2**32 - 1
    )
    checkpoint_interval: int = setting(
        500, "steps between checkpoints, of which the last two are kept", least=1, most=MANY_STEPS
    )
    adapter_interval: int = setting(
        5000, "steps between adapters that are kept in adapters/ of the run; 0 keeps the last one only",
        least=0, most=MANY_STEPS,
    )  # fmt: skip
    sample_interval: int = setting(
        0, "steps between sample pictures in samples/ of the run; 0 for none", least=0, most=MANY_STEPS
    )
    workers: int = setting(
        0, "threads that read prepared pictures ahead, per process; 0 reads between steps",
        least=0, most=256,
    )  # fmt: skip

    def __post_init__(self):
        super().__post_init__()
        if self.quality_drop + self.text_drop + self.both_drop > 1:
            raise ValueError("Training settings: quality_drop, text_drop and both_drop must not add up to more than 1.")

    @property
    def mlp_width(self) -> int:
        """Hidden width of the projection; 0 for the linear one."""
        from ..adapter.projection import MLP_WIDTH  # torch takes seconds, and the help reads this file

        return MLP_WIDTH if self.projection == "mlp" else 0

    def learning_rate_at(self, step: int) -> float:
        """Planned learning rate of a step, counted from 0."""
        return self.learning_rate if step < self.late_from * self.steps else self.late_learning_rate


@dataclass(frozen=True)
class DataSettings(Checked):
    """How pictures become training items.

    Raises:
        ValueError: a setting is out of its range.
    """

    resolution: int = setting(
        512, "side of the centre crop, or of the square with every bucket's area; the quickstart's own is 64",
        unit="pixels", least=8, most=4096, multiple_of=8,
    )  # fmt: skip
    buckets: bool = setting(False, "keep aspect ratios, in groups of equal size, in place of the centre crop")
    bucket_step: int = setting(
        64, "sides of buckets are multiples of it", unit="pixels", least=8, most=4096, multiple_of=8
    )
    cache: bool = setting(True, "keep latents and text embeddings on disk (float16); else they are made at every step")
    metrics: tuple = setting((), "columns of the table, in order; all of them if empty")
    variants: int = setting(
        1, "reference adapters: how often each picture is drawn, each time with its own distortion and other crop",
        least=1, most=10_000,
    )  # fmt: skip
    distortion_rate: float = setting(0.0, "reference adapters: share of pictures that are distorted", least=0, most=1)
    other_crop: bool = setting(
        False,
        "reference adapters: take the activations from another crop than the one that is learnt, so that content "
        "cannot be copied",
    )

    def __post_init__(self):
        super().__post_init__()
        self._require("bucket_step", not self.buckets or self.bucket_step <= self.resolution, "at most the resolution")

    @property
    def drawn(self) -> bool:
        """Pictures are drawn anew, so their activations cannot come from the table."""
        return self.distortion_rate > 0 or self.other_crop


@dataclass(frozen=True)
class SampleSettings(Checked):
    """Pictures that show how far the training is: a row per prompt, a column per target.

    Raises:
        ValueError: a setting is out of its range.
    """

    sample_prompts: tuple = setting((), "texts to draw; the first captions if empty")
    sample_targets: tuple = setting(
        (1, 50, 99), "percentiles of the set; a reference adapter shows as many of its pictures instead",
        least=0, most=100, entries=float,
    )  # fmt: skip
    sample_steps: int = setting(20, "steps of the sampler", least=1, most=1000)
    sample_cfg: float = setting(5.0, "classifier-free guidance", least=0, most=100)

    def __post_init__(self):
        super().__post_init__()
        self._require("sample_targets", bool(self.sample_targets), "a list of percentiles, 0 to 100")


GROUPS = {
    "How the adapter learns": TrainingSettings,
    "How pictures become training items": DataSettings,
    "Sample pictures on the way": SampleSettings,
}


@dataclass(frozen=True)
class RunSettings:
    """All settings of a run."""

    training: TrainingSettings
    data: DataSettings
    samples: SampleSettings

    @classmethod
    def from_mapping(cls, given: dict, origin: str) -> RunSettings:
        """Settings of all three by name; ``origin`` is for messages.

        Raises:
            ValueError: an unknown setting, or one out of its range.
        """
        return cls(*make_settings(given, origin, TrainingSettings, DataSettings, SampleSettings))


def settings_help() -> str:
    """All settings, for people."""
    return "\n\n".join(to_help(title, cls) for title, cls in GROUPS.items())


def settings_yaml() -> str:
    """All settings with their defaults as a commented YAML file."""
    return "\n\n".join(to_commented_yaml(title, cls) for title, cls in GROUPS.items())
