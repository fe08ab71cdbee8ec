"""Spearman's rank correlation."""

from __future__ import annotations

import warnings

import numpy as np

from ..optional import needed


def rank_correlation(requested: np.ndarray, measured: np.ndarray) -> float:
    """Spearman's rho of two arrays of one shape, without pairs in which one is missing; NaN if one is constant."""
    with needed("scipy"):
        from scipy.stats import ConstantInputWarning, spearmanr
    requested, measured = np.ravel(requested), np.ravel(measured)
    there = np.isfinite(requested) & np.isfinite(measured)
    if there.sum() < 2:
        return float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        return float(spearmanr(requested[there], measured[there]).statistic)
