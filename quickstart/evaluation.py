"""What the quickstart's adapters do, measured on held-out prompts and seeds, as the tables of the model card."""

from __future__ import annotations

from pathlib import Path

from .evaluation_reference import evaluate_reference
from .evaluation_score import evaluate_score
from .evaluation_world import SEEDS_PER_PROMPT, World, words
from .generation import CFG, SAMPLER, SCHEDULER, STEPS

CARD = Path(__file__).parent / "MODEL_CARD.md"
BEGIN, END = "<!-- evaluation -->", "<!-- end of evaluation -->"


def evaluate(world: World) -> str:
    """All tables in Markdown."""
    base, prompts = world.cell("base"), world.pictures // SEEDS_PER_PROMPT
    lines = [
        f"{world.pictures} pictures per cell: {prompts} prompts of held-out combinations × {SEEDS_PER_PROMPT} seeds; "
        f"{STEPS} steps of {SAMPLER} ({SCHEDULER}), guidance {CFG:g}.",
        "",
        "### Base model",
        "",
        f"- Attributes read as asked: {words(world.read_as_asked(base))}.",
        "",
        *evaluate_score(world, base),
        "",
        *evaluate_reference(world, base),
    ]
    return "\n".join(lines)


def write_into_card(text: str) -> None:
    """Replace what stands between the card's markers."""
    card = CARD.read_text()
    before, rest = card.split(BEGIN)
    after = rest.split(END)[1]
    temporary = CARD.with_suffix(".part")
    temporary.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
    temporary.replace(CARD)
