"""Pairs of the quickstart's pictures to vote on: one prompt, one seed, one step of sampling."""

from __future__ import annotations

from pathlib import Path

from iqa_adapter.evaluation.contenders import contenders, first_score_adapter
from iqa_adapter.evaluation.plan import Plan
from iqa_adapter.evaluation.session import Session
from iqa_adapter.evaluation.voting import Ballot
from iqa_adapter.quickstart.model import load_quickstart

PLAN = {
    "base": "quickstart",
    "prompts": "held-out",
    "prompt_count": 1,
    "seeds": 1,
    "adapters": {"score": {"file": "quickstart_score"}},
    "metrics": ["quickstart_iqa"],
    "sampling": {"steps": 1},
    "experiments": ["preference"],
}


def ballot(work: Path) -> Ballot:
    """Six pairs, of four pictures, which are sampled where they are not there."""
    session = Session(Plan.model_validate(PLAN), Path(), work, {"quickstart": load_quickstart})
    session.draw([cell for cells in contenders(session, first_score_adapter(session)).values() for cell in cells])
    return Ballot(session)
