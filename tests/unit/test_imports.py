"""Where a package is missing, the pack loads, and only the nodes that need it fail, with a sentence."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from iqa_adapter.optional import INSTALL, needed

PROCESS = Path(__file__).resolve().parents[1] / "imports_process.py"
NEEDED_BY = {  # uses of imports_process.py that fail without it
    "pyiqa": {"piqe"},
    "matplotlib": {"curve", "train"},
    "accelerate": {"table"},
    "pyarrow": {"table"},
    "scipy": {"curve", "piqe"},
    "kornia": {"distorted"},
    "skimage": {"photo"},
}
ALL = ",".join(NEEDED_BY)
NOT_OF_PIQE = "matplotlib,accelerate,pyarrow,kornia,timm,clip,facexlib,pkg_resources,bitsandbytes,datasets"

STOOD_IN_FOR = "facexlib,pkg_resources,transformers,datasets:topiq,clipiqa"
NO_TIMM = "timm:topiq"


@pytest.fixture(scope="module")
def reports():
    """What imports_process.py says, by the packages that were hidden."""
    arguments = ["none", *NEEDED_BY, ALL, NOT_OF_PIQE, STOOD_IN_FOR, NO_TIMM]
    done = subprocess.run([sys.executable, PROCESS, *arguments], capture_output=True, text=True, timeout=300)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(lines) == len(arguments), done.stderr[-3000:]
    return dict(zip(arguments, lines, strict=True))


def failed(report):
    return {name: outcome for name, outcome in report["outcomes"].items() if "not installed" in outcome}


def test_with_everything_there_all_uses_run(reports):
    outcomes = reports["none"]["outcomes"]
    assert {name for name, outcome in outcomes.items() if outcome != "runs"} == {"train"}
    assert failed(reports["none"]) == {}


def test_loading_the_pack_imports_nothing_that_comfyui_does_not(reports):
    optional = {"pyiqa", "matplotlib", "accelerate", "pyarrow", "kornia", "pandas", "cv2", "timm", "clip", "skimage"}
    assert optional & set(reports["none"]["imported"]) == set()


@pytest.mark.parametrize("package", NEEDED_BY)
def test_a_missing_package_takes_down_only_what_needs_it(reports, package):
    report = reports[package]
    assert report["loaded"] and report["nodes"] == reports["none"]["nodes"]
    assert set(failed(report)) == NEEDED_BY[package]
    for outcome in failed(report).values():
        assert outcome.startswith(f"ImportError: {package}") and str(INSTALL) in outcome


def test_without_any_of_them_adapters_and_the_quickstart_work(reports):
    assert reports[ALL]["loaded"] and reports[ALL]["nodes"] == reports["none"]["nodes"]
    runs = {name for name, outcome in reports[ALL]["outcomes"].items() if outcome == "runs"}
    assert runs == {"adapter", "quickstart", "clean", "own", "scores"}


def test_pyiqa_is_not_asked_for_packages_that_a_metric_does_not_use(reports):
    assert reports[NOT_OF_PIQE]["outcomes"]["piqe"] == "runs"


def test_learned_metrics_do_without_packages_that_pyiqa_names_and_never_uses(reports):
    assert reports[STOOD_IN_FOR]["outcomes"] == {"topiq": "runs", "clipiqa": "runs"}


def test_a_missing_backbone_library_is_named(reports):
    assert "timm, which pyiqa needs, is not installed" in reports[NO_TIMM]["outcomes"]["topiq"]


def test_a_package_that_is_needed_by_the_package_is_named():
    sentence = r"^nowhere, which pyiqa needs, is not installed\. .*install\.py"
    with pytest.raises(ImportError, match=sentence), needed("pyiqa"):
        import nowhere  # noqa: F401


def test_a_broken_package_says_what_is_wrong(tmp_path, monkeypatch):
    (tmp_path / "brokenpackage.py").write_text("raise AttributeError('_ARRAY_API not found')")
    monkeypatch.syspath_prepend(tmp_path)
    sentence = r"^brokenpackage is installed but cannot be imported \(AttributeError: _ARRAY_API .*install\.py"
    with pytest.raises(ImportError, match=sentence), needed("brokenpackage"):
        import brokenpackage  # noqa: F401


@pytest.mark.parametrize("version, is_safe", [("0.17.1", False), ("14.0.0", False), ("14.0.1", True), ("26.0.1", True)])
def test_a_package_that_runs_code_of_files_is_refused(monkeypatch, version, is_safe):
    import pyarrow

    monkeypatch.setattr(pyarrow, "__version__", version)
    expected = contextlib.nullcontext() if is_safe else pytest.raises(ImportError, match=f"pyarrow {version} runs code")
    with expected, needed("pyarrow"):
        import pyarrow.parquet
