"""``python iqa.py evaluate plan.yaml``: pictures, measures, experiments and their report, resumed where it was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..files import shown
from ..training.processes import in_main, processes
from .base import Embedded
from .comparing import CLEAN
from .estimate import estimate
from .experiment import Experiment, Result
from .experiments import EXPERIMENTS
from .plan import Plan, checked, read_plan
from .report import Report
from .session import Session


def evaluate(file: Path, work: Path, folder: Path | None, embedded: Embedded) -> Path | None:
    """Carry out a plan.

    Args:
        file: the plan.
        work: keeps pictures and scores; shared by plans.
        folder: of the report; None for one in ``work``, named as the plan.
        embedded: base models beside those of files.

    Returns:
        The report's HTML file, in the main process; None in others.

    Raises:
        FileNotFoundError, ValueError: the plan is wrong, or something that it names is missing; before any sampling.
        OSError: something cannot be written; all that was made before is kept.
    """
    session, doing, left_out = _prepared(file, work, embedded)
    plan = session.plan
    for adapter in session.adapters.values():
        adapter.check_fit(session.base.models.model)
    _check(session, [metric.removeprefix(CLEAN) for metric in plan.metrics])
    for each in doing.values():
        each.check()
    wanted = [need for each in doing.values() for need in each.wanted()]
    _check(session, [name for _, names in wanted for name in names])
    session.draw([cell for cells, _ in wanted for cell in cells])
    _wait()
    session.score(wanted)
    _wait()
    session.others_have_written()
    return in_main(lambda: _report(session, doing, left_out, file, folder or work / "reports" / file.stem))


def estimated(file: Path, work: Path, embedded: Embedded) -> str:
    """What a plan takes on one GPU, in words; needs its adapters, but neither base model nor IQA models."""
    session, doing, _ = _prepared(file, work, embedded, counts_only=True)
    return estimate(session, [need for each in doing.values() for need in each.wanted()])


def _prepared(
    file: Path, work: Path, embedded: Embedded, counts_only: bool = False
) -> tuple[Session, dict[str, Experiment], dict[str, str]]:
    """The session, the experiments that can be done, and why others cannot."""
    plan = read_plan(file)
    chosen = kinds(plan, file.name)
    session = Session(plan, file.parent, work, embedded, counts_only)
    experiments = {name: kind(session, options) for name, (kind, options) in chosen.items()}
    left_out = {name: reason for name, each in experiments.items() if (reason := each.why_not())}
    doing = {name: each for name, each in experiments.items() if name not in left_out}
    if not doing:
        raise ValueError(f"{file.name}: none of its experiments can be done: {'; '.join(left_out.values())}.")
    return session, doing, left_out


def kinds(plan: Plan, origin: str) -> dict[str, tuple[type[Experiment], object]]:
    """The plan's experiments with their settings.

    Raises:
        ValueError: an experiment, or a setting of one, is unknown.
    """
    for name in plan.experiments:
        if name not in EXPERIMENTS:
            raise ValueError(f"{origin}: unknown experiment {shown(repr(name))}; known are {', '.join(EXPERIMENTS)}.")
    return {
        name: (EXPERIMENTS[name], checked(EXPERIMENTS[name].Options, given, f"{origin}, experiments.{name}"))
        for name, given in plan.experiments.items()
    }


def _check(session: Session, measures: Sequence[str]) -> None:
    """Load base model and measures, so that what is missing is said before hours of sampling."""
    smallest = min(session.base.size)
    for name in dict.fromkeys(measures):
        if smallest < (needed := session.measure(name).least_side):
            raise ValueError(
                f"{name} needs pictures of at least {needed} pixels on each side, but these have {smallest}; leave it "
                "out of metrics, or set resize to 512."
            )


def _report(session: Session, doing: dict[str, Experiment], left_out: dict[str, str], plan: Path, folder: Path) -> Path:
    results: dict[str, Result] = {name: each.result() for name, each in doing.items()}
    return Report(session, doing, results, left_out, plan).write(folder)


def _wait() -> None:
    """For the other processes."""
    processes().wait_for_everyone()
