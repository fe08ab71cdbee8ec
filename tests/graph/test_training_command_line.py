"""``iqa.py score`` and ``iqa.py train``: scoring and training, stopped and gone on with, mistakes in one sentence."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time

import folder_paths
import pytest
import safetensors.torch
import torch
import training_pictures
import yaml
from full_disk import full_disk, limits_files
from training_runs import command

import comfyui_runtime
from iqa_adapter.adapter import checkpoint
from iqa_adapter.training import command_line, encoder, objective, settings
from iqa_adapter.training.settings import RunSettings

EXAMPLES = comfyui_runtime.ROOT / "training" / "examples"
ADAPTERS = comfyui_runtime.ROOT / "quickstart" / "weights" / "adapters"
SMALL = ["precision=float32", "resolution=64", "bucket_step=8", "learning_rate=1e-2"]


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


def test_stopping_is_said_at_once_and_errors_have_lines_of_their_own(scored, adapters, tmp_path, capfd, monkeypatch):
    """Ctrl-C, then an error, while a bar is shown."""
    original = command_line._Terminal.step

    def interrupted(terminal, step, loss):
        original(terminal, step, loss)
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(command_line._Terminal, "step", interrupted)
    assert train(scored, tmp_path, "steps=5", "batch_size=2") == 130
    said = capfd.readouterr()
    assert said.err.index("Stopping after this step") < len(said.err)
    assert re.search(r"^Stopped at step 2 of 5\. Start the same command again to go on\.$", said.out, re.MULTILINE)

    def broken(terminal, step, loss):
        original(terminal, step, loss)
        raise ValueError("broken")

    monkeypatch.setattr(command_line._Terminal, "step", broken)
    assert train(scored, tmp_path, "steps=5", "batch_size=2") == 1
    assert capfd.readouterr().err.splitlines()[-1] == "error: broken"


def test_a_cluster_may_stop_a_run_that_prepares(scored, adapters, tmp_path):
    words = ["--checkpoint", "quickstart", "--folder", tmp_path / "run", "--set", *SMALL, "steps=1"]
    code = (
        "import os, signal, sys, iqa, comfyui_runtime\ncomfyui_runtime.load_pack()\n"
        "from iqa_adapter.training import dataset\n"
        "make = dataset.TrainingSet.source\n"
        "def stopped(*arguments):\n    os.kill(os.getpid(), signal.SIGTERM)\n    return make(*arguments)\n"
        "dataset.TrainingSet.source = stopped\nsys.exit(iqa.main(sys.argv[1:]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "train", *map(str, scored), "stopped", *map(str, words)],
        cwd=comfyui_runtime.ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 130, done.stderr[-3000:]
    assert "Stopping after this step" in done.stderr
    assert "Stopped while the pictures were prepared; those that are done are kept. Start the same" in done.stdout
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


def test_the_quickstart_is_trained_in_its_own_size(scored, adapters, tmp_path, capsys):
    options = ["--checkpoint", "quickstart", "--folder", tmp_path / "run"]
    assert command("train", *scored, "new", *options, "--set", "steps=1", "batch_size=1", "precision=float32") == 0
    known = json.loads((tmp_path / "run" / "run.json").read_text())["settings"]
    assert (known["resolution"], known["bucket_step"]) == (64, 8)
    assert "This model is made for" not in capsys.readouterr().out
    words = ["steps=1", "batch_size=1", "precision=float32", "resolution=128"]
    options = ["--checkpoint", "quickstart", "--folder", tmp_path / "large"]
    assert command("train", *scored, "large", *options, "--set", *words) == 0
    assert "note: This model is made for 64 pixels; at resolution 128 a step takes 4 times" in capsys.readouterr().out


def test_pictures_that_are_left_out_are_said(adapters, tmp_path, capsys):
    photos = training_pictures.write(tmp_path / "photos", 4)
    (photos / "01.txt").unlink()
    (photos / "00.tar").write_bytes(b"damaged")
    assert command("score", photos, tmp_path / "table", "--metrics", "entropy", "--protocol", "as is") == 0
    said = capsys.readouterr().out
    shard = "note: 1 of the files cannot be used and are left out: 00.tar is damaged or no uncompressed .tar shard"
    assert shard in said and "4 of 4 pictures: entropy" in said and "caption" not in said
    words = ["steps=1", "batch_size=1", "sample_interval=0"]
    assert train((photos, tmp_path / "table"), tmp_path, *words) == 0
    said = capsys.readouterr().out
    captions = "note: 1 of 4 pictures have no caption and are left out: 01.png: no 01.txt beside it."
    assert shard in said and captions in said
    for number in (2, 3):
        (photos / f"{number:02d}.txt").unlink()
    assert train((photos, tmp_path / "table"), tmp_path, *words, name="few") == 1
    assert "error: Only 1 of 4 pictures have a caption, fewer than half (01.png: no " in capsys.readouterr().err


def test_a_mistake_beside_anew_loses_nothing(scored, adapters, tmp_path, capsys):
    assert train(scored, tmp_path, "steps=1", "batch_size=2") == 0
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    words = ["--folder", tmp_path / "run", "--anew", "--set", *SMALL, "steps=1", "batch_size=2"]
    assert command("train", *scored, "new", "--checkpoint", "mistyped", *words) == 1
    assert command("train", *scored, "new", "--checkpoint", "quickstart", *words, "metrics=[nothing]") == 1
    assert {path: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()} == before


@pytest.fixture(scope="module")
def wrong_files(tmp_path_factory):
    """Files that somebody may take for a checkpoint."""
    folder = tmp_path_factory.mktemp("wrong")
    safetensors.torch.save_file({"lora_unet_down.weight": torch.zeros(4, 4)}, folder / "lora.safetensors")
    (folder / "half.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    (folder / "page.safetensors").write_text("<!DOCTYPE html>")
    (folder / "page.ckpt").write_text("<!DOCTYPE html>")
    (folder / "empty.safetensors").write_bytes(b"")
    torch.save({"state_dict": {"model.weight": torch.zeros(2)}}, folder / "other.ckpt")
    (folder / "adapter.safetensors").write_bytes((ADAPTERS / "quickstart_score.safetensors").read_bytes())
    return folder


@pytest.mark.parametrize("name", ["lora.safetensors", "half.safetensors", "page.safetensors", "page.ckpt",
                                  "empty.safetensors", "other.ckpt", "adapter.safetensors"])  # fmt: skip
def test_a_checkpoint_of_a_wrong_kind_ends_in_one_sentence(scored, wrong_files, tmp_path, capsys, name):
    words = ["--checkpoint", wrong_files / name, "--folder", tmp_path / "run"]
    assert command("train", *scored, "wrong", *words) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.match(f"error: .*{name} (is no checkpoint that ComfyUI can load|has no)", error), error
    assert not (tmp_path / "run").exists()


def test_out_of_memory_ends_in_one_sentence(scored, adapters, tmp_path, capsys, monkeypatch):
    def exhausted(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nGPU 0 has ...")

    for place, doing in ((encoder, "encode_pictures"), (objective.Objective, "loss")):
        with monkeypatch.context() as patch:
            patch.setattr(place, doing, exhausted)
            assert train(scored, tmp_path, "steps=1", "batch_size=2") == 1
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error.startswith("error: Out of memory while ") and "lower" in error, error


@pytest.mark.skipif(not limits_files, reason="needs limits on the size of files")
@pytest.mark.parametrize("free", [100, 20_000])
def test_a_full_disk_ends_in_one_sentence(scored, adapters, tmp_path, capsys, free):
    with full_disk(free):
        status = train(scored, tmp_path, "steps=1", "batch_size=2")
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert status == 1 and error.startswith("error: ") and "enforce fail" not in error, error


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
        (["train", "{photos}", "{table}", "x", "--checkpoint", "quickstart", "--set", "workers=3000"], "at most 256"),
        (["train", "{photos}", "{table}", "x", "--checkpoint", "{photos}"], "There is no checkpoint"),
        (["train", "{photos}", "{table}", "../x", "--checkpoint", "quickstart"], "name must be a plain file name"),
        (["train", "{photos}", "{table}", "x", "--checkpoint", "quickstart", "--from-adapter", "{none}"], "none"),
        (
            ["train", "{photos}", "{table}", "x", "--checkpoint", "quickstart", "--settings", "{photos}/00.png"],
            "no valid YAML",
        ),
    ],
)
def test_mistakes_end_in_one_sentence(scored, tmp_path, capsys, words, message):
    places = {"none": tmp_path / "none", "tmp": tmp_path, "photos": scored[0], "table": scored[1]}
    assert command(*[word.format(**places) for word in words]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and re.search(message, error), error


def front_door(*words):
    return subprocess.run(
        [sys.executable, "iqa.py", *words], cwd=comfyui_runtime.ROOT, capture_output=True, text=True, check=True
    ).stdout


def test_help_reads_like_a_manual_and_needs_no_comfyui():
    text = front_door("train", "--help")
    assert "models/iqa_adapter/" in text
    for cls in settings.GROUPS.values():
        for field in dataclasses.fields(cls):
            assert f"\n  {field.name} " in text
    unwrapped = " ".join(text.split())
    assert "default the model's own; range 8 to 4,096, in steps of 8" in unwrapped and "paper 24,000" in unwrapped
    heavy = {name.split(".")[0] for name in sys.modules} & {"torch", "comfy"}
    code = (
        "import sys, iqa\ntry:\n    iqa.parse(['train', '--help'])\nexcept SystemExit:\n    pass\n"
        "iqa.parse(['demo']); sys.exit(bool({'torch', 'comfy', 'numpy'} & set(sys.modules)))"
    )
    assert heavy and subprocess.run([sys.executable, "-c", code], cwd=comfyui_runtime.ROOT).returncode == 0


def test_settings_alone_prints_a_file_that_can_be_given_back(tmp_path):
    text = front_door("train", "--settings")
    assert RunSettings.from_mapping(yaml.safe_load(text), "printed") == RunSettings.from_mapping({}, "")
    assert text.startswith("# How the adapter learns") and "\n# Paper" not in text
