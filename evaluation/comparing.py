"""Metrics of sets of pictures, prompt by prompt: as they are measured, or as nearness to clean scenes (``clean/…``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from ..quickstart.rendering import render_pictures
from ..quickstart.world import HELD_OUT_SEEDS, Scene
from .cells import Cell, Kept
from .formulas import closeness
from .measures import is_better_higher
from .session import Session
from .statistics import Estimate, bootstrap, gain

CLEAN = "clean/"
Wanted = list[tuple[Sequence[Cell | Kept], Sequence[str]]]
VARIANT = 10**6  # distance of the seeds of clean scenes from each other and from those of prompts


def clean_scenes(session: Session, cells: Sequence[Cell], variant: int = 1) -> list[Kept]:
    """Clean scenes of the cells' prompts, one for each cell, with other layouts and tones.

    Args:
        variant: 1 are those that pictures are compared with, 2 are others, which show how near clean scenes come.

    Raises:
        ValueError: the prompts are no scenes of the quickstart.
    """
    scenes = [session.prompts[cell.prompt].scene for cell in cells]
    if None in scenes:
        raise ValueError(
            "Metrics that begin with clean/ compare with clean scenes, which only `prompts: held-out` has; leave them "
            "out of metrics."
        )
    seeds = [HELD_OUT_SEEDS.start + variant * VARIANT + cell.seed for cell in cells]
    return [_kept(session.store, replace(scene, seed=seed)) for scene, seed in zip(scenes, seeds, strict=True)]


@lru_cache(maxsize=10_000)
def _kept(store, scene: Scene) -> Kept:
    return store.keep(render_pictures([scene])[0], {"clean scene": scene.seed})


def wanted(session: Session, cells: Sequence[Cell], metrics: Sequence[str]) -> Wanted:
    """What has to be measured so that :func:`values` can be asked."""
    plain = [name for name in metrics if not name.startswith(CLEAN)]
    like_clean = [name.removeprefix(CLEAN) for name in metrics if name.startswith(CLEAN)]
    found: Wanted = [(cells, [*plain, *like_clean])]
    if like_clean:
        found.append((clean_scenes(session, cells), like_clean))
    return found


def values(session: Session, cells: Sequence[Cell | Kept], metric: str, of: Sequence[Cell] = ()) -> np.ndarray:
    """A metric ``[prompts, pictures of each]``; of ``clean/…`` one number for each prompt, ``[prompts, 1]``.

    Args:
        of: the cells whose prompts the pictures show, where they are no cells themselves.
    """
    asked = of or cells
    prompts = len({cell.prompt for cell in asked})
    if not metric.startswith(CLEAN):
        return session.by_prompt(cells, metric, prompts)
    raw = metric.removeprefix(CLEAN)
    clean = session.by_prompt(clean_scenes(session, asked), raw, prompts)
    return closeness(session.by_prompt(cells, raw, prompts), clean)[:, None]


def mean_gain(session: Session, cells: Sequence[Cell], base: Sequence[Cell], metrics: Sequence[str]) -> Estimate:
    """Relative gain over the base model in the mean of metrics; NaN without any."""
    if not metrics:
        return Estimate(np.nan, np.nan, np.nan)
    pairs = [values(session, each, metric) for metric in metrics for each in (cells, base)]
    higher = [sign(metric) > 0 for metric in metrics]

    def of(*arrays: np.ndarray) -> float:
        return float(np.nanmean([*map(gain, arrays[::2], arrays[1::2], higher)]))

    return bootstrap(of, *pairs)


def sign(metric: str) -> int:
    """1 where higher is better, else -1."""
    return 1 if is_better_higher(metric) else -1


def held_out(trained_on: Sequence[str], metrics: Sequence[str]) -> list[str]:
    """Metrics that an adapter has not been trained on."""
    return [metric for metric in metrics if metric not in trained_on]
