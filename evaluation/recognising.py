"""Which distortion a picture has, and how strong it is: by the quickstart's reader, or by activations of an IQA model.

Activations: the nearest centroid of distorted pictures that are no references, in standardised activations; severity is
the position on the line from the centroid of clean pictures to that of the kind.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..pictures.distortions import KINDS
from .cells import Cell, Kept
from .comparing import Wanted
from .references import References
from .session import Session

VISIBLE = 0.4  # severity from which a distortion should be recognised
READER = ["reader/distortion", "reader/severity"]


class ReaderOfDistortions:
    """The quickstart's reader."""

    words = "the quickstart's reader"

    def __init__(self, session: Session):
        self.session = session

    def wanted(self, pictures: Sequence[Cell | Kept]) -> Wanted:
        return [(pictures, READER)]

    def kinds(self, pictures: Sequence[Cell | Kept]) -> np.ndarray:
        """Index of the likeliest kind in ``KINDS``, ``[N]``."""
        return self.session.values(pictures, READER[0]).astype(int)

    def severity(self, pictures: Sequence[Cell | Kept], kind: str) -> np.ndarray:
        """``[N]``, on a scale of its own."""
        return self.session.values(pictures, READER[1])[:, KINDS.index(kind) - 1]


class NearestCentroid:
    """Activations of an IQA model.

    Args:
        model: its name.
        examples: distorted pictures that centroids are taken of.
    """

    def __init__(self, session: Session, model: str, examples: References):
        self.session, self.examples, self.measure = session, examples, f"features/{model}"
        self.words = f"activations of {model}, nearest centroid of other distorted pictures"

    def wanted(self, pictures: Sequence[Cell | Kept]) -> Wanted:
        return [(pictures, [self.measure]), *((kept, [self.measure]) for kept in self.examples.kept.values())]

    def kinds(self, pictures: Sequence[Cell | Kept]) -> np.ndarray:
        """Index of the nearest kind in ``KINDS``, ``[N]``."""
        features, centroids = self._standardised(pictures)
        return np.linalg.norm(features[:, None] - centroids, axis=2).argmin(1)

    def severity(self, pictures: Sequence[Cell | Kept], kind: str) -> np.ndarray:
        """``[N]``: 0 like clean pictures, 1 like the kind's."""
        features, centroids = self._standardised(pictures)
        way = centroids[KINDS.index(kind)] - centroids[0]
        return (features - centroids[0]) @ way / (way @ way)

    def _standardised(self, pictures: Sequence[Cell | Kept]) -> tuple[np.ndarray, np.ndarray]:
        """Activations ``[N, D]`` and centroids ``[kinds, D]`` of visible distortions."""
        visible = self.examples.severity >= VISIBLE
        known = [self.session.values(self.examples.kept[kind], self.measure) for kind in KINDS]
        every = np.concatenate(known)
        mean, std = every.mean(0), np.maximum(every.std(0), 1e-6)
        centroids = [(of if kind == "clean" else of[visible]).mean(0) for kind, of in zip(KINDS, known, strict=True)]
        return (self.session.values(pictures, self.measure) - mean) / std, (np.stack(centroids) - mean) / std
