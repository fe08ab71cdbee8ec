"""Evaluation of the score adapter: does measured quality follow the request, and does the best request gain?"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from scipy.stats import spearmanr

from ..adapter.checkpoint import load_adapter
from ..adapter.tokens import QualityTokens, embed_quality
from ..figures.curve import RHO
from ..iqa_models.colourfulness import colourfulness
from ..quality.targets import sliders
from ..quickstart.adapters import SCORE
from ..quickstart.iqa import quality
from .cells import SEEDS_PER_PROMPT, Evaluation, listed
from .measures import UNTRAINED, gain

LEVELS = (1, 25, 50, 75, 99)
COLOUR_LEVELS = (1, 99)


def evaluate_score(evaluation: Evaluation, base: torch.Tensor) -> list[str]:
    """The score adapter's table."""
    adapter = load_adapter(evaluation.weights / SCORE.file)
    metrics = adapter.metadata.metrics

    def at(quality_level: float, aesthetics: float) -> QualityTokens:
        row = torch.tensor([sliders(metrics, quality_level, aesthetics)])
        return embed_quality(adapter, row.expand(len(evaluation.scenes), -1))

    cells = {level: evaluation.cell(f"quality_{level}", at(level, 50), SCORE.strength) for level in LEVELS}
    colours = {level: evaluation.cell(f"colour_{level}", at(50, level), SCORE.strength) for level in COLOUR_LEVELS}
    rows = {"clean scenes": evaluation.other_clean, "base": base, **{f"{level} %": cells[level] for level in LEVELS}}
    measured = {name: quality(evaluation.iqa, pictures) for name, pictures in rows.items()}
    untrained = {name: evaluation.measures(pictures) for name, pictures in rows.items()}
    title = f"### Score adapter, strength {SCORE.strength:g}"
    lines = [title, "", "| requested | measured quality | " + " | ".join(UNTRAINED) + " | mean gain |"]
    lines += ["| --- " * (len(UNTRAINED) + 3) + "|"]
    for name, figures in untrained.items():
        improvement = np.mean([gain(figures[measure], untrained["base"][measure]) for measure in UNTRAINED])
        shown = " | ".join(f"{figure:.3f}" for figure in figures.values())
        lines.append(f"| {name} | {measured[name].mean():.3f} | {shown} | {improvement:+.1%} |")
    levels = [measured[f"{level} %"] for level in LEVELS]
    means = [values.mean().item() for values in levels]
    single = spearmanr(np.repeat(LEVELS, len(evaluation.scenes)), torch.cat(levels)).statistic
    rising = all(lower < higher for lower, higher in itertools.pairwise(means))
    colourful = {level: colourfulness(pictures).mean().item() for level, pictures in colours.items()}
    varied = diversity(evaluation, cells[99]) / diversity(evaluation, base)
    lines += [
        "",
        f"- Spearman's {RHO} of request and measured quality: {spearmanr(LEVELS, means).statistic:.2f} on "
        f"level means ({'rising at every step' if rising else 'not rising at every step'}), {single:.2f} on single "
        "pictures.",
        f"- Colourfulness at {' and '.join(f'{level} %' for level in COLOUR_LEVELS)} of its own axis: "
        f"{' and '.join(f'{value:.1f}' for value in colourful.values())}; base {colourfulness(base).mean():.1f}.",
        f"- Diversity over seeds at 99 % relative to the base model: {varied:.3f}.",
        f"- Attributes read as asked at 99 %: {listed(evaluation.read_as_asked(cells[99]))}.",
    ]
    return lines


@torch.no_grad()
def diversity(evaluation: Evaluation, pictures: torch.Tensor) -> float:
    """Mean distance of two pictures of the same prompt, in the reader's features of what they show."""
    groups = evaluation.reader.content(pictures).unflatten(0, (-1, SEEDS_PER_PROMPT))
    return torch.stack([torch.pdist(group).mean() for group in groups]).mean().item()
