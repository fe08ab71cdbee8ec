"""What the quickstart's adapters do, measured on held-out prompts and seeds, as the tables of the model card."""

from __future__ import annotations

from pathlib import Path

from ..files import write_text
from ..quickstart.model import WEIGHTS
from ..quickstart.sampling import CFG, SAMPLER, SCHEDULER, STEPS
from .cells import SEEDS_PER_PROMPT, Evaluation, listed
from .reference_adapter import evaluate_reference
from .score_adapter import evaluate_score

CARD = WEIGHTS.parent / "MODEL_CARD.md"
BEGIN, END = "<!-- evaluation -->", "<!-- end of evaluation -->"


def evaluate(weights: Path | None, pictures: int, work: Path) -> str:
    """All tables in Markdown.

    Args:
        weights: folder of the quickstart's weights; None for the pack's own.
        pictures: per cell, a multiple of ``SEEDS_PER_PROMPT``.
        work: keeps the pictures.
    """
    evaluation = Evaluation(weights or WEIGHTS, pictures, work)
    base, prompts = evaluation.cell("base"), pictures // SEEDS_PER_PROMPT
    lines = [
        f"{pictures} pictures per cell: {prompts} prompts of held-out combinations × {SEEDS_PER_PROMPT} seeds; "
        f"{STEPS} steps of {SAMPLER} ({SCHEDULER}), guidance {CFG:g}.",
        "",
        "### Base model",
        "",
        f"- Attributes read as asked: {listed(evaluation.read_as_asked(base))}.",
        "",
        *evaluate_score(evaluation, base),
        "",
        *evaluate_reference(evaluation, base),
    ]
    return "\n".join(lines)


def write_into_card(text: str) -> None:
    """Replace what stands between the card's markers."""
    card = CARD.read_text(encoding="utf-8")
    before, rest = card.split(BEGIN)
    after = rest.split(END)[1]
    write_text(CARD, f"{before}{BEGIN}\n{text}\n{END}{after}")
