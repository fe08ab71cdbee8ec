"""Full disks, kills, files that change while in use, and memory that runs out: what docs/reliability.md promises."""

import logging
import os
import shutil
import signal
import sys
import time

import comfy.model_management
import comfy.samplers
import models
import pytest
import torch
from full_disk import full_disk, limits_files
from sampling import cfg_guider

from iqa_adapter.adapter import attention, checkpoint, remembered
from iqa_adapter.adapter.apply import apply_adapter
from iqa_adapter.evaluation.cells import Store
from iqa_adapter.files import read_tensors, write_tensors
from iqa_adapter.iqa_models import features, known_files, weights
from iqa_adapter.pictures import index
from iqa_adapter.quality import calibration, calibration_file
from iqa_adapter.training import cache, table, tracking, unreadable
from iqa_adapter.training.pictures_record import PicturesRecord
from iqa_adapter.training.record import RunRecord

POSIX = pytest.mark.skipif(not limits_files, reason="no limit of a file's size, and no fork")
NOISE = torch.rand(40_000)


@pytest.fixture(scope="module")
def model():
    return models.comfy_model("SD1.5")


@pytest.fixture(scope="module")
def adapter(model):
    return models.random_adapter(model)


def write_table(folder):
    contents = table.Contents("score", ("piqe",), "512")
    contents.put(folder)
    keys = [f"{number:05d}" for number in range(5000)]
    table.Rows(keys, torch.full((5000, 2), 8), torch.rand(5000, 1)).write(folder, 0, contents)


def append_losses(folder):
    log = tracking.LossLog(folder, 10**6)
    for step in range(1000):
        log.write(step=step, loss=1.0, learning_rate=1e-4)
    log.close()


def write_record(folder):
    entries = {f"{number}": ["", 0, 1, 2, f"{number:032x}"] for number in range(5000)}
    RunRecord({}, {}, {}, "", PicturesRecord._of_mapping(entries), "0").write(folder)


def keep_calibration(folder):
    levels = tuple(float(level) for level in range(100))
    response = calibration.ResponseOfMetric("piqe", levels, levels, levels, 100, "512")
    known = calibration.Calibration("0" * 64, "1" * 64, "SDXL", 1.0, "quality", (response,))
    calibration_file.keep_calibration(folder / "a.calibration.json", known)


def write_index(folder):
    keys, nothing = [f"{number:05d}.png" for number in range(5000)], [None] * 5000
    index.write(folder / "index", [], [], index.Rows(keys, nothing, [0] * 5000, [-1] * 5000, [""] * 5000), [[]])


WRITERS = {  # and the file that each writes
    "adapter": (lambda at, adapter: checkpoint.save_adapter(adapter, at / "a.safetensors"), "a.safetensors"),
    "features": (
        lambda at, _: features.save_features(features.Features(NOISE[None], "a", "b", "mean"), at / "f.safetensors"),
        "f.safetensors",
    ),
    "rows": (lambda at, _: write_table(at), "000000.parquet"),
    "cache": (lambda at, _: cache.Cache(at).put(("a",), {"latent": NOISE}), "*/*.safetensors"),
    "losses": (lambda at, _: append_losses(at), "loss.jsonl"),
    "record": (lambda at, _: write_record(at), "pictures.parquet"),
    "calibration": (lambda at, _: keep_calibration(at), "a.calibration.json"),
    "picture": (lambda at, _: Store(at).write("0" * 64, NOISE[: 3 * 64 * 64].reshape(3, 64, 64), {}), "00/*.png"),
    "index": (lambda at, _: write_index(at), "index"),
    "unreadable": (lambda at, _: unreadable.write(at, [f"{i}: damaged" for i in range(9999)], []), "unreadable.txt"),
}  # fmt: skip


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@POSIX
@pytest.mark.parametrize("name", WRITERS)
def test_fault_full_disk(name, tmp_path, adapter):
    write, _ = WRITERS[name]
    write(tmp_path, adapter)
    before = files_of(tmp_path)
    if name == "cache":  # of which an entry that is there is as good
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
        before = {}
    with full_disk(3000), pytest.raises(OSError):
        write(tmp_path, adapter)
    after = files_of(tmp_path)
    grown = {"loss.jsonl"} if name == "losses" else set()  # which is written line by line
    assert after.keys() == before.keys() and all(after[key] == before[key] for key in before.keys() - grown)
    write(tmp_path, adapter)
    assert before.keys() <= files_of(tmp_path).keys() and not list(tmp_path.rglob("*.part"))


