"""Figures in README.md and in the quickstart's model card: written from the results of evaluations, never by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..figures.curve import RHO
from ..files import shown, write_json, write_text
from ..pictures.distortions import KINDS
from ..quickstart.reader import ATTRIBUTES
from .report import RESULTS

ROOT = Path(__file__).resolve().parent.parent
REPORT = ROOT / "docs" / "evaluation"
CARD_RESULTS = REPORT / "card.json"
BEGIN, END = "<!-- evaluation: made by iqa.py evaluate -->", "<!-- end of evaluation -->"
SCORE, REFERENCE = "score", "reference"  # names of the adapters in the plans of the quickstart


class Page(NamedTuple):
    """A page that quotes results.

    Attributes:
        file: of the page.
        results: files of results; the first that is there is quoted.
        text: makes what stands between the page's markers.
    """

    file: Path
    results: tuple[Path, ...]
    text: Callable[[dict], str]

    def expected(self) -> str:
        """What should stand between the markers."""
        found = next(path for path in self.results if path.is_file())
        return self.text(json.loads(found.read_text(encoding="utf-8")))

    def written(self) -> str:
        """What stands there."""
        return self._parts()[1]

    def write(self) -> None:
        """Put what is expected between the markers."""
        before, _, after = self._parts()
        write_text(self.file, f"{before}{BEGIN}\n{self.expected()}\n{END}{after}")

    def _parts(self) -> tuple[str, str, str]:
        before, begin, rest = self.file.read_text(encoding="utf-8").partition(f"{BEGIN}\n")
        inside, end, after = rest.partition(f"\n{END}")
        if not begin or not end:
            raise ValueError(f"{shown(self.file)} lacks the lines {BEGIN} and {END}; put them where figures belong.")
        return before, inside, after


def publish(page: str, results: Path) -> None:
    """Let a page take its figures from a report.

    Args:
        page: ``readme`` or ``card``.
        results: the report's ``results.json``.

    Raises:
        ValueError: a page has no markers.
    """
    if page == "card":
        write_json(CARD_RESULTS, json.loads(results.read_text(encoding="utf-8")))
    for each in PAGES:
        each.write()


def readme_text(results: dict) -> str:
    """What came out of each experiment, a line each."""
    lines = [f"{results['pictures']} pictures for each request, of the embedded model (64 × 64 pixels):", ""]
    lines += ["| experiment | what came out |", "| --- | --- |"]
    for name, found in results["experiments"].items():
        lines.append(f"| [{name}](docs/evaluation/README.md) | {found['sentence']} |")
    return "\n".join(lines)


def card_text(results: dict) -> str:
    """Tables of the model card."""
    of = {name: found["numbers"] for name, found in results["experiments"].items()}
    plan, sampling = results["plan"], results["plan"]["sampling"]
    prompts = results["pictures"] // plan["seeds"]
    lines = [
        f"{results['pictures']} pictures per cell: {prompts} prompts of held-out combinations × {plan['seeds']} seeds; "
        f"{sampling['steps']} steps of {sampling['name']} ({sampling['scheduler']}), guidance {sampling['cfg']:g}.",
        "", "### Base model", "", f"- Attributes read as asked: {_attributes(of['content'], 'base')}.", "",
        f"### Score adapter, strength {plan['adapters'][SCORE]['strength']:g}", "",
        *_score_table(of, plan), "", *_score_lines(of, plan), "",
        f"### Reference adapter, strength {plan['adapters'][REFERENCE]['strength']:g}", "",
        *_reference_lines(of["transfer"], plan["experiments"]["transfer"]),
    ]  # fmt: skip
    return "\n".join(lines)


def _score_table(of: dict, plan: dict) -> list[str]:
    metrics = plan["metrics"]
    clean = [metric for metric in metrics if metric.startswith("clean/")]
    levels = [f"{level:g} %" for level in plan["levels"]]
    lines = [f"| requested | {' | '.join(metrics)} | mean gain |", "| --- " * (len(metrics) + 2) + "|"]
    base = {metric: of["response"][f"{SCORE}/{metric}/base"] for metric in metrics}
    rows = {"clean scenes": {metric: of["gain"][f"clean scenes/{metric}"] for metric in metrics}, "base": base}
    rows |= {level: {metric: of["response"][f"{SCORE}/{metric}/{level}"] for metric in metrics} for level in levels}
    for name, values in rows.items():
        gain = sum(values[metric] / base[metric] - 1 for metric in clean) / len(clean)
        lines.append(f"| {name} | {' | '.join(f'{values[metric]:.3f}' for metric in metrics)} | {gain:+.1%} |")
    return lines


def _score_lines(of: dict, plan: dict) -> list[str]:
    response, gain, content = of["response"], of["gain"], of["content"]
    best, quality = f"{plan['levels'][-1]:g} %", plan["metrics"][0]
    colours = [response[f"{SCORE}/colourfulness/aesthetics {level:g} %"] for level in plan["aesthetic_levels"]]
    rising = "rising at every step" if response[f"{SCORE}/{quality}/rising"] else "not rising at every step"
    asked = " and ".join(f"{level:g} %" for level in plan["aesthetic_levels"])
    return [
        f"- Mean gain at {best}: {gain[f'{SCORE}/mean of held out']:+.1%}, standard error "
        f"{gain[f'{SCORE}/mean of held out, error']:.1%}.",
        f"- Spearman's {RHO} of request and measured quality: {response[f'{SCORE}/{quality}/rho of means']:.2f} on "
        f"level means ({rising}), {response[f'{SCORE}/{quality}/rho']:.2f} on single pictures.",
        f"- Colourfulness at {asked} of its own axis: {' and '.join(f'{value:.1f}' for value in colours)}; base "
        f"{response[f'{SCORE}/colourfulness/base']:.1f}.",
        f"- Diversity over seeds at {best} relative to the base model: {content[f'{SCORE} {best}/diversity']:.3f}, "
        f"standard error {content[f'{SCORE} {best}/diversity, error']:.3f}.",
        f"- Attributes read as asked at {best}: {_attributes(content, f'{SCORE} {best}')}.",
    ]


def _attributes(content: dict, label: str) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {content[f'{label}/{name}']:.2f}" for name in ATTRIBUTES)


def _reference_lines(transfer: dict, options: dict) -> list[str]:
    columns = (
        ("recognised", "recognised"), ("in references", "recognised in references"),
        (f"{RHO}, severity 0.4 to 1", "rho, visible"), ("in references", "rho, visible, in references"),
        (f"{RHO}, 0 to 1", "rho"), ("in references", "rho in references"),
    )  # fmt: skip
    lines = []
    for source in options["references"]:
        label = f"{REFERENCE}, {source}"
        lines += [f"References: {options['count']} {source} for each kind, one severity each, even over 0 to 1.", ""]
        lines += [f"| reference | {' | '.join(title for title, _ in columns)} |", "| --- " * (len(columns) + 1) + "|"]
        for kind in (*KINDS, "mean"):
            place = label if kind == "mean" else f"{label}/{kind}"
            values = (transfer[f"{place}/{name}"] for _, name in columns)
            lines.append(
                f"| {kind.replace('_', ' ')} | " + " | ".join("" if v is None else f"{v:.2f}" for v in values) + " |"
            )
        lines += ["", f"- Prompt's attributes read as asked: {transfer[f'{label}/content/asked']:.3f}; base model "
                      f"{transfer[f'{label}/content/base']:.3f}."]  # fmt: skip
        if f"{label}/content/leaked" in transfer:
            leaked, chance = (transfer[f"{label}/content/{name}"] for name in ("leaked", "chance"))
            lines.append(f"- Reference's own attributes read: {leaked:.3f}; those of another reference {chance:.3f}.")
        lines.append("")
    return lines[:-1]


PAGES = (
    Page(ROOT / "README.md", (REPORT / RESULTS,), readme_text),
    Page(ROOT / "quickstart" / "MODEL_CARD.md", (CARD_RESULTS, REPORT / RESULTS), card_text),
)
