"""Figures in README.md and in the model card are those of the results, and the results those of the present weights."""

import json

import pytest

from iqa_adapter.evaluation import pages
from iqa_adapter.evaluation.adapters import AdapterUnderTest
from iqa_adapter.evaluation.base import Base
from iqa_adapter.evaluation.plan import PLANS, QUICKSTART_PLAN, Sampling, read_plan
from iqa_adapter.evaluation.report import RESULTS
from iqa_adapter.quickstart.model import load_quickstart

REPORT = [path for path in (pages.REPORT / RESULTS, pages.CARD_RESULTS) if path.is_file()]
LARGEST = 3 * 10**6  # bytes of docs/evaluation


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.file.stem)
def test_figures_of_a_page_are_those_of_the_results(page):
    assert page.written() == page.expected(), (
        f"{page.file.name} has other figures than {page.results}. Run `make evaluate`; figures are not edited by hand."
    )


@pytest.fixture(scope="module")
def present():
    """Digests of what is in the repository now."""
    plan = read_plan(QUICKSTART_PLAN)
    adapters = {f"adapter {name}": AdapterUnderTest(name, choice).digest for name, choice in plan.adapters.items()}
    return {"base": Base("quickstart", Sampling(), {"quickstart": load_quickstart}).digest, **adapters}


@pytest.mark.parametrize("file", REPORT, ids=lambda file: file.stem)
def test_results_are_those_of_the_present_weights_and_plan(file, present):
    digests = json.loads(file.read_text(encoding="utf-8"))["digests"]
    plan = PLANS / ("quickstart_full.yaml" if file == pages.CARD_RESULTS else QUICKSTART_PLAN.name)
    assert digests == {"plan": read_plan(plan).digest, **present}, (
        f"{file.name} was made of other weights or another plan; run `python iqa.py evaluate {plan.name}` again."
    )


def test_the_report_is_whole_and_small():
    report = pages.REPORT
    names = json.loads((report / RESULTS).read_text(encoding="utf-8"))["experiments"]
    for name in names:
        assert (report / f"{name}.png").is_file() and (report / "rows" / f"{name}.parquet").is_file()
    assert sum(path.stat().st_size for path in report.rglob("*") if path.is_file()) < LARGEST
    page = (report / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64") == len(names) and "src='http" not in page


def test_only_what_is_between_the_markers_is_written(tmp_path):
    file, results = tmp_path / "page.md", tmp_path / "results.json"
    results.write_text('{"n": 3}')
    page = pages.Page(file, (tmp_path / "none.json", results), lambda found: f"{found['n']} pictures")
    file.write_text(f"before {pages.BEGIN}\nold\nlines\n{pages.END} after\n")
    assert page.written() == "old\nlines" and page.expected() == "3 pictures"
    page.write()
    assert file.read_text() == f"before {pages.BEGIN}\n3 pictures\n{pages.END} after\n"
    file.write_text("no markers")
    with pytest.raises(ValueError, match=r"page\.md lacks the lines"):
        page.write()