@POSIX
@pytest.mark.parametrize("name", sorted(set(WRITERS) - {"losses"}))
def test_fault_kill_within_a_write(name, tmp_path, adapter):
    """By the kernel, once the file has 3,000 bytes."""
    write, _ = WRITERS[name]
    write(tmp_path, adapter)
    before = files_of(tmp_path)
    assert killed_in(lambda: write(tmp_path, adapter), 3000) == signal.SIGXFSZ
    left = files_of(tmp_path)
    assert left.keys() > before.keys() and all(left[key] == before[key] for key in before)
    write(tmp_path, adapter)  # the next use
    assert files_of(tmp_path).keys() == before.keys()


@POSIX
def test_fault_kill_of_a_log_leaves_whole_lines(tmp_path):
    assert killed_in(lambda: append_losses(tmp_path), 3000) == signal.SIGXFSZ
    steps, _ = tracking.read_losses(tmp_path)
    assert len(steps) > 30 and steps == list(range(len(steps)))
    append_losses(tmp_path)
    assert len(tracking.read_losses(tmp_path)[0]) == len(steps) + 1000
    assert list(files_of(tmp_path)) == ["loss.jsonl"]


def killed_in(action, room: int) -> int:
    """The signal that ended a process which carried out the action with files of so many bytes at most."""
    child = os.fork()
    if child == 0:
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            torch.set_num_threads(1)  # the threads of OpenMP are not there after a fork, and it would wait for them
            with full_disk(room):
                action()
        finally:
            os._exit(99)
    end = time.monotonic() + 60
    while (done := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < end:
        time.sleep(0.01)
    if done[0] == 0:
        os.kill(child, signal.SIGKILL)
        done = os.waitpid(child, 0)
    return os.WTERMSIG(done[1]) if os.WIFSIGNALED(done[1]) else 0


@POSIX
def test_fault_two_processes_of_one_name(tmp_path):
    """Whoever is last wins; nobody sees half a file."""
    path, children = tmp_path / "same.safetensors", []
    for value in range(4):
        if (child := os.fork()) == 0:
            try:
                torch.set_num_threads(1)  # as in killed_in
                for _ in range(20):
                    write_tensors(path, {"a": torch.full((50_000,), float(value))})
                os._exit(0)
            finally:
                os._exit(1)
        children.append(child)
    while not path.is_file():
        time.sleep(0.001)
    for _ in range(100):
        values = read_tensors(path).content["a"]
        assert len(values) == 50_000 and (values == values[0]).all()
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    assert list(files_of(tmp_path)) == ["same.safetensors"]


def test_fault_read_only(tmp_path, adapter, caplog, monkeypatch):
    """What only helps is left away with a word; what was asked for is refused."""
    (tmp_path / "file").write_text("")
    nowhere = tmp_path / "file" / "folder"  # also for root
    with pytest.raises(OSError, match="could not be written .* choose a folder that can be written to"):
        checkpoint.save_adapter(adapter, nowhere / "a.safetensors")
    (tmp_path / "a.bin").write_bytes(b"1")
    monkeypatch.setattr(known_files, "place", lambda: nowhere / "known.json")
    with caplog.at_level(logging.INFO):
        remembered.remember(nowhere, tmp_path / "a.bin", "piqe")
        known_files.note(weights.LoadedFile.at(tmp_path / "a.bin"))
    assert "are not remembered" in caplog.text and "is not kept" in caplog.text


def sampled(model):
    guider = cfg_guider(model, models.conditioning(1), models.conditioning(2))
    noise = models.latent(2)
    sampler, sigmas = comfy.samplers.sampler_object("euler"), torch.tensor([3.0, 2.0, 1.0, 0.0])
    with torch.no_grad():
        return guider.sample(noise, torch.zeros_like(noise), sampler, sigmas, disable_pbar=True, seed=0)


@pytest.mark.skipif(sys.platform == "win32", reason="a file that is mapped cannot be changed there")
@pytest.mark.parametrize("change", ["replaced", "deleted", "truncated", "overwritten"])
def test_fault_a_file_that_changes_while_it_is_in_use(change, tmp_path, model, adapter, monkeypatch):
    path = tmp_path / "a.safetensors"
    checkpoint.save_adapter(adapter, path)
    expected = sampled(apply_adapter(model, models.quality_tokens(checkpoint.load_adapter(path), (1.0, -1.0))))
    size = path.stat().st_size

    def alter():
        if change == "overwritten":
            path.write_bytes(bytes(size))
        elif change == "truncated":
            os.truncate(path, 1000)
        else:
            path.unlink()
            if change == "replaced":
                checkpoint.save_adapter(models.random_adapter(model, seed=9), path)

    loaded = checkpoint.load_adapter(path)
    alter()
    found = sampled(apply_adapter(model, models.quality_tokens(loaded, (1.0, -1.0))))
    assert torch.equal(found, expected)  # a small file is in memory
    checkpoint.save_adapter(adapter, path)
    monkeypatch.setattr(checkpoint, "SMALL", 0)
    loaded = checkpoint.load_adapter(path)
    time.sleep(0.02)  # the clock of the file system
    alter()
    with pytest.raises(ValueError, match=r"a\.safetensors has changed since it was loaded. Load it again"):
        apply_adapter(model, models.quality_tokens(loaded, (1.0, -1.0)))


INTERRUPTED = comfy.model_management.InterruptProcessingException


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError, INTERRUPTED])
def test_fault_within_a_sampling_changes_nothing_after_it(error, model, adapter, monkeypatch):
    """Memory that runs out in a layer, and a cancelled node: the same graph gives the same picture, others, too."""
    patched = apply_adapter(model, models.quality_tokens(adapter, (1.0, -1.0)))
    expected, plain = sampled(patched), sampled(model)
    calls, attend = 0, attention.optimized_attention

    def fail(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == 30:
            raise error("injected")
        return attend(*args, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(error):
        patch.setattr(attention, "optimized_attention", fail)
        sampled(patched)
    assert calls == 30
    assert torch.equal(sampled(patched), expected) and torch.equal(sampled(model), plain)


def test_fault_memory_runs_out_before_sampling(model, adapter, monkeypatch):
    tokens = models.quality_tokens(adapter, (1.0, -1.0))
    expected = sampled(apply_adapter(model, models.quality_tokens(adapter, (1.0, -1.0))))

    def fail(*_, **__):
        raise torch.OutOfMemoryError("injected")

    with monkeypatch.context() as patch, pytest.raises(torch.OutOfMemoryError):
        patch.setattr(type(adapter), "keys_values", fail)
        apply_adapter(model, tokens)
    assert torch.equal(sampled(apply_adapter(model, tokens)), expected)


def test_fault_a_clock_that_jumps(tmp_path):
    """Times of the future keep no temporary file of another machine from being left alone, nor remove one."""
    foreign = tmp_path / ".a.txt.00000000-1.abcdefgh.part"
    foreign.write_text("half")
    ahead = time.time() + 10**8
    os.utime(foreign, (ahead, ahead))
    write_tensors(tmp_path / "a.safetensors", {"a": torch.ones(1)})
    assert foreign.exists()
    os.utime(foreign, (0, 0))
    write_tensors(tmp_path / "a.safetensors", {"a": torch.ones(1)})
    assert not foreign.exists()
