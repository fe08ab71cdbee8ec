"""Evaluations of the quickstart with few and hasty pictures."""

from __future__ import annotations

import argparse
import json
import signal
from pathlib import Path

import yaml

from iqa_adapter.evaluation.command_line import run
from iqa_adapter.quickstart.model import load_quickstart

PLAN = {
    "base": "quickstart",
    "prompts": "held-out",
    "prompt_count": 2,
    "seeds": 2,
    "adapters": {"score": {"file": "quickstart_score", "strength": 1.25}},
    "metrics": ["quickstart_iqa", "colourfulness", "clean/noise"],
    "levels": [1, 99],
    "aesthetics": 50,
    "sampling": {"steps": 2, "cfg": 3, "batch": 4},
    "experiments": ["response", "gain"],
}


def command(folder: Path, plan: dict, name: str = "plan", work: str = "work", embedded: dict | None = None) -> int:
    """``iqa.py evaluate`` in this process, which keeps its own handler of signals; its exit status."""
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(plan))
    facts = {"plan": file, "work": folder / work, "report": folder / "reports" / name}
    options = argparse.Namespace(command="evaluate", estimate=False, publish=None, **facts)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        return run(options, embedded or {"quickstart": load_quickstart})
    finally:
        signal.signal(signal.SIGTERM, handler)


def results(folder: Path, name: str = "plan") -> dict:
    """What an evaluation has written."""
    return json.loads((folder / "reports" / name / "results.json").read_text())
