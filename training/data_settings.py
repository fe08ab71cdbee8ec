"""What a training run is told about its pictures and about the samples that it shows."""

from __future__ import annotations

from dataclasses import dataclass

from .checked import Checked


@dataclass(frozen=True)
class DataSettings(Checked):
    """How pictures become training samples.

    Attributes:
        resolution: side in pixels of the centre crop, or of the square with the area of every bucket; a multiple of 8.
        buckets: keep aspect ratios, in groups of equal size, in place of the centre crop.
        bucket_step: sides of buckets are multiples of it, in pixels.
        cache: keep latents and text embeddings on disk (float16); without it they are made anew at every step.
        metrics: columns of the table, in order; all if empty.
        variants: reference-based: how often each picture is drawn, each time with its own distortion and other crop.
        distortion_rate: reference-based: share of the pictures that are distorted, 0...1.
        other_crop: reference-based: take the activations from another crop of the picture than the one that is
            learnt, so that content cannot be copied.

    Raises:
        ValueError: a setting is out of its range.
    """

    resolution: int = 512
    buckets: bool = False
    bucket_step: int = 64
    cache: bool = True
    metrics: tuple = ()
    variants: int = 1
    distortion_rate: float = 0.0
    other_crop: bool = False

    def __post_init__(self):
        self._check_types()
        for name in ("resolution", "bucket_step"):
            self._require(name, getattr(self, name) >= 8 and getattr(self, name) % 8 == 0, "a multiple of 8, above 0")
        self._require("bucket_step", self.bucket_step <= self.resolution, "at most the resolution")
        self._require("variants", self.variants >= 1, "at least 1")
        self._require("distortion_rate", 0 <= self.distortion_rate <= 1, "between 0 and 1")

    @property
    def drawn(self) -> bool:
        """Pictures are drawn anew, so their activations cannot come from the table."""
        return self.distortion_rate > 0 or self.other_crop


@dataclass(frozen=True)
class SampleSettings(Checked):
    """Pictures that show how far the training is: a row per prompt, a column per target.

    Attributes:
        sample_prompts: the first captions if empty.
        sample_targets: percentiles of the set, 0...100; a reference-based run shows as many of its pictures instead.
        sample_steps: of the sampler.
        sample_cfg: classifier-free guidance.

    Raises:
        ValueError: a setting is out of its range.
    """

    sample_prompts: tuple = ()
    sample_targets: tuple = (1, 50, 99)
    sample_steps: int = 20
    sample_cfg: float = 5.0

    def __post_init__(self):
        self._check_types()
        self._require("sample_prompts", all(isinstance(text, str) for text in self.sample_prompts), "a list of texts")
        numbers = all(isinstance(rank, (int, float)) and 0 <= rank <= 100 for rank in self.sample_targets)
        self._require("sample_targets", bool(self.sample_targets) and numbers, "a list of percentiles, 0 to 100")
        self._require("sample_steps", self.sample_steps >= 1, "at least 1")
