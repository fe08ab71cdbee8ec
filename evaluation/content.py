"""What pictures show: whether it is what the prompt says, how it varies with the seed, how far it is from the base's.

The quickstart's reader tells the attributes of its scenes. For other models CLIP does, where its weights are on this
computer; without them pictures are compared in a size of 16×16 pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..quickstart.reader import ATTRIBUTES, labels
from . import clip_score, statistics
from .cells import Cell
from .session import Session


@dataclass(frozen=True)
class Content:
    """How content is read.

    Attributes:
        vectors: measure whose distances are those of content.
        agreement: what tells whether a picture shows its prompt: ``attributes``, ``clip``, or nothing.
        words: names what is done, in the report.
    """

    vectors: str
    agreement: str
    words: str


READER = Content("reader/content", "attributes", "the quickstart's attribute reader")
CLIP = Content(clip_score.NAME, "clip", "CLIP (ViT-L/14)")
PIXELS = Content("coarse", "", "pictures reduced to 16×16 pixels")


def reader_of(session: Session) -> Content:
    """The best reader of content for a plan."""
    if all(prompt.scene is not None for prompt in session.prompts):
        return READER
    return CLIP if clip_score.file() else PIXELS


def measures_of(content: Content) -> list[str]:
    return [content.vectors] + (["reader/attributes"] if content is READER else [])


def agreement(session: Session, content: Content, cells: Sequence[Cell]) -> np.ndarray:
    """How well each picture shows its prompt, ``[prompts, seeds]``: share of attributes, or CLIP's cosine; NaN where
    nothing can tell."""
    prompts = len({cell.prompt for cell in cells})
    if content.agreement == "attributes":
        return agreement_of_any(session, cells).reshape(prompts, -1)
    if content.agreement == "clip":
        pictures = torch.from_numpy(session.values(cells, content.vectors))
        texts = clip_score.load().embed_texts([session.prompts[cell.prompt].text for cell in cells])
        return (pictures * texts).sum(1).numpy().reshape(prompts, -1)
    return np.full((prompts, len(cells) // prompts), np.nan)


def agreement_of_any(session: Session, cells: Sequence[Cell]) -> np.ndarray:
    """Share of the prompt's attributes that the reader finds in each picture, ``[N]``, in any order of pictures."""
    truth = np.array([labels(session.prompts[cell.prompt].scene) for cell in cells])
    return (session.values(cells, "reader/attributes") == truth).mean(1)


def attributes(session: Session, cells: Sequence[Cell], truth: np.ndarray) -> np.ndarray:
    """Which attributes are read as in ``truth`` ``[N, 5]``: ``[prompts, seeds, 5]`` of 0 and 1."""
    prompts = len({cell.prompt for cell in cells})
    return (session.values(cells, "reader/attributes") == truth).astype(float).reshape(prompts, -1, len(ATTRIBUTES))


def diversity(session: Session, content: Content, cells: Sequence[Cell]) -> np.ndarray:
    """Mean distance of two pictures of the same prompt, ``[prompts]``; NaN with one seed."""
    vectors = session.by_prompt(cells, content.vectors, len({cell.prompt for cell in cells}))
    pairs = np.triu_indices(vectors.shape[1], 1)
    if not len(pairs[0]):
        return np.full(len(vectors), np.nan)
    return np.array([np.linalg.norm(of[pairs[0]] - of[pairs[1]], axis=1).mean() for of in vectors])


def relative_diversity(
    session: Session, content: Content, cells: Sequence[Cell], base: Sequence[Cell]
) -> statistics.Estimate:
    """Diversity of pictures of a condition over that of the base's."""
    return statistics.bootstrap(
        lambda one, other: np.nanmean(one) / np.nanmean(other),
        diversity(session, content, cells),
        diversity(session, content, base),
    )


def distance(session: Session, content: Content, cells: Sequence[Cell], others: Sequence[Cell]) -> np.ndarray:
    """Distance of each picture from the other one of the same prompt and seed, ``[prompts, seeds]``."""
    prompts = len({cell.prompt for cell in cells})
    one, other = (session.values(each, content.vectors) for each in (cells, others))
    return np.linalg.norm(one - other, axis=1).reshape(prompts, -1)
