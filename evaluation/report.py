"""The report of an evaluation: one HTML file that holds everything, the same in Markdown, and the rows behind it."""

from __future__ import annotations

import base64
import html
import importlib.metadata
import os
import platform
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from ..files import shown, write_json, write_text, written_whole
from ..optional import needed
from .experiment import Experiment, Result, Table
from .session import Session, made_with

RESULTS = "results.json"
PACKAGES = ("torch", "numpy", "scipy", "kornia", "pyiqa", "timm")  # whose version may move a number
STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}
table{border-collapse:collapse;font-size:.85rem;display:block;overflow-x:auto;margin:1rem 0}
td,th{border:1px solid #ccc;padding:.25rem .5rem;text-align:right}td:first-child,th:first-child{text-align:left}
img{max-width:100%;height:auto}.said{font-size:1.1rem}.paper{background:#eef4fa;padding:.5rem 1rem}
figcaption,.note{color:#555;font-size:.9rem}code{background:#f2f2f2;padding:0 .2rem}"""


class Report:
    """What came out of a plan.

    Args:
        experiments, results: by name.
        left_out: why an experiment was not done.
        plan: its file.
    """

    def __init__(
        self,
        session: Session,
        experiments: Mapping[str, Experiment],
        results: Mapping[str, Result],
        left_out: Mapping[str, str],
        plan: Path,
    ):
        self.session, self.experiments, self.results, self.left_out = session, experiments, results, left_out
        self.plan = plan

    def write(self, folder: Path) -> Path:
        """``report.html``, ``README.md`` with ``NAME.png``, ``rows/NAME.parquet`` and ``results.json``.

        Returns:
            The HTML file.

        Raises:
            OSError: one of them cannot be written.
        """
        for name, result in self.results.items():
            write_rows(folder / "rows" / f"{name}.parquet", result.rows)
            with written_whole(folder / f"{name}.png") as file:
                file.write_bytes(result.figure)
        write_json(folder / RESULTS, self._results())
        write_text(folder / "README.md", self.markdown())
        write_text(folder / "report.html", self.html())
        return folder / "report.html"

    def markdown(self) -> str:
        """For pages that show Markdown; its pictures lie beside it."""
        parts = [
            f"# {self._title()}",
            "",
            *(line for fact in self._facts() for line in (fact, "")),
            *(f"- {line}" for line in self._summary()),
            "",
        ]
        for name, result in self.results.items():
            experiment = self.experiments[name]
            parts += [f"## {experiment.title}", "", f"*{experiment.question}*", "", result.sentence, ""]
            parts += [f"![{experiment.title}]({name}.png)", "", f"<sub>{result.caption}</sub>", ""]
            parts += [result.paper, ""] if result.paper else []
            for table in result.tables:
                parts += [*table.markdown(), ""]
            parts += [*(f"- {note}" for note in result.notes)]
            parts += [f"- Every picture and number behind it: [rows/{name}.parquet](rows/{name}.parquet).", ""]
        return "\n".join(parts)

    def html(self) -> str:
        """Self-contained: style and pictures are in it."""
        title, escape = html.escape(self._title()), html.escape
        parts = [f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{title}</title><style>{STYLE}</style>"]
        parts += [f"<h1>{title}</h1>", *(f"<p>{_code(line)}</p>" for line in self._facts()), "<ul>"]
        parts += [*(f"<li>{_code(line)}</li>" for line in self._summary()), "</ul>"]
        for name, result in self.results.items():
            experiment = self.experiments[name]
            picture = base64.b64encode(result.figure).decode()
            parts += [f"<h2 id='{name}'>{escape(experiment.title)}</h2><p><em>{escape(experiment.question)}</em></p>"]
            parts += [f"<p class='said'>{escape(result.sentence)}</p>"]
            parts += [f"<figure><a href='rows/{name}.parquet'><img alt='{escape(experiment.title)}' "
                      f"src='data:image/png;base64,{picture}'></a><figcaption>{escape(result.caption)} "
                      f"<a href='rows/{name}.parquet'>Rows behind it</a>.</figcaption></figure>"]  # fmt: skip
            parts += [f"<p class='paper'>{escape(result.paper)}</p>"] if result.paper else []
            parts += [_html(table) for table in result.tables]
            parts += [f"<p class='note'>{escape(note)}</p>" for note in result.notes]
        return "\n".join([*parts, "</html>", ""])

    def _title(self) -> str:
        adapters = ", ".join(self.session.adapters)
        return f"Evaluation of {shown(self.session.plan.base)} with {adapters}"

    def _facts(self) -> list[str]:
        """Command, sampling, versions and hardware."""
        plan, sampling, base = self.session.plan, self.session.plan.sampling, self.session.base
        pictures = len(self.session.prompts) * plan.seeds
        versions = {**made_with(), "Python": platform.python_version(), **_versions()}
        adapters = (
            f"{name} ({shown(Path(choice.file).name)}, strength {choice.strength:g})"
            for name, choice in plan.adapters.items()
        )
        return [
            f"Made by `python iqa.py evaluate {shown(_relative(self.plan))}`; the same command on the same machine "
            "gives the same numbers.",
            f"{pictures} pictures for each request: {len(self.session.prompts)} prompts ({shown(plan.prompts)}) × "
            f"{plan.seeds} seeds (1000 · prompt + 0 to {plan.seeds - 1}); {base.size[1]}×{base.size[0]} pixels, "
            f"{sampling.steps} steps of {sampling.name} ({sampling.scheduler}), guidance {sampling.cfg:g}. Adapters: "
            f"{', '.join(adapters)}. Intervals are of 95 %, by bootstrap over prompts.",
            ", ".join(f"{name} {version}" for name, version in versions.items()) + ".",
        ]

    def _summary(self) -> list[str]:
        said = [f"**{self.experiments[name].title}.** {result.sentence}" for name, result in self.results.items()]
        said += [f"Left out: {name}, for {reason}." for name, reason in self.left_out.items()]
        return [*said, *dict.fromkeys(self.session.notes), *self._missing()]

    def _missing(self) -> list[str]:
        """How many numbers are missing."""
        values = [row for result in self.results.values() for row in result.rows if not np.isfinite(row["value"])]
        counted: dict[str, set] = {}
        for row in values:
            counted.setdefault(row["metric"], set()).add(row["picture"])
        return [f"{metric} has no number for {len(pictures)} pictures." for metric, pictures in counted.items()]

    def _results(self) -> dict:
        session = self.session
        return {
            "plan": session.plan.model_dump(mode="json"),
            "digests": {
                "plan": session.plan.digest,
                "base": session.base.digest,
                **{f"adapter {name}": adapter.digest for name, adapter in session.adapters.items()},
            },
            "pictures": len(session.prompts) * session.plan.seeds,
            "made with": {**made_with(), **_versions()},
            "experiments": {
                name: {"sentence": result.sentence, "paper": result.paper, "numbers": _plain(result.numbers)}
                for name, result in self.results.items()
            },
        }


def write_rows(file: Path, rows: list[dict]) -> None:
    """A Parquet file with a row for each picture and metric."""
    with needed("pyarrow"):
        import pyarrow
        import pyarrow.parquet
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = pyarrow.table({name: [row.get(name) for row in rows] for name in columns})
    with written_whole(file) as temporary:
        pyarrow.parquet.write_table(table, temporary, compression="zstd")


def _html(table: Table) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in table.header)
    rows = "".join("<tr>" + "".join(f"<td>{html.escape(entry)}</td>" for entry in row) + "</tr>" for row in table.rows)
    title = f"<h3>{html.escape(table.title)}</h3>" if table.title else ""
    return f"{title}<table><tr>{head}</tr>{rows}</table>"


def _code(line: str) -> str:
    """Markdown's bold and code as HTML."""
    parts = html.escape(line).split("`")
    text = "".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts))
    bold = text.split("**")
    return "".join(f"<b>{part}</b>" if place % 2 else part for place, part in enumerate(bold))


def _plain(numbers: Mapping[str, float]) -> dict[str, float | None]:
    """JSON has no NaN."""
    return {name: float(f"{value:.6g}") if np.isfinite(value) else None for name, value in numbers.items()}


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES[1:]:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found | (
        {"GPU": torch.cuda.get_device_name()}
        if torch.cuda.is_available()
        else {"threads": str(torch.get_num_threads())}
    )


def _relative(path: Path) -> str:
    near = os.path.relpath(path)
    return str(path) if near.startswith("..") else Path(near).as_posix()
