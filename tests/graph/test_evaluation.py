"""Evaluations from a plan's file to the report: resumed, extended, and by several processes the same."""

import pyarrow.parquet
import pytest
import torch
from evaluation_runs import PLAN, command, results

from iqa_adapter.evaluation import evaluate, experiments
from iqa_adapter.evaluation.cells import Store
from iqa_adapter.evaluation.experiment import Experiment, Result, Table, picture_rows
from iqa_adapter.figures.plots import chart
from iqa_adapter.quickstart import sampling
from iqa_adapter.quickstart.model import load_quickstart


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation")
    assert command(folder, PLAN) == 0
    return folder


def test_evaluation_reports_what_came_out_and_where_it_comes_from(done):
    report = done / "reports" / "plan"
    page, markdown = (report / "report.html").read_text(), (report / "README.md").read_text()
    numbers = results(done)["experiments"]
    assert numbers["response"]["numbers"]["score/quickstart_iqa/99 %"] == pytest.approx(
        numbers["response"]["numbers"]["score/quickstart_iqa/base"]
        * (1 + numbers["gain"]["numbers"]["score/quickstart_iqa"]), rel=1e-4,
    )  # fmt: skip
    for text in (page, markdown):
        assert "iqa.py evaluate" in text and "same direction" in text.replace("differs", "same direction")
        assert "2 steps of dpmpp_2m (karras)" in text and "(trained on)" in text and "rows/gain.parquet" in text
    assert page.count("src='data:image/png;base64,") == 2 and "http" not in page.split("</style>")[1]
    rows = pyarrow.parquet.read_table(report / "rows" / "response.parquet").to_pylist()
    assert {row["metric"] for row in rows} == {"quickstart_iqa", "colourfulness", "noise"}
    assert len(rows) == 3 * 3 * 4
    pictures = {path.stem[:16] for path in (done / "work" / "pictures").rglob("*.png")}
    assert {row["picture"] for row in rows} <= pictures
    one = next(path for path in (done / "work" / "pictures").rglob("*.png") if path.stem[:16] == rows[0]["picture"])
    made = Store(done / "work" / "pictures").facts(one.stem)
    assert made["sampling"]["steps"] == 2 and made["prompt"] and made["made with"]["torch"]


def test_evaluation_that_was_stopped_goes_on_and_gives_the_same(done, tmp_path, monkeypatch, capsys):
    write, left = Store.write, 7

    def interrupted(self, *arguments):
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return write(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", interrupted)
        assert command(tmp_path, PLAN) == 130
    assert "Start the same command again" in capsys.readouterr().out
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("*.png")}
    assert len(before) == 7 and command(tmp_path, PLAN) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert results(tmp_path) == results(done)
    assert (tmp_path / "reports" / "plan" / "response.png").read_bytes() == (
        done / "reports" / "plan" / "response.png"
    ).read_bytes()


def test_evaluation_samples_as_the_quickstart_is_sampled_elsewhere(done, monkeypatch):
    monkeypatch.setattr(sampling, "STEPS", 2)
    store = Store(done / "work" / "pictures")
    facts = {path.stem: store.facts(path.stem) for path in store.folder.rglob("*.png")}
    of_base = {name: made for name, made in facts.items() if "base" in made and "adapter" not in made}
    prompts, seeds = ([made[name] for made in of_base.values()] for name in ("prompt", "seed"))
    drawn = sampling.BatchSampler(*load_quickstart())(prompts, seeds)
    kept = torch.stack([store.read(name) for name in of_base])
    assert len(of_base) == 4 and (kept - drawn).abs().max() < 0.6 / 255


class Brightest(Experiment):
    """A new experiment: one file with a class like this, and its line in EXPERIMENTS."""

    title = "Brightest"
    question = "Which picture is brightest?"

    def wanted(self):
        return [(self.session.cells(), ["contrast"])]

    def result(self):
        values = self.session.values(self.session.cells(), "contrast")
        rows = picture_rows(self.session, self.session.cells(), ["contrast"], "base")
        figure = chart(lambda axes: axes[0].plot(values))
        table = Table(["picture", "contrast"], [[str(i), f"{value:.3f}"] for i, value in enumerate(values)])
        return Result(f"Picture {values.argmax()}.", [table], figure, "Contrast.", rows=rows)


def test_evaluation_takes_a_new_experiment_and_shares_its_pictures(done, monkeypatch):
    monkeypatch.setitem(experiments.EXPERIMENTS, "brightest", Brightest)
    before = set((done / "work" / "pictures").rglob("*.png"))
    assert command(done, {**PLAN, "experiments": ["brightest"]}, "new") == 0
    assert "Picture" in results(done, "new")["experiments"]["brightest"]["sentence"]
    assert set((done / "work" / "pictures").rglob("*.png")) == before


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"adapters": {"score": {"file": "missing"}}}, "There is no adapter missing in models/iqa_adapter/"),
        ({"base": "missing"}, "There is no checkpoint missing"),
        ({"metrics": ["topiq_mr"]}, "Unknown metric 'topiq_mr'"),
        ({"metrics": ["niqe"], "resize": "as is"}, "niqe needs pictures of at least 96 pixels|Weights of niqe"),
        ({"experiments": {"guidance": {"metric": "colourfulness"}}, "metrics": ["piqe"]}, "none of its experiments"),
        ({"experiments": {"guidance": {"metric": "entropy"}}, "metrics": ["entropy"]}, "entropy has no gradient"),
        ({"experiments": {"guidance": {"adapter": "other"}}}, "other is no score adapter; those of the plan are score"),
        ({"sampling": {"name": "eular"}}, "sampling.name must be one of euler"),
        ({"experiments": ["response"], "adapters": {"r": {"file": "quickstart_reference"}}}, "none of its experiments"),
    ],
)
def test_evaluation_says_what_is_missing_before_anything_is_sampled(tmp_path, capsys, changes, sentence):
    assert command(tmp_path, {**PLAN, **changes}) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and any(part in error for part in sentence.split("|")), error
    assert not list((tmp_path / "work").rglob("*.png"))


def test_evaluation_names_its_experiments():
    assert {"response", "gain", "features"} <= set(experiments.EXPERIMENTS) and evaluate.EXPERIMENTS


EVERYTHING = {
    **PLAN,
    "adapters": {**PLAN["adapters"], "reference": {"file": "quickstart_reference"}},
    "aesthetic_levels": [1, 99],
    "sampling": {"steps": 2, "cfg": 3, "batch": 16},
    "experiments": {
        "response": {},
        "gain": {},
        "preference": {},
        "content": {},
        "transfer": {"references": ["scenes"], "count": 4},
        "guidance": {"scales": [0.5, 2], "prompts": 1},
        "strength": {"strengths": [1, 2], "prompts": 1},
        "features": {"side": 64, "patches": 1},
    },
}


def test_evaluation_does_every_experiment(done):
    assert command(done, EVERYTHING, "all") == 0
    found = results(done, "all")["experiments"]
    assert set(found) == set(experiments.EXPERIMENTS) and all(each["sentence"] for each in found.values())
    folder = done / "reports" / "all"
    assert (
        {path.stem for path in folder.glob("*.png")}
        == {path.stem for path in (folder / "rows").iterdir()}
        == set(found)
    )
    share = found["preference"]["numbers"]
    wins = [share[f"quickstart_iqa/{name}"] for name in ("high", "medium", "low", "base")]
    assert sum(wins) == pytest.approx(2) and share["quickstart_iqa/high"] == max(wins)
