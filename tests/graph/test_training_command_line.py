"""``iqa.py score`` and ``iqa.py train``: scoring and training, stopped and gone on with, mistakes in one sentence."""

import os
import re
import signal
import subprocess
import sys
import time

import folder_paths
import pytest
import torch
import training_pictures
import yaml

import comfyui_runtime
import iqa
from iqa_adapter.adapter import checkpoint
from iqa_adapter.quickstart import model as quickstart
from iqa_adapter.training import command_line
from iqa_adapter.training.settings import RunSettings

EXAMPLES = comfyui_runtime.ROOT / "training" / "examples"
SMALL = ["precision=float32", "resolution=64", "bucket_step=8", "learning_rate=1e-2"]


def command(*words):
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return command_line.run(iqa.parse([str(w) for w in words]), {"quickstart": quickstart.load_quickstart})
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scored")
    photos = training_pictures.write(folder / "photos", 6)
    assert command("score", photos, folder / "table", "--metrics", "entropy", "--protocol", "as is") == 0
    return photos, folder / "table"


@pytest.fixture()
def adapters(tmp_path, monkeypatch):
    """Where the adapters go."""
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "iqa_adapter", ([str(tmp_path / "m")], {".safetensors"}))
    return tmp_path / "m"


def train(scored, folder, *words, name="new"):
    options = ["--checkpoint", "quickstart", "--folder", folder / "run", "--set", *SMALL, *words]
    return command("train", *scored, name, *options)


def test_interrupted_processes_and_one_that_goes_on_equal_one_run(scored, adapters, tmp_path):
    assert train(scored, tmp_path / "whole", "batch_size=4", "steps=16", name="whole") == 0
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    words = ["--checkpoint", "quickstart", "--folder", str(tmp_path / "parts" / "run"), "--set", *SMALL]
    process = subprocess.Popen(
        [*torchrun, "iqa.py", "train", *map(str, scored), "parts", *words, "batch_size=2", "steps=16"],
        cwd=comfyui_runtime.ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    log, deadline = tmp_path / "parts" / "run" / "loss.jsonl", time.monotonic() + 240
    while not (log.is_file() and len(log.read_text().splitlines()) >= 2):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # Ctrl-C reaches all of them
    output = process.communicate(timeout=120)[0]
    done = torch.load(tmp_path / "parts" / "run" / "checkpoint.pt", weights_only=True)["step"]
    assert 2 <= done < 16 and f"Stopped at step {done}" in output, output[-3000:]

    assert train(scored, tmp_path / "parts", "batch_size=4", "steps=16", name="parts") == 0
    assert len(log.read_text().splitlines()) == 16
    whole, parts = (checkpoint.load_adapter(adapters / f"{name}.safetensors") for name in ("whole", "parts"))
    for left, right in zip(whole.layers, parts.layers, strict=True):
        assert torch.allclose(left.key, right.key, atol=5e-3) and torch.allclose(left.value, right.value, atol=5e-3)


def test_begins_anew_or_from_an_adapter(scored, adapters, tmp_path, capsys):
    assert train(scored, tmp_path, "steps=1", "batch_size=2") == 0
    assert train(scored, tmp_path, "steps=2", "batch_size=2", "learning_rate=0.5") == 1
    assert "was trained with other settings (learning_rate 0.01, now 0.5)" in capsys.readouterr().err
    words = [*SMALL, "steps=1", "batch_size=2", "learning_rate=1e-9", "late_learning_rate=1e-9"]
    common = ["--checkpoint", "quickstart", "--folder", tmp_path / "run", "--anew", "--set", *words]
    assert command("train", *scored, "second", *common, "--from-adapter", adapters / "new.safetensors") == 0
    first, second = (checkpoint.load_adapter(adapters / f"{name}.safetensors") for name in ("new", "second"))
    assert torch.allclose(first.layers[0].key, second.layers[0].key, atol=1e-6)


def test_examples_are_complete_settings():
    files = sorted(EXAMPLES.glob("*.yaml"))
    assert files
    for file in files:
        given = yaml.safe_load(file.read_text())
        RunSettings.from_mapping(given, file.name)


def test_the_cluster_script_is_one_that_runs(tmp_path):
    script = EXAMPLES / "five_nodes.slurm"
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    words = [line for line in script.read_text().splitlines() if line.startswith("#SBATCH")]
    assert "#SBATCH --nodes=5" in words and "#SBATCH --gpus-per-node=8" in words


@pytest.mark.parametrize(
    "words, message",
    [
        (["score", "{none}", "{tmp}/t", "--metrics", "piqe"], "There is no .*none"),
        (["score", "{photos}", "{tmp}/t", "--metrics", "pique"], "Unknown metric 'pique'.*Did you mean piqe"),
        (["train", "{photos}", "{none}", "x", "--checkpoint", "quickstart"], "holds no table of scores"),
        (["train", "{photos}", "{table}", "x", "--checkpoint", "none.st"], "There is no checkpoint none.st in"),
        (["train", "{photos}", "{table}", "x", "--checkpoint", "quickstart", "--set", "step=1"], "unknown setting st"),
        (["train", "{photos}", "{table}", "x", "--checkpoint", "quickstart", "--set", "steps"], "must hold lines"),
        (["train", "{photos}", "{table}", "x", "--checkpoint", "quickstart", "--settings", "{none}"], "No such file"),
    ],
)
def test_mistakes_end_in_one_sentence(scored, tmp_path, capsys, words, message):
    places = {"none": tmp_path / "none", "tmp": tmp_path, "photos": scored[0], "table": scored[1]}
    assert command(*[word.format(**places) for word in words]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and re.search(message, error), error


def test_help_needs_no_comfyui():
    done = subprocess.run(
        [sys.executable, "iqa.py", "train", "--help"], cwd=comfyui_runtime.ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0 and "models/iqa_adapter/" in done.stdout
    heavy = {name.split(".")[0] for name in sys.modules} & {"torch", "comfy"}
    code = "import sys, iqa; iqa.parse(['demo']); sys.exit(bool({'torch', 'comfy', 'numpy'} & set(sys.modules)))"
    assert heavy and subprocess.run([sys.executable, "-c", code], cwd=comfyui_runtime.ROOT).returncode == 0
