"""What a search says of itself: seeds, a summary, a plot, and an alarm where the pictures please the metric alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..figures.score_plots import Line, plot_scores
from .judge import Judge
from .ledger import Ledger
from .search import Found, Settings

TOLERANCE = 0.1  # standard deviations, by which the metric set aside may fall


def seeds(found: Found) -> str:
    """A line for every kept picture: the seed of its noise, and what local search has mixed in."""
    return "\n".join(str(picture.recipe) for pictures in found.kept for picture in pictures)


def summary(found: Found, settings: Settings) -> str:
    """What was tried, what is kept, how far it lies above the average, and what the metric set aside says."""
    judge, ledgers = found.ledgers[0].judge, found.ledgers
    steps = ledgers[0].sampling.steps
    spent, tried = (sum(getattr(ledger, name) for ledger in ledgers) for name in ("evaluations", "tried"))
    lines = [f"{settings.method}: {tried} noises of {steps} steps, {spent} evaluations of the model"]
    if any(ledger.cancelled for ledger in ledgers):
        lines.append("cancelled; these are the best so far")
    for number, (ledger, pictures) in enumerate(zip(ledgers, found.kept, strict=True), 1):
        name = f"latent {number}, " if len(ledgers) > 1 else ""
        lines += [f"{name}seed {picture.recipe}: {_values(judge, picture.values)}" for picture in pictures]
        if len(ledger.pictures) > len(pictures):
            average = ledger.values.nanmean(0)
            lines.append(f"{name}all {len(ledger.pictures)} on average: {_values(judge, average)}")
        if judge.thresholds:
            passed = int(judge.passes(torch.stack([picture.values for picture in pictures])).sum())
            lines.append(f"{name}{passed} of {len(pictures)} reach {_thresholds(judge)}")
    return "\n".join([*lines, *verdict(ledgers)[0]])


def verdict(ledgers: Sequence[Ledger]) -> tuple[list[str], bool]:
    """What the choices did to the searched metrics and to the one set aside, in words, and whether that is alarming."""
    judge = ledgers[0].judge
    choosing = [ledger.gains() for ledger in ledgers if ledger.choices]
    if judge.check is None or not choosing:
        return [], False
    gains = torch.stack(choosing).mean(0)
    weights = torch.tensor(judge.weights, dtype=torch.float64)
    searched = (weights @ gains[:-1] / weights.abs().sum()).item()
    upwards = 1 if weights.sum() >= 0 else -1  # where worse pictures are searched, the one set aside should fall
    aside, name = upwards * gains[-1].item(), judge.check.entry.name
    moved = "rose" if upwards > 0 else "fell"
    if searched > 0 and aside < -TOLERANCE:
        other = "fell" if upwards > 0 else "rose"
        return [
            f"Careful: {' and '.join(judge.metrics[:-1])} {moved} by {searched:.1f} standard deviations, but {name}, "
            f"which was set aside, {other} by {-aside:.1f}: the kept pictures may please the searched metric alone."
        ], True
    return [f"{name}, which was set aside, {moved} with it, by {aside:.1f} standard deviations."
            if aside > TOLERANCE else f"{name}, which was set aside, stayed as it was."], False  # fmt: skip


def plot(found: Found, settings: Settings) -> Tensor:
    """The best so far by evaluations of the model, with the metric set aside, ``[1, H, W, 3]`` in 0…1."""
    judge, ledgers = found.ledgers[0].judge, found.ledgers
    alone = sum(weight != 0 for weight in judge.weights) == 1
    column = next(number for number, weight in enumerate(judge.weights) if weight)
    lines = []
    for number, ledger in enumerate(ledgers, 1):
        scores = ledger.values[:, column].double() if alone else judge.goodness(ledger.values)
        at, best = _best_so_far(ledger)
        points = [picture.evaluations for picture in ledger.pictures], scores.tolist()
        if alone:
            guesses = [(at, value) for at, values in ledger.predicted for value in values[:, column].tolist()]
            points = points[0] + [at for at, _ in guesses], points[1] + [value for _, value in guesses]
        label = "best so far" + (f", latent {number}" if len(ledgers) > 1 else "")
        lines.append(Line(label, at, scores[best].tolist(), points, steps=True))
    beside = None
    if judge.check is not None:
        at, best = _best_so_far(ledgers[0])
        aside = ledgers[0].values[best, -1].tolist()
        beside = Line(f"{judge.check.entry.name} of it", at, aside, kind="--", steps=True)
    said, alarm = verdict(ledgers)
    up = judge.metrics[column] if alone else "weighted sum of z-scores"
    title = said[0].partition(":")[2].strip() if alarm else settings.method
    return plot_scores(lines, "evaluations of the model", up, title, beside, alarm)


def _best_so_far(ledger: Ledger) -> tuple[list[int], list[int]]:
    """Evaluations, and the number of the picture that was the best then."""
    goodness = ledger.judge.goodness(ledger.values)
    best = [int(goodness[: count + 1].argmax()) for count in range(len(goodness))]
    return [picture.evaluations for picture in ledger.pictures], best


def _values(judge: Judge, values: Tensor) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in zip(judge.metrics, values.tolist(), strict=True))


def _thresholds(judge: Judge) -> str:
    return ", ".join(f"{name}={value:.4g}" for name, value in judge.thresholds.items())
