"""Whether a kept picture is still the one that its recipe makes, found out without making it.

A picture's digest is that of all code that its recipe reaches by imports, of its weights and of its settings. Comments,
docstrings and empty lines do not count.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import sys
import tokenize
from collections.abc import Sequence
from pathlib import Path

from ..files import write_text
from .picture import Picture

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
DIGESTS = IMAGES / "digests.json"


def digest(picture: Picture) -> str:
    """Of everything that decides how a picture looks, in hexadecimal."""
    recipe = Path(sys.modules[picture.draw.__module__].__file__).resolve()
    found = hashlib.sha256(json.dumps([picture.name, picture.settings], sort_keys=True).encode())
    for file in code_of(recipe):
        found.update(f"{file.relative_to(ROOT).as_posix()}\n{bare(file.read_text(encoding='utf-8'))}\n".encode())
    for file in picture.weights:
        found.update(hashlib.sha256(file.read_bytes()).digest())
    return found.hexdigest()


def kept_digests() -> dict[str, str]:
    """By file name, of the pictures that are kept."""
    return json.loads(DIGESTS.read_text(encoding="utf-8"))


def keep_digests(pictures: Sequence[Picture], others: bool = False) -> None:
    """Note of what the kept pictures are made.

    Args:
        others: leave what is noted of others.
    """
    before = kept_digests() if others else {}
    write_text(DIGESTS, json.dumps(before | {picture.name: digest(picture) for picture in pictures}, indent=2) + "\n")


def code_of(file: Path) -> list[Path]:
    """The file and all files of the pack that it reaches by imports, sorted."""
    found: set[Path] = set()
    ahead = [file]
    while ahead:
        here = ahead.pop()
        if here not in found:
            found.add(here)
            ahead += _imports(here)
    return sorted(found)


def _imports(file: Path) -> list[Path]:
    """Files of the pack that a file imports, also inside functions."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = file.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            named = [base / f"{alias.name}.py" for alias in node.names]
            found += [path for path in (*named, base.with_suffix(".py")) if path.is_file()]
    return found


def bare(source: str) -> str:
    """Python without comments, docstrings, empty lines and spaces at the ends of lines."""
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines[node.lineno - 1 : node.end_lineno] = [""] * (node.end_lineno - node.lineno + 1)
    return "\n".join(line.rstrip() for line in lines if line.strip())
