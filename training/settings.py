"""What a training run is told. Everything that is known of a setting stands in its line here; the checks, the help of
``iqa.py train`` and its commented YAML are made from them.

Rates, optimiser, weight decay, drops and tokens are those of arXiv 2412.01794; docs/recipe.md lists what differs from
its public training script, and why.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from .checked_settings import Checked, make_settings, setting, to_commented_yaml, to_help

PROJECTIONS = ("linear", "mlp")
PRECISIONS = ("auto", "bfloat16", "float32", "float16")
TRACKERS = ("auto", "none", "tensorboard", "wandb")
LATENTS = ("mode", "sample")
INTERPOLATIONS = ("bicubic", "bilinear")
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
        unit="pictures", least=1, most=4096, paper="320 per step in all: 8 on each of 40 GPUs",
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
    min_snr_gamma: float = setting(
        0.0,
        "min-SNR weighting (arXiv 2303.09556) of models that predict noise or v: the error of the denoised latent "
        "counts min(SNR, gamma) times, usually 5; 0 for the model's own error",
        least=0, most=1000, paper="0",
    )  # fmt: skip
    noise_offset: float = setting(
        0.0,
        "standard deviation of what is added to the noise of a channel, the same at every place, so that mean "
        "brightness and colour are learnt, too; 0.05 to 0.1 is usual",
        least=0, most=1, paper="0",
    )  # fmt: skip
    quality_drop: float = setting(0.01, "share of items without quality input", least=0, most=1, paper="0.01")
    text_drop: float = setting(0.05, "share of items without text", least=0, most=1, paper="0.05")
    both_drop: float = setting(0.01, "share of items without either", least=0, most=1, paper="0.01")
    tokens: int = setting(2, "quality tokens per picture", least=1, most=256, paper="2")
    projection: str = setting("linear", "from quality input to tokens", choices=PROJECTIONS, paper="linear")
    mlp_width: int = setting(128, "hidden width of the projection mlp", least=1, most=8192, paper="128")
    use_flag: bool = setting(
        False, "append a constant 1 to the quality input", paper="false; the default of its script is true"
    )
    positional_octaves: int = setting(
        0, "octaves of a positional encoding of the input; 0 for none", least=0, most=32, paper="0"
    )
    precision: str = setting(
        "auto",
        "in which the frozen UNet computes: auto is bfloat16 where ComfyUI finds it fast on the device, else float32; "
        "float16, with a scaled loss, is for GPUs without bfloat16; the adapter and its optimiser are float32",
        choices=PRECISIONS, paper="bfloat16",
    )  # fmt: skip
    gradient_checkpointing: bool = setting(False, "recompute the UNet's blocks: less memory, about a third slower")
    ema_decay: float = setting(
        0.0, "decay per step of the averaged weights that become the result; 0 for none", least=0, below=1, paper="0"
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
        0, "steps between sample pictures in samples/ of the run, which end with some of the result; 0 for none",
        least=0, most=MANY_STEPS,
    )  # fmt: skip
    workers: int = setting(
        0, "threads that read ahead, per process: the cache, or pictures without it; 0 reads between steps",
        least=0, most=256,
    )  # fmt: skip
    tracker: str = setting(
        "auto",
        "where loss and learning rate go beside loss.jsonl: auto is TensorBoard where it is installed; wandb needs an "
        "account, or WANDB_MODE=offline",
        choices=TRACKERS, paper="tensorboard",
    )  # fmt: skip

    def __post_init__(self):
        super().__post_init__()
        if self.quality_drop + self.text_drop + self.both_drop > 1:
            raise ValueError("Training settings: quality_drop, text_drop and both_drop must not add up to more than 1.")

    @property
    def hidden_width(self) -> int:
        """Of the projection; 0 for the linear one."""
        return self.mlp_width if self.projection == "mlp" else 0

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
        512,
        "side of the centre crop, or of the square with every bucket's area; left out, it is the model's own: 512 for "
        "SD1.5, 1024 for SDXL, 64 for the quickstart",
        unit="pixels", least=8, most=4096, multiple_of=8, of_model=True,
    )  # fmt: skip
    buckets: bool = setting(False, "keep aspect ratios, in groups of equal size, in place of the centre crop")
    bucket_step: int = setting(
        64,
        "sides of buckets are multiples of it; left out, 64, or for small models an eighth of their own resolution",
        unit="pixels", least=8, most=4096, multiple_of=8, of_model=True,
    )  # fmt: skip
    interpolation: str = setting(
        "bicubic", "how training pictures are scaled to their size, in both cases antialiased",
        choices=INTERPOLATIONS, paper="bilinear",
    )  # fmt: skip
    latents: str = setting(
        "mode",
        "mode takes the VAE's most probable latent of a picture; sample draws one from its distribution at every step, "
        "for which each picture is encoded twice",
        choices=LATENTS, paper="sample",
    )  # fmt: skip
    caption_limit: int = setting(
        0, "tokens after which a caption is cut; 0 takes the whole caption, in chunks, as ComfyUI takes prompts",
        unit="tokens", least=0, most=10_000, paper="75, which with beginning and end are 77",
    )  # fmt: skip
    cache: bool = setting(
        True, "keep latents and text embeddings on disk (float16), made before the first step; else at every step"
    )
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


PAPER = {  # what differs from the defaults in the way of arXiv 2412.01794; docs/recipe.md gives the reasons
    "steps": 24_000,
    "late_from": 1.0,
    "precision": "bfloat16",
    "interpolation": "bilinear",
    "latents": "sample",
    "caption_limit": 75,
}
RECIPES = {"default": {}, "paper": PAPER}

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

    def by_name(self) -> dict:
        groups = (self.training, self.data, self.samples)
        return {name: value for group in groups for name, value in dataclasses.asdict(group).items()}


def settings_help() -> str:
    """All settings, for people."""
    return "\n\n".join(to_help(title, cls) for title, cls in GROUPS.items())


def settings_yaml() -> str:
    """All settings with their defaults as a commented YAML file."""
    return "\n\n".join(to_commented_yaml(title, cls) for title, cls in GROUPS.items())
