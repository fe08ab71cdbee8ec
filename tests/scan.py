"""The pack as users get it, beside scanners of code: ``python tests/scan.py`` with bandit and nodesafe installed.

Prints what they find of high severity, by pattern and file. Every one is explained in docs/reliability.md.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import archive

LAYERS = "0,1,2,3,5"  # of nodesafe; the one left out asks a server about packages


def findings() -> set[tuple[str, str]]:
    """Pattern and file of everything of high severity."""
    with tempfile.TemporaryDirectory() as folder:
        archive.make(Path(folder) / "pack.zip")
        with zipfile.ZipFile(Path(folder) / "pack.zip") as packed:
            packed.extractall(Path(folder) / "pack")
        return _bandit(Path(folder) / "pack") | _nodesafe(Path(folder) / "pack")


def _bandit(pack: Path) -> set[tuple[str, str]]:
    command = [sys.executable, "-m", "bandit", "-q", "-r", ".", "-f", "json", "--severity-level", "high"]
    report = subprocess.run(command, cwd=pack, capture_output=True, text=True, check=False).stdout
    return {(found["test_name"], found["filename"].removeprefix("./")) for found in json.loads(report)["results"]}


def _nodesafe(pack: Path) -> set[tuple[str, str]]:
    command = [sys.executable, "-c", "from nodesafe.cli import main; main()", "scan", ".", "--format", "json"]
    done = subprocess.run([*command, "--layers", LAYERS], cwd=pack, capture_output=True, text=True, check=False)
    high = [found for found in json.loads(done.stdout)["findings"] if found["severity"].lower() in ("high", "critical")]
    return {(_pattern(found), found["file"]) for found in high}


def _pattern(found: dict) -> str:
    """`subprocess.run` of "pattern `subprocess.run` matched" and "Call to `subprocess.run()`"."""
    return found["title"].split("`")[1].rstrip("()")


if __name__ == "__main__":
    for pattern, file in sorted(findings()):
        print(f"{pattern:30} {file}")
