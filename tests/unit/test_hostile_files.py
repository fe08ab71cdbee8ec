"""Files of strangers: every reader refuses every kind in one sentence, and takes no more than a file may."""

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import hostile_files
import pytest

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
KINDS = ("circle", "repeated", "deep", "tensor", "bomb", "copied", "change", "operation", "long", "header", "cut",
         "adapter", "metadata")  # fmt: skip
READERS = ("adapter", "weights", "features", "quickstart", "quickstart_weights", "resume")
CONTENT = {"text_in_torch", "list_in_torch"}  # of read_weights: no file of torch of ours holds that


@pytest.fixture(scope="module")
def readings(tmp_path_factory):
    """What came of reading every file with every reader, in another process."""
    folder = tmp_path_factory.mktemp("hostile")
    for name, content in (hostile_files.every_reader() | hostile_files.adapters()).items():
        (folder / name).write_bytes(content)
    return read(folder)


def read(folder: Path) -> list[dict]:
    script = Path(hostile_files.__file__)
    done = subprocess.run(
        [sys.executable, str(script), str(folder)], cwd=folder, capture_output=True, text=True, check=False, timeout=900
    )
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"file"')]
    assert done.returncode == 0, (found[-1:], done.stderr[-3000:])
    assert not (folder / "HARM").exists()
    return found[:-1]


def wrong(readings: list[dict], good: bool = False) -> list[tuple]:
    """Readings that did not end as they should."""
    found = []
    for one in readings:
        message = one["message"]
        named = one["file"] in message or not one["kind"]
        fine = one["kind"] in ("ValueError", "OSError") or (good and not one["kind"])
        if not (fine and named and message.isprintable() and len(message) < 3000):
            found.append((one["file"], one["reader"], one["kind"], message[:300]))
    return found


@LINUX
@pytest.mark.parametrize("kind", [*KINDS, "other"])
def test_hostile_files_are_refused_in_one_sentence_that_names_them(readings, kind):
    of_kind = [one for one in readings if one["file"].split("_")[0] == kind]
    if kind == "other":
        of_kind = [one for one in readings if one["file"].split("_")[0] not in KINDS]
    assert of_kind
    assert wrong(of_kind) == []


@LINUX
def test_hostile_files_take_little_memory_and_time(readings):
    assert [one for one in readings if one["taken"] > one["room"]] == []
    assert [one for one in readings if one["seconds"] > 20] == []


@LINUX
@pytest.mark.parametrize("seed", range(2))
def test_hostile_changes_of_good_files(seed, tmp_path):
    for name, content in hostile_files.mutated(seed, 250).items():
        (tmp_path / name).write_bytes(content)
    readings = read(tmp_path)
    assert wrong(readings, good=True) == []
    assert [one for one in readings if one["taken"] > one["room"] or one["seconds"] > 20] == []
    outcomes = defaultdict(int)
    for one in readings:
        outcomes["truncated" in one["message"]] += 1
    assert outcomes[False] > 100  # many get past the first look
