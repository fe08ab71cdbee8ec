"""Many pictures at once with ComfyUI's own sampler: every picture of a batch has its own prompt, seed and quality.

What the evaluation measures is drawn with these settings, and so are the pictures that show how far a training is.
"""

from __future__ import annotations

from collections.abc import Sequence

import comfy.sample
import torch
from comfy.model_patcher import ModelPatcher
from tqdm import tqdm

from ..adapter.apply import apply_adapter
from ..adapter.tokens import QualityTokens
from .model import BLOCK, LATENT_CHANNELS
from .precision import autocast
from .rendering import SIZE

STEPS, CFG, SAMPLER, SCHEDULER = 12, 3.0, "dpmpp_2m", "karras"
BATCH = 32


class BatchSampler:
    """Samples pictures from the quickstart model, in bfloat16 where the processor is faster at it.

    Args:
        model, clip, vae: as :func:`.model.load_quickstart` gives them.
    """

    def __init__(self, model: ModelPatcher, clip, vae):
        self.model, self.clip, self.vae = model, clip, vae
        self.empty = clip.encode_from_tokens_scheduled(clip.tokenize(""))

    def __call__(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        tokens: QualityTokens | None = None,
        strength: float = 1.0,
        label: str = "",
    ) -> torch.Tensor:
        """Pictures ``[N, 3, 64, 64]`` in 0…1; with quality tokens, picture i follows row i."""
        parts = []
        for start in tqdm(range(0, len(prompts), BATCH), desc=label, unit="batch", leave=False, disable=not label):
            chosen = slice(start, start + BATCH)
            model = self.model if tokens is None else apply_adapter(self.model, _rows(tokens, chosen), strength)
            parts.append(self._sample(model, prompts[chosen], seeds[chosen]))
        return torch.cat(parts)

    def _sample(self, model: ModelPatcher, prompts: Sequence[str], seeds: Sequence[int]) -> torch.Tensor:
        encoded = [self.clip.encode_from_tokens_scheduled(self.clip.tokenize(prompt))[0] for prompt in prompts]
        positive = [[
            torch.cat([embedding for embedding, _ in encoded]),
            {"pooled_output": torch.cat([extra["pooled_output"] for _, extra in encoded])},
        ]]  # fmt: skip
        latent = torch.zeros(len(prompts), LATENT_CHANNELS, SIZE // BLOCK, SIZE // BLOCK)
        noise = torch.cat([comfy.sample.prepare_noise(latent[:1], seed) for seed in seeds])
        with autocast():
            result = comfy.sample.sample(
                model, noise, STEPS, CFG, SAMPLER, SCHEDULER, positive, self.empty, latent, disable_pbar=True
            )
        return self.vae.decode(result).movedim(-1, 1).clamp(0, 1)


def _rows(tokens: QualityTokens, chosen: slice) -> QualityTokens:
    strengths = None if tokens.strengths is None else tokens.strengths[chosen]
    return QualityTokens(tokens.adapter, tokens.cond[chosen], tokens.uncond[chosen], strengths)
