"""How well a picture shows its prompt, by CLIP: where OpenAI's weights are on this computer, never fetched.

Hessel et al., *CLIPScore* (EMNLP 2021), without their factor 2.5: the cosine between the embeddings of picture and
prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..iqa_models import weights
from ..iqa_models.catalogue import CLIP_SHA256, CLIP_SOURCE
from ..iqa_models.weights import LoadedFile, WeightFile
from ..optional import needed

NAME = "clip/picture"  # of the measure
FILE = "ViT-L-14.pt"
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of CLIP's training pictures


def file() -> Path | None:
    """CLIP's weights, where the IQA models look for theirs; None if there are none."""
    return weights.locate(WeightFile(FILE, f"{CLIP_SOURCE}/{CLIP_SHA256[FILE]}/{FILE}", CLIP_SHA256[FILE]))


@cache
def load(path: Path | None = None) -> Clip:
    """CLIP from its file.

    Raises:
        FileNotFoundError: it is not on this computer.
    """
    path = path or file()
    if path is None:
        raise weights.missing("CLIP", [WeightFile(FILE, f"{CLIP_SOURCE}/{CLIP_SHA256[FILE]}/{FILE}")])
    with needed("clip"):
        from clip.model import build_model
    state = dict(weights.state_dict(weights.read(path), path))
    return Clip(build_model(state).float().eval().requires_grad_(False), LoadedFile.at(path).sha256())


class Clip:
    """CLIP's two encoders."""

    def __init__(self, net: nn.Module, digest: str):
        self.net, self.digest = net, digest

    @torch.no_grad()
    def embed_pictures(self, pictures: Tensor) -> Tensor:
        """``[N, 3, H, W]`` in 0…1 -> ``[N, D]`` of unit length."""
        side = self.net.visual.input_resolution
        scaled = F.interpolate(pictures, (side, side), mode="bicubic", antialias=True).clamp(0, 1)
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
        return F.normalize(self.net.encode_image((scaled - mean) / std).float(), dim=1)

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """``[N]`` prompts -> ``[N, D]`` of unit length; what does not fit into 77 tokens is cut off."""
        with needed("clip"):
            from clip import tokenize
        return F.normalize(self.net.encode_text(tokenize(list(texts), truncate=True)).float(), dim=1)
