"""Files are written whole or not at all; names of strangers are shown on one printable line."""

import gc
import os
import re
import signal
import subprocess
import sys
import time

import hostile_files
import pytest
import torch
from full_disk import full_disk

from comfyui_runtime import ROOT
from iqa_adapter import files, left_behind, tensor_files, wrong_files

MB = 2**20

KINDS = (torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.uint8, torch.float8_e4m3fn, torch.float64)
WRITERS = {
    "text": lambda path: files.write_text(path, "new " * 100_000),
    "json": lambda path: files.write_json(path, ["new"] * 100_000),
    "tensors": lambda path: files.write_tensors(path, {"a": torch.ones(300_000)}),
    "torch": lambda path: files.write_torch(path, {"a": torch.ones(300_000)}),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_what_was_there_is_replaced_at_the_end(kind, tmp_path):
    path = tmp_path / "folder" / "file"
    WRITERS[kind](path)
    content = path.read_bytes()
    path.write_bytes(b"old")
    WRITERS[kind](path)
    assert path.read_bytes() == content and [entry.name for entry in path.parent.iterdir()] == ["file"]
    assert path.stat().st_mode & 0o777 == 0o666 & ~files._UMASK


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of a file's size there")
@pytest.mark.parametrize("kind", WRITERS)
def test_full_disk_keeps_the_old_file_and_leaves_nothing(kind, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with full_disk(), pytest.raises(OSError, match="file could not be written .* what was there is kept. Make room"):
        WRITERS[kind](path)
    assert path.read_bytes() == b"old" and [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_failing_and_cancelled_writers_leave_nothing(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), files.written_whole(path) as temporary:
            temporary.write_bytes(b"half")
            raise error
    assert path.read_bytes() == b"old" and [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_large_folder_is_looked_through_once_in_a_while(tmp_path, monkeypatch):
    looked, scandir = [], os.scandir
    monkeypatch.setattr(left_behind.os, "scandir", lambda path: looked.append(path) or scandir(path))
    for number in range(left_behind.MANY + 50):
        files.write_text(tmp_path / f"{number}.txt", "a")
    assert left_behind.MANY <= looked.count(tmp_path) <= left_behind.MANY + 1
    dead = tmp_path / re.sub("-[0-9]+", "-4194399", left_behind.new_temporary(tmp_path / "a.txt").name)
    dead.mkdir()
    files.write_text(tmp_path / "a.txt", "a")
    assert dead.is_dir()
    monkeypatch.setattr(left_behind.time, "monotonic", lambda now=time.monotonic: now() + left_behind.PAUSE)
    files.write_text(tmp_path / "a.txt", "a")
    assert not dead.exists() or sys.platform == "win32"


def test_a_place_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="below could not be written .* choose a folder that can be written to"):
        files.write_text(tmp_path / "file" / "below", "text")


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_what_a_killed_process_left_is_removed_at_the_next_use(tmp_path):
    program = (
        "import comfyui_runtime; comfyui_runtime.load_pack()\n"
        "from iqa_adapter.files import written_whole\n"
        f"with written_whole({str(tmp_path / 'file')!r}) as temporary:\n"
        "    temporary.write_text('half'); print('now', flush=True)\n    import time; time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    while "now" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    (left,) = tmp_path.iterdir()
    (tmp_path / ".other.part").write_text("of somebody else")
    foreign = tmp_path / re.sub(r"\.[0-9a-f]{8}-", ".00000000-", left.name)
    mine = tmp_path / left.name.replace(f"-{process.pid}.", f"-{os.getpid()}.")
    for path in (foreign, mine):
        path.mkdir()
        (path / "new").write_text("half")
    files.write_text(tmp_path / "another", "text")
    assert not left.exists() and foreign.exists() and mine.exists()  # these could be of processes at work
    old = time.time() - 2 * left_behind.AGE
    for path in (foreign, mine, tmp_path / ".other.part"):
        os.utime(path, (old, old))
    files.write_text(tmp_path / "another", "text")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.part", "another"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain name.safetensors", "plain name.safetensors"),
        ("schön.safetensors", "schön.safetensors"),
        (os.fsdecode(b"lat\xe9.safetensors"), r"lat\xe9.safetensors"),
        ("a\u202eb\nc\x1b[31m\ud800", r"a\u202eb\nc\x1b[31m\ud800"),
        ("a" * 1000, "a" * 150 + "..." + "a" * 150),
    ],
)
def test_hostile_names_are_shown_escaped(name, expected):
    assert files.shown(name) == expected and files.shown(name).isprintable()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("lora_te_text_model.lora_up.weight", "a LoRA"),
        ("transformer.blocks.0.attn.to_q.lora_A.weight", "a LoRA"),
        ("control_model.input_blocks.0.0.weight", "a ControlNet"),
        ("controlnet_cond_embedding.conv_in.weight", "a ControlNet"),
        ("image_proj.latents", "an IP-Adapter"),
        ("ip_adapter.1.to_k_ip.weight", "an IP-Adapter"),
        ("model.diffusion_model.input_blocks.0.0.weight", "a checkpoint"),
        ("text_model.encoder.layers.0.mlp.fc1.bias", "a text encoder"),
        ("decoder.conv_in.weight", "a VAE"),
        ("double_blocks.0.img_attn.qkv.weight", "a diffusion model without text encoder and VAE"),
        ("features.0.weight", ""),
    ],
)
def test_what_tensors_are_for(name, kind):
    assert wrong_files.looks_like(["other", name]) == kind


