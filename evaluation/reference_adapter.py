"""Evaluation of the reference adapter: does a picture take on a reference's distortion, and nothing else of it?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.stats import spearmanr

from ..adapter.checkpoint import load_adapter
from ..adapter.tokens import embed_features
from ..figures.curve import RHO
from ..pictures.distortions import KINDS, distort
from ..quickstart.adapters import REFERENCE
from ..quickstart.iqa import features, quality
from ..quickstart.reader import AttributeReader
from ..quickstart.rendering import render_pictures
from ..quickstart.world import HELD_OUT_SEEDS, SEEN_THINGS, sample_scene
from .cells import Evaluation, agreement, mean, read, truth

VISIBLE = 0.4  # severity from which a distortion should be recognised


class References:
    """Pictures to be distorted, each with a severity of its own, evenly from ``least`` to 1."""

    def __init__(self, name: str, pictures: torch.Tensor, least: float, seed: int):
        self.name, self.pictures = name, pictures
        self.generator = torch.Generator().manual_seed(seed)
        self.severity = torch.empty(len(pictures)).uniform_(least, 1, generator=self.generator)

    def distorted(self, kind: str) -> torch.Tensor:
        """With a direction and noise of its own for every call."""
        return distort(self.pictures, kind, self.severity, self.generator)


def evaluate_reference(evaluation: Evaluation, base: torch.Tensor) -> list[str]:
    """The reference adapter's table, in lines of Markdown."""
    table, (asked, own, chance) = measure_reference(evaluation)
    means = table["mean"]
    some = f"{RHO}, severity {VISIBLE:g} to 1"
    every = f"{RHO}, 0 to 1"
    titles = ("recognised", "in references", some, "in references", every, "in references", "measured quality")
    return [
        f"### Reference adapter, strength {REFERENCE.strength:g}",
        "",
        "| reference | " + " | ".join(titles) + " |",
        "| --- " * (len(titles) + 1) + "|",
        *(_row(name.replace("_", " "), figures) for name, figures in table.items()),
        "",
        f"- Distortion recognised, mean over all kinds, references of severity {VISIBLE:g} to 1: {means[0]:.2f} "
        f"({means[1]:.2f} in the references themselves).",
        f"- Spearman's {RHO} of the reference's severity and the one read, mean over seven kinds: {means[4]:.2f} among "
        f"all severities ({means[5]:.2f} in the references themselves), {means[2]:.2f} from {VISIBLE:g} on "
        f"({means[3]:.2f}).",
        f"- Prompt's attributes read as asked: {asked:.3f}; base model {mean(evaluation.read_as_asked(base)):.3f}.",
        f"- Reference's own attributes read: {own:.3f}; those of a random other reference {chance:.3f}.",
    ]


def measure_reference(evaluation: Evaluation) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """How pictures follow references, which are other held-out scenes with one distortion each.

    Returns:
        For each kind and for their ``mean``: distortion recognised, rho of visible severities, rho of all severities,
        each in the pictures and in the references (NaN where clean has no severity), and the pictures' quality. And the
        share of attributes read as the prompt, the reference and another reference have them.
    """
    adapter = load_adapter(evaluation.weights / REFERENCE.file)
    first = HELD_OUT_SEEDS.start + 60_000
    others = [sample_scene(first + i, SEEN_THINGS, two_objects=0) for i in range(len(evaluation.scenes))]
    clean = render_pictures(others)
    visible, every = References("reference", clean, VISIBLE, seed=17), References("severity", clean, 0, seed=18)
    shuffled = torch.randperm(len(others), generator=visible.generator)
    truths = truth(evaluation.scenes), truth(others), truth(others)[shuffled]

    def follow(chosen: References, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
        """The pictures, and the references that they follow."""
        references = chosen.distorted(kind)
        tokens = embed_features(adapter, features(evaluation.iqa, references))
        return evaluation.cell(f"{chosen.name}_{kind}", tokens, REFERENCE.strength), references

    table, attributes = {}, []
    for kind in KINDS:
        pair = follow(visible, kind)
        recognised = [_recognised(evaluation.reader, each, kind) for each in pair]
        rho = [np.nan] * 4
        if kind != "clean":
            rho = [_severity_rho(evaluation.reader, each, kind, visible.severity) for each in pair]
            rho += [_severity_rho(evaluation.reader, each, kind, every.severity) for each in follow(every, kind)]
        table[kind] = np.array([*recognised, *rho, quality(evaluation.iqa, pair[0]).mean().item()])
        seen = read(evaluation.reader, pair[0])
        attributes.append([mean(agreement(seen, each)) for each in truths])
    return {**table, "mean": np.nanmean(list(table.values()), 0)}, np.mean(attributes, 0)


def _row(name: str, figures: Sequence[float]) -> str:
    return f"| {name} | " + " | ".join("" if np.isnan(figure) else f"{figure:.2f}" for figure in figures) + " |"


@torch.no_grad()
def _recognised(reader: AttributeReader, pictures: torch.Tensor, kind: str) -> float:
    """How often the reader names the kind."""
    return (reader(pictures)["distortion"].argmax(1) == KINDS.index(kind)).float().mean().item()


@torch.no_grad()
def _severity_rho(reader: AttributeReader, pictures: torch.Tensor, kind: str, severity: torch.Tensor) -> float:
    """Spearman's rho of the kind's severity, as read and as given to the references."""
    return spearmanr(severity, reader(pictures)["severity"][:, KINDS.index(kind) - 1]).statistic
