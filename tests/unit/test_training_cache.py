"""The cache on a disk that several machines share, and that loses power."""

import os
import re
import threading
import time

import pytest
import torch

from iqa_adapter import files
from iqa_adapter.training.cache import Cache

PARTS = ("picture", "a vae", "cat.png")


def tensors(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        "latent": torch.randn(4, 40, 40, generator=generator),
        "size": torch.tensor([64, 80, 0, 8, 64, 64]),
    }


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.fixture()
def entry(tmp_path):
    """A cache with one entry, what that holds, and its file."""
    cache = Cache(tmp_path)
    kept = cache.put(PARTS, tensors())
    (file,) = tmp_path.rglob("*.safetensors")
    return cache, kept, file


def test_an_entry_comes_back_as_put_gave_it(entry):
    cache, kept, _ = entry
    assert same(cache.get(PARTS), kept) and kept["latent"].dtype == torch.half and cache.has(PARTS)
    assert cache.get(("picture", "another vae", "cat.png")) is None and not cache.has(("other",))
    assert Cache(None).get(PARTS) is None and same(Cache(None).put(PARTS, tensors()), kept)


DAMAGES = {
    "empty": lambda data: b"",
    "cut in the header": lambda data: data[:20],
    "cut in the values": lambda data: data[:-1000],
    "longer": lambda data: data + b"\0",
    "zeros": lambda data: bytes(len(data)),
    "a block of zeros": lambda data: data[:4096] + bytes(4096) + data[8192:],
    "one bit": lambda data: data[:5000] + bytes([data[5000] ^ 1]) + data[5001:],
    "a page": lambda data: b"<!DOCTYPE html>",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_named_and_made_again(entry, damage, caplog):
    cache, kept, file = entry
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    assert cache.get(PARTS) is None
    assert re.search(rf"{file.name} is damaged and made again \(", caplog.text)
    cache.put(PARTS, tensors())
    assert same(cache.get(PARTS), kept)


def test_an_entry_that_is_removed_at_once_or_cannot_be_read_is_made_again(entry, caplog):
    cache, _, file = entry
    file.unlink()
    assert cache.get(PARTS) is None and not cache.has(PARTS) and not caplog.text
    file.mkdir()
    assert cache.get(PARTS) is None


def test_entries_of_version_0_1_0_are_read(entry):
    cache, kept, file = entry
    files.write_tensors(file, kept)
    assert same(cache.get(PARTS), kept)


def test_writers_with_one_process_number_do_not_meet(tmp_path, monkeypatch):
    """Containers have equal process numbers; so have these threads."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    problems = []

    def work():
        try:
            cache = Cache(tmp_path)
            for _ in range(30):
                cache.put(PARTS, tensors())
                assert cache.get(PARTS) is not None
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems and len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_who_cannot_replace_an_entry_takes_what_is_there(entry, monkeypatch):
    """Windows does not replace a file that is being read."""
    cache, kept, file = entry

    def refused(*_):
        raise PermissionError(13, "Access is denied")

    monkeypatch.setattr(files, "put_in_place", refused)
    assert same(cache.put(PARTS, tensors()), kept)
    file.unlink()
    with pytest.raises(OSError, match="could not be written"):
        cache.put(PARTS, tensors())


def test_what_killed_writers_left_is_removed_a_day_later(entry):
    cache, _, file = entry
    left, young = (file.with_name(f".{name}.safetensors.{name}.part") for name in ("abcdefgh", "bcdefghi"))
    for path in (left, young):
        path.write_bytes(b"half")
    day = 24 * 3600
    os.utime(left, (time.time() - day - 60,) * 2)
    os.utime(young, (time.time() - day + 600,) * 2)
    cache.remove_left_behind()
    assert not left.exists() and young.exists() and file.exists()
