"""What the registry ships: whatever shipped files import, nothing of development, and a description it takes."""

import ast
import io
import re
import sys
from pathlib import PurePosixPath

import pytest
import scan
from archive import ROOT, shipped
from PIL import Image

import iqa
from commands import arguments, convert

SHIPPED = shipped()
SOURCES = [path for path in SHIPPED if path.endswith(".py")]
MODULES = {path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in SOURCES}
NOT_SHIPPED = {f"commands/{name}.py": folder.replace("/", ".") for name, folder in arguments.OF_THE_REPOSITORY.items()}


def own(name: str) -> bool:
    """Whether a module of that name is in the repository."""
    path = ROOT / name.replace(".", "/")
    return bool(name) and (path.with_suffix(".py").is_file() or (path / "__init__.py").is_file())


def imported_by(path: str) -> set[str]:
    """Modules of the repository that a file imports, by dotted path."""
    package = list(PurePosixPath(path).parent.parts)
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = [*above, *(node.module.split(".") if node.module else [])]
            found |= {".".join(base), *(".".join([*base, alias.name]) for alias in node.names)}
    return {name for name in (name.removeprefix("iqa_adapter.") for name in found) if own(name)}


@pytest.mark.parametrize("path", SOURCES)
def test_what_is_imported_is_shipped(path):
    missing = imported_by(path) - MODULES
    assert {name for name in missing if not name.startswith(NOT_SHIPPED.get(path, "nothing"))} == set()


def test_imports_are_found():
    assert {"comfyui_runtime", "quickstart.demo"} <= imported_by("commands/demo.py")
    assert "quickstart.making.build" in imported_by("commands/build.py")
    assert "files" in imported_by("figures/grid.py") and "nodes" in imported_by("__init__.py")


def test_nothing_of_development_is_shipped():
    rooms = {path.split("/")[0] for path in SHIPPED}
    assert not rooms & {"tests", "benchmarks", "documentation", ".ci", ".github", "Makefile", "requirements-dev.txt"}
    assert not [path for path in SHIPPED if path.startswith("quickstart/making/")]
    assert {path for path in SHIPPED if path.startswith("docs/")} == {"docs/recipe.md"}


DATA = [
    "evaluation/plans",
    "locales",
    "web",
    "workflows",
    "subgraphs",
    "quickstart/weights",
    "training/examples",
    "quality/data",
    "iqa_models/data",
]


CALIBRATION = [".calibration", ".json"]


@pytest.mark.parametrize("room", DATA)
def test_data_is_shipped_whole(room):
    """But for calibrations, which users' workflows keep beside the adapters that come with the pack."""
    files = [path for path in (ROOT / room).rglob("*") if path.is_file() and path.suffixes[-2:] != CALIBRATION]
    there = {path.relative_to(ROOT).as_posix() for path in files}
    assert there and there <= set(SHIPPED)


def test_commands_without_their_code_are_not_offered(monkeypatch, capsys):
    monkeypatch.setattr(arguments, "OF_THE_REPOSITORY", {"build": "quickstart/nowhere"})
    with pytest.raises(SystemExit):
        iqa.main(["build"])
    assert "invalid choice: 'build'" in capsys.readouterr().err


@pytest.mark.parametrize("path", [path.relative_to(ROOT).as_posix() for path in ROOT.glob("*/**/*.py")
                                  if not path.relative_to(ROOT).parts[0].startswith(".")])  # fmt: skip
def test_sources_are_readable_with_the_code_page_of_windows(path):
    (ROOT / path).read_text(encoding="utf-8").encode("cp1252")


# What comfy-test forbids: weights that ComfyUI does not move and cast
NOT_MANAGED = re.compile(
    r"(?<![\w.])(?:torch\.)?nn\.(?:Linear|Conv[123]d|ConvTranspose[12]d|LayerNorm|GroupNorm|Embedding)\s*\("
    r"|torch\.(?:cuda\.)?(?:amp\.)?autocast\b|\.cuda\s*\(|\.to\s*\(\s*(?:torch\.device\s*\(\s*)?[\"']cuda"
)
DECIDED = {  # docs/architecture.md says why
    "adapter/projection.py": 3,
    "iqa_models/pyiqa_nets.py": 1,
    "iqa_models/small_nima.py": 1,
    "quickstart/precision.py": 1,
    "quickstart/reader.py": 3,
}


def test_weights_that_comfyui_does_not_manage_are_decided_upon():
    lines = {path: (ROOT / path).read_text(encoding="utf-8").splitlines() for path in SOURCES}
    found = {path: sum(bool(NOT_MANAGED.search(line)) for line in code) for path, code in lines.items()}
    assert {path: count for path, count in found.items() if count} == DECIDED
    assert NOT_MANAGED.search("torch.nn.Linear(1, 2)") and not NOT_MANAGED.search("comfy.ops.nn.Linear(1, 2)")


def test_what_the_code_page_lacks_is_printed_escaped(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(convert, "run", lambda options: print(options.source))
    assert iqa.main(["convert", "\u03c1.bin", "target.safetensors"]) == 0
    stream.flush()
    assert stream.buffer.getvalue().strip() == b"\\u03c1.bin"


def test_the_description_is_one_that_the_registry_takes():
    tomllib = pytest.importorskip("tomllib")  # Python 3.11
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project, comfy = table["project"], table["tool"]["comfy"]
    assert re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", project["name"]) and "comfyui" not in project["name"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", project["version"])
    assert re.fullmatch(r">=\d+\.\d+\.\d+", comfy["requires-comfyui"])
    assert comfy["PublisherId"] and comfy["DisplayName"]
    assert all(address.startswith("https://") for address in project["urls"].values())
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest.group(1) == project["version"]


@pytest.mark.parametrize("name", ["icon", "banner"])
def test_icon_and_banner_are_as_small_as_the_registry_wants_them(name):
    path = ROOT / "docs" / "images" / f"{name}.png"
    with Image.open(path) as picture:
        assert picture.width <= 800 and picture.height <= 400
    assert path.stat().st_size < 250_000


def test_what_scanners_of_code_find_is_explained():
    """Each pattern of high severity with each of its files stands in a table of docs/reliability.md."""
    pytest.importorskip("bandit")
    pytest.importorskip("nodesafe")
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    for pattern, file in sorted(scan.findings()):
        assert any(f"`{pattern}`" in row and f"`{file}`" in row for row in rows), (
            f"{pattern} in {file} is not explained"
        )


@pytest.mark.parametrize("path", SOURCES)
def test_no_file_adds_an_http_route(path):
    text = (ROOT / path).read_text(encoding="utf-8")
    assert not re.search(r"\.routes\b|\.add_(route|get|post|static)\b|\baiohttp\b", text)
