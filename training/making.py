"""What made the scores of a table: weights, by the digests of their files, and versions of the code."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import re
from collections.abc import Iterable
from pathlib import Path

from ..iqa_models.loading import IQAModel
from .contents import Contents


def made_with(contents: Contents, models: Iterable[IQAModel]) -> Contents:
    """A table's contents with what the models are made of.

    Raises:
        ValueError: a weight file has changed since it was loaded.
    """
    models = list(models)
    weights = {model.entry.name: {file.path.name: file.sha256() for file in model.files} for model in models}
    versions = {model.entry.name: _version(model) for model in models}
    return dataclasses.replace(contents, weights={name: known for name, known in weights.items() if known},
                               versions=versions)  # fmt: skip


def pack_version() -> str:
    text = (Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    return re.search(r'^version = "(.+)"', text, re.MULTILINE).group(1)


def _version(model: IQAModel) -> str:
    if model.entry.module:
        return f"this pack {pack_version()}"
    return f"pyiqa {importlib.metadata.version('pyiqa')}"
