"""The distortions of the pictures that the quickstart's models learn from: those of training."""

from ..pictures.distortions import KINDS, distort, distort_randomly

__all__ = ["KINDS", "distort", "distort_randomly"]
