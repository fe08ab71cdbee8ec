"""Parsers of what processes leave for each other and for later runs, in folders that may come from strangers."""

from __future__ import annotations

from pathlib import Path
from random import Random
from types import SimpleNamespace
from unittest.mock import patch

import torch

from iqa_adapter.adapter import convert
from iqa_adapter.files import shown
from iqa_adapter.iqa_models import download, known_files
from iqa_adapter.training import cache, cache_shards, claims

from . import good
from .mutations import json_text, lines, safetensors_file
from .parsers import Parser, is_json, is_safetensors, is_text

HERE = "HERE"  # in place of what tells this machine from others
CLAIM = f"machine 999999999 {HERE} {'0' * 32} 7\n"
CLAIM_LINES = (
    f"m \xb2 {HERE}",
    f"m {'9' * 5000} {HERE}",
    f"m 0 {HERE}",
    f"m -1 {HERE}",
    f"m 4294967296 {HERE}",
    "a" * 10**6,
)
DIGEST = cache._digest(good.ENTRY)
KEPT = {
    cache_shards.DIGEST: torch.frombuffer(bytearray(2 * DIGEST), dtype=torch.uint8).reshape(2, 20),
    cache_shards.CHECKSUM: torch.tensor([cache._checksum(good.KEPT)] * 2),
    **{name: torch.stack([value] * 2) for name, value in good.KEPT.items()},
}
SOURCE = "https://example.org/a.pth"


def read_claim(path: Path) -> None:
    """As a process that wants the same."""
    path.write_bytes(path.read_bytes().replace(HERE.encode(), claims._where().encode()))
    claim = claims.Claim(path)
    claim.take()
    shown(claim.holder)
    claim.release()


def read_known(path: Path) -> None:
    with patch.object(known_files, "place", lambda: path):
        known_files.known_digest("a.pth")


def read_begun(path: Path) -> None:
    path.with_suffix("").touch()
    download._begun(SimpleNamespace(source=SOURCE), path.with_suffix(""))


def in_shard(rng: Random) -> bytes:
    return safetensors_file(rng, KEPT, None)


NOTE = cache.Cache(Path())._complete(("set",)).as_posix()
WORK = [
    Parser("claim", "scoring.lock", lambda rng: lines(rng, CLAIM, CLAIM_LINES), read_claim, is_text,
           never_raises=True),
    Parser("shard of the cache", f"{cache_shards.FOLDER}/some.safetensors", in_shard,
           lambda path: cache.Cache(path.parents[1]).get(good.ENTRY), is_safetensors, never_raises=True),
    Parser("note of a complete cache", NOTE, lambda rng: json_text(rng, ["a.safetensors"]),
           lambda path: cache.Cache(path.parents[1]).is_complete(("set",)), is_json, never_raises=True),
    Parser("known weight files", known_files.FILE,
           lambda rng: json_text(rng, {"a.pth": {"sha256": "00", "size": 1, "time": 10**18}}), read_known, is_json,
           never_raises=True),
    Parser("begun download", "a.pth.part.json",
           lambda rng: json_text(rng, {"source": SOURCE, "etag": "", "modified": "", "total": 9}), read_begun, is_json,
           never_raises=True),
    Parser("statistics to convert with", "statistics.json", lambda rng: json_text(rng, [good.SCORED]),
           convert.read_statistics, is_json),
    Parser("moments to convert with", "moments.json", lambda rng: json_text(rng, {"mean": [0.0, 1.0], "std": [1, 2]}),
           convert.read_moments, is_json),
]  # fmt: skip
