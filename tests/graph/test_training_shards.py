"""Two processes score shards, and train from them, as one does; a job that is queued again goes on."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import folder_paths
import pytest
import shards_process
import torch
import training_models
import training_pictures
import training_runs

from iqa_adapter.pictures import reading
from iqa_adapter.training import table

ROOT = Path(__file__).resolve().parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]


def environment(**more):
    tests = str(ROOT / "tests")
    path = os.pathsep.join(filter(None, (tests, os.environ.get("PYTHONPATH"))))
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, **more}


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Twelve pictures in three shards."""
    photos = training_pictures.write(tmp_path_factory.mktemp("photos"), 12)
    folder = tmp_path_factory.mktemp("shards")
    for number in range(3):
        with tarfile.open(folder / f"{number}.tar", "w") as archive:
            for picture in range(4 * number, 4 * number + 4):
                for suffix in ("png", "txt"):
                    archive.add(photos / f"{picture:02d}.{suffix}", f"{picture:02d}.{suffix}")
    return folder


def test_two_processes_see_the_samples_of_one_bit_by_bit(shards, tmp_path, monkeypatch):
    """From the middle of an epoch on, with and without cache."""
    monkeypatch.setattr(reading, "INDEXED", 1)
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one = shards_process.samples(shards, tmp_path / "one", 4, 8, 32)
    command = [*TORCHRUN, "--standalone", "--nproc_per_node", "2", shards_process.__file__, str(shards)]
    done = subprocess.run(
        [*command, str(tmp_path / "two"), "4", "8", "32"], env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (torch.load(tmp_path / "two" / f"samples-{rank}.pt") for rank in range(2))
    two = [batch for pair in zip(first, second, strict=True) for batch in pair]
    assert len(one) == len(two) == 2 * 6
    for left, right in zip(one, two, strict=True):
        assert left.keys() == right.keys()
        for name, values in left.items():
            pairs = zip(values, right[name], strict=True)
            assert all(torch.equal(a, b) for a, b in pairs), name
    tables = [table.ScoredTable.read(tmp_path / name / "table").rows for name in ("one", "two")]
    scores = [dict(zip(rows.keys, rows.values.tolist(), strict=True)) for rows in tables]
    assert scores[0] == scores[1] and len(scores[0]) == len(tables[1].keys) == 12
    parts = [rows for path in table.shards(tmp_path / "two" / "table") for rows in [table.keys_in(path)]]
    assert len(parts) == 6 and all(len({key.partition("/")[0] for key in keys}) == 1 for keys in parts)


@pytest.fixture()
def adapter():
    """Name of an adapter that is taken away again."""
    yield "slurm_example"
    for folder in folder_paths.get_folder_paths("iqa_adapter"):
        for file in Path(folder).glob("*slurm_example*"):
            file.unlink()


@pytest.mark.parametrize("cache, indexed", [(True, True), (False, True), (False, False)])
def test_a_shard_that_is_lost_while_a_run_goes_on_is_named_and_the_rest_goes_on(
    shards, tmp_path, monkeypatch, caplog, cache, indexed
):
    monkeypatch.setattr(reading, "INDEXED", 1 if indexed else 1000)
    copy = shutil.copytree(shards, tmp_path / "shards")
    (copy / reading.index.NAME).unlink(missing_ok=True)
    scored = training_runs.scored(copy, tmp_path / "table")
    whole = training_runs.go(scored, tmp_path / "whole", cache=cache, steps=8, buckets=True)[1]

    class Lose(training_models.Watch):
        def step(self, step, loss):
            super().step(step, loss)
            if step == 2:
                (copy / "1.tar").unlink()
                os.truncate(copy / "2.tar", 1000)

    again = training_runs.go(scored, tmp_path / "run", watch=Lose(), cache=cache, steps=8, buckets=True)[1]
    if cache:  # nothing is read any more
        assert again == whole and "cannot be read" not in caplog.text
    else:
        assert again[:2] == whole[:2] and again != whole and len(again) == 8
        said = [record.getMessage() for record in caplog.records if "cannot be read as it was" in record.getMessage()]
        assert len(said) == 2 and all(any(f"{name}.tar cannot" in text for text in said) for name in (1, 2))


SHIMS = {
    "scontrol": 'if [ "$1" = show ]; then echo localhost; else echo "$2" >> "$STATE/requeued"; fi',
    "scancel": 'kill -TERM "$(cat "$STATE/step")"',
    "srun": 'echo $$ > "$STATE/step"; shift; shift; exec "$PYTHON" -m torch.distributed.run "$@"',
}


def test_the_slurm_example_is_queued_again_and_ends_as_if_it_had_not_stopped(shards, adapter, tmp_path):
    """SLURM's own commands are played; scripts, processes and signals are real."""
    state, folder = tmp_path / "state", tmp_path / "run"
    state.mkdir()
    for name, text in SHIMS.items():
        (state / name).write_text(f"#!/bin/bash\n{text}\n")
        (state / name).chmod(0o755)
    settings = {"steps": 40, "batch_size": 2, "resolution": 64, "bucket_step": 8, "precision": "float32",
                "tracker": "none"}  # fmt: skip
    (tmp_path / "settings.yaml").write_text(json.dumps(settings))
    given = {"PHOTOS": str(shards), "TABLE": str(tmp_path / "table"), "CHECKPOINT": "quickstart", "METRICS": "entropy",
             "SETTINGS": str(tmp_path / "settings.yaml"), "NAME": adapter, "FOLDER": str(folder)}  # fmt: skip
    slurm = {"SLURM_JOB_NODELIST": "localhost", "SLURM_JOB_NUM_NODES": "1", "SLURM_GPUS_ON_NODE": "2",
             "SLURM_JOB_ID": "7", "PORT": "0", "STATE": str(state), "PYTHON": sys.executable,
             "PATH": f"{state}{os.pathsep}{os.environ['PATH']}"}  # fmt: skip
    command = ["bash", str(ROOT / "training" / "examples" / "five_nodes.slurm")]

    def start(log):
        with (tmp_path / log).open("w") as file:
            return subprocess.Popen(command, cwd=ROOT, env=environment(**given, **slurm), stdout=file, stderr=file)

    job, deadline = start("first.log"), time.monotonic() + 200
    while not (folder / "loss.jsonl").is_file() and job.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    job.send_signal(signal.SIGUSR1)
    assert job.wait(100) == 0, (tmp_path / "first.log").read_text()[-3000:]
    assert (state / "requeued").read_text() == "7\n"
    losses = [json.loads(line) for line in (folder / "loss.jsonl").read_text().splitlines()]
    assert 0 < len(losses) < 40, (tmp_path / "first.log").read_text()[-3000:]
    again = start("second.log")
    assert again.wait(200) == 0, (tmp_path / "second.log").read_text()[-3000:]
    assert (state / "requeued").read_text() == "7\n" and "12 of 12 pictures" in (tmp_path / "second.log").read_text()
    both = [json.loads(line) for line in (folder / "loss.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in both] == list(range(1, 41)) and both[: len(losses)] == losses
