"""Arithmetic with references on the quickstart: what each mixture of activations does to noise, blur and contrast.

How much of a distortion the drawn pictures have is the severity that the quickstart's reader finds, 0 none to 1
(:mod:`..quickstart.reader`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..adapter.adapter import Adapter
from ..adapter.checkpoint import load_adapter
from ..adapter.tokens import QualityTokens, embed_features
from ..iqa_models.catalogue import QUICKSTART
from ..iqa_models.features import Features
from ..iqa_models.mixing import add_difference, combine
from ..pictures.distortions import KINDS, distort
from ..pictures.photos import photo
from ..quickstart.adapters import REFERENCE
from ..quickstart.iqa import FEATURE_LAYER, features, load_iqa
from ..quickstart.model import WEIGHTS, load_quickstart
from ..quickstart.reader import AttributeReader, load_reader
from ..quickstart.rendering import SIZE
from ..quickstart.sampling import BatchSampler
from ..quickstart.world import HELD_OUT_SEEDS, HELD_OUT_THINGS, prompt, sample_scene
from .experiment import Table

NOISE, BLUR, CONTRAST = "white_noise", "gaussian_blur", "contrast_loss"
READ = (NOISE, BLUR, CONTRAST)
FIRST = 500_000  # seed, within the held-out ones
Request = tuple[Features, Features | None]  # what is asked for, and what to move away from


def references(seed: int = 0) -> dict[str, Tensor]:
    """Photographs, each ``[1, 3, 64, 64]``; B and C are of another one than A."""
    generator = torch.Generator().manual_seed(seed)
    clean, other = photo("cat"), photo("coffee")
    pale = distort(other, CONTRAST, 0.9)
    return {
        "A: clean": clean,
        "B: pale and noisy": distort(pale, NOISE, 0.5, generator),
        "C: pale": pale,
        "D: blurred": distort(other, BLUR, 0.9),
        "E: noisy": distort(clean, NOISE, 0.8, generator),
    }


def requests(iqa: nn.Module, pictures: Mapping[str, Tensor]) -> dict[str, Request]:
    """What is asked for, by name."""
    a, b, c, d, e = (
        Features(features(iqa, picture), QUICKSTART, FEATURE_LAYER, "none", str(SIZE)) for picture in pictures.values()
    )
    return {
        "A": (a, None),
        "B": (b, None),
        "C": (c, None),
        "A + what B has over C": (add_difference(a, b, c, 1.0), None),
        "D": (d, None),
        "E": (e, None),
        "mean of D and E": (combine([d, e]), None),
        "D and E, weights 4 and 1": (combine([d, e], [4, 1]), None),
        "B, negative E": (b, e),
        "D, negative A": (d, a),
    }


def tokens_of(adapter: Adapter, request: Request, count: int) -> QualityTokens:
    """Tokens of a request for ``count`` pictures."""
    asked, away = request
    negative = None if away is None else away.tensor.expand(count, -1)
    return embed_features(adapter, asked.tensor.expand(count, -1), negative)


def measured(count: int, names: Sequence[str] = ()) -> dict[str, tuple[float, ...]]:
    """Mean severities (:data:`READ`) in ``count`` pictures of each request; the same prompts and seeds for all.

    Args:
        names: of requests; none for all.
    """
    sample, (iqa, _), (reader, _) = BatchSampler(*load_quickstart()), load_iqa(WEIGHTS), load_reader(WEIGHTS)
    adapter = load_adapter(WEIGHTS / REFERENCE.file)
    seeds = [HELD_OUT_SEEDS.start + FIRST + number for number in range(count)]
    prompts = [prompt(sample_scene(seed, HELD_OUT_THINGS, two_objects=0)) for seed in seeds]
    asked = {name: request for name, request in requests(iqa, references()).items() if not names or name in names}
    return {
        name: severities(reader, sample(prompts, seeds, tokens_of(adapter, request, count), REFERENCE.strength))
        for name, request in tqdm(asked.items(), unit="request")
    }


@torch.no_grad()
def severities(reader: AttributeReader, pictures: Tensor) -> tuple[float, ...]:
    """Mean of each kind of :data:`READ`, as the reader finds them."""
    read = reader(pictures)["severity"].mean(0)
    return tuple(read[KINDS.index(kind) - 1].item() for kind in READ)


def table(found: Mapping[str, tuple[float, ...]]) -> Table:
    rows = [[name, *(f"{max(0.0, value):.2f}" for value in values)] for name, values in found.items()]
    return Table(["reference", "noise", "blur", "loss of contrast"], rows)