def test_tensors_that_are_copied_let_the_file_go(tmp_path):
    path = tmp_path / "a.pt"
    files.write_torch(path, {"a": torch.arange(4), "b": [torch.ones(2), (1, "x", None)], 3: 2.5})
    content, _ = files.read_tensors(path, mapped=False)
    path.write_bytes(bytes(path.stat().st_size))
    assert content["a"].tolist() == [0, 1, 2, 3]
    assert content["b"][0].tolist() == [1, 1] and content["b"][1] == (1, "x", None) and content[3] == 2.5


def save(content, path):
    if path.suffix == ".safetensors":
        files.write_tensors(path, content)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=path.suffix == ".pt")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("name", ["a.pt", "a.pth", "a.safetensors"], ids=["zip", "legacy", "safetensors"])
@pytest.mark.parametrize("size", [3, 4])  # one of them is not aligned in legacy files
def test_a_copied_file_takes_memory_once(name, size, tmp_path):
    save({"a" * size: torch.ones(8 * MB), "b": torch.ones(2)}, tmp_path / name)
    gc.disable()  # nothing waits for it
    try:
        before = hostile_files.memory("VmRSS")
        content, _ = files.read_tensors(tmp_path / name, mapped=False)
        taken = hostile_files.memory("VmRSS") - before
        content["c"] = {"d": content.pop("b")}
        assert len(tensor_files.flat_tensors(content)) == 2
        del content
        left = hostile_files.memory("VmRSS") - before
    finally:
        gc.enable()
    assert taken < 40 * MB and left < 8 * MB


@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
def test_a_tensor_of_many_names_is_read_once(new, tmp_path):
    one = torch.ones(3, 4)
    torch.save({"a": one, "b": [one, {"c": one}]}, tmp_path / "a.pt", _use_new_zipfile_serialization=new)
    content, _ = files.read_tensors(tmp_path / "a.pt", mapped=False)
    assert content["a"] is content["b"][0] is content["b"][1]["c"]


@pytest.mark.parametrize("mapped", [True, False])
def test_tensors_of_every_type_are_read_from_safetensors(mapped, tmp_path):
    path = tmp_path / "a.safetensors"
    written = {str(kind): torch.ones(2, 3).to(kind) for kind in (*KINDS, torch.int8, torch.complex64)}
    written |= {"whole": torch.randn(5), "empty": torch.empty(0, 3), "number": torch.tensor(2.0)}
    files.write_tensors(path, written, {"a": "b"})
    content, header = files.read_tensors(path, mapped)
    assert list(content) == sorted(written) and header == {"a": "b"}
    for name, tensor in written.items():
        assert content[name].dtype == tensor.dtype and content[name].shape == tensor.shape
        assert content[name].equal(tensor)
    if not mapped:
        assert all(tensor.data_ptr() % 64 == 0 for tensor in content.values())
        path.write_bytes(bytes(path.stat().st_size))
        assert content["whole"].equal(written["whole"])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc")
def test_a_large_tensor_is_copied_once(tmp_path):
    path = tmp_path / "a.safetensors"
    files.write_tensors(path, {"large": torch.ones(30 * 2**20)})
    reading = hostile_files.outcome(files.read_tensors, path)
    assert reading["kind"] == "" and reading["taken"] <= reading["room"]


def test_reading_a_file_again_and_again_leaves_nothing_in_memory(tmp_path):
    path, count, times = tmp_path / "a.safetensors", 100, 10
    files.write_tensors(path, {f"layer {number}": torch.ones(2) for number in range(count)})

    def held() -> int:
        for _ in range(times):
            files.read_tensors(path, mapped=False)
        gc.collect()
        return sys.getallocatedblocks()

    held()
    before = held()
    assert held() - before < count * times  # safetensors alone would leave two for each tensor


@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
def test_tensors_are_read_as_torch_reads_them(new, tmp_path):
    whole = torch.randn(6, 8)
    state = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)).state_dict()
    content = {
        "state": state,
        "views": (whole[1:4, ::2], whole.T, whole[0, 0], torch.empty(0, 3)),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        **{str(kind): torch.ones(3).to(kind) for kind in KINDS if new or kind.itemsize > 1 or "8_" not in str(kind)},
    }
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=new)
    read, _ = files.read_tensors(tmp_path / "a.pt", mapped=True)
    expected = torch.load(tmp_path / "a.pt", weights_only=True)
    assert read.keys() == expected.keys() and list(read["state"]) == list(expected["state"])
    pairs = [(read["state"][key], expected["state"][key]) for key in state]
    pairs += zip(read["views"], expected["views"], strict=True)
    pairs += [(read[key], expected[key]) for key in content if key not in ("state", "views")]
    for mine, theirs in pairs:
        assert mine.dtype == theirs.dtype and mine.stride() == theirs.stride()
        assert torch.equal(mine.float(), theirs.float())
