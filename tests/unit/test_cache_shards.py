"""Shards of the cache: what is written row by row comes back, and damage costs what is damaged."""

import json
import os

import pytest
import safetensors.torch
import torch

from iqa_adapter.training import cache_shards
from iqa_adapter.training.cache import Cache
from iqa_adapter.training.cache_shards import FOLDER, Shards


def tensors(number, side=8):
    generator = torch.Generator().manual_seed(number)
    return {"latent": torch.randn(4, side, side, generator=generator), "size": torch.tensor([64, 80, 0, number])}


def parts(number):
    return "picture", "a vae", number


def fill(folder, count=20, side=8):
    cache = Cache(folder)
    with cache.writing(count) as writer:
        for number in range(count):
            cache.put(parts(number), tensors(number, side + number % 2 * 8), writer)
            assert not cache.has(parts(number))  # it counts when its shard is complete
    return cache


def files(folder):
    return sorted((folder / FOLDER).glob("*.safetensors"))


def is_right(cache, number, side=8):
    kept, made = cache.get(parts(number)), tensors(number, side + number % 2 * 8)
    return kept is not None and torch.equal(kept["latent"], made["latent"].half()) and kept["size"][3] == number


def test_entries_come_back_and_any_program_can_read_the_shards(tmp_path):
    cache = fill(tmp_path)
    assert len(files(tmp_path)) == 2 and len(cache.shards) == 20  # one for each layout
    assert all(is_right(cache, number) and cache.has(parts(number)) for number in range(20))
    assert cache.get(parts(99)) is None and not cache.has(parts(99))
    for path in files(tmp_path):
        content = safetensors.torch.load_file(path)
        assert {name: len(tensor) for name, tensor in content.items()} == dict.fromkeys(
            ("digest", "crc32", "latent", "size"), 10
        )
    assert all(is_right(Cache(tmp_path), number) for number in range(20))


def test_shards_end_at_their_size_and_are_compact(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_shards, "SHARD", 4000)
    monkeypatch.setattr(cache_shards, "PIECE", 7)  # pieces that end within values
    cache = Cache(tmp_path)
    with cache.writing(100) as writer:
        for number in range(0, 30, 2):
            cache.put(parts(number), tensors(number), writer)
    sizes = [path.stat().st_size for path in files(tmp_path)]
    assert len(sizes) == 3 and max(sizes) < 4000 + cache_shards.HEADER
    assert all(is_right(cache, number) for number in range(0, 30, 2))


def test_a_stage_that_fails_keeps_what_it_has(tmp_path):
    cache = Cache(tmp_path)
    with pytest.raises(KeyboardInterrupt), cache.writing(20) as writer:
        cache.put(parts(0), tensors(0), writer)
        raise KeyboardInterrupt
    assert is_right(cache, 0) and is_right(Cache(tmp_path), 0)


DAMAGES = {
    "empty": lambda data: b"",
    "cut in the header": lambda data: data[:20],
    "cut": lambda data: data[:-100],
    "longer": lambda data: data + b"\0",
    "zeros": lambda data: bytes(len(data)),
    "another header": lambda data: data.replace(b'"shape": [10', b'"shape": [11'),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("when", ["before", "while it is used"])
def test_a_damaged_shard_is_named_and_the_rest_goes_on(tmp_path, caplog, damage, when):
    cache = fill(tmp_path)
    (hit,) = [path for path in files(tmp_path) if safetensors.torch.load_file(path)["latent"].shape[-1] == 8]
    hit.write_bytes(DAMAGES[damage](hit.read_bytes()))
    if when == "before":
        cache = Cache(tmp_path)
        assert f"{hit.name} is damaged; delete it: what it held is made again (" in caplog.text
    there = [number for number in range(20) if is_right(cache, number)]
    assert set(range(1, 20, 2)) <= set(there)
    lost = sorted(set(range(20)) - set(there))
    if when == "before":
        assert lost == list(range(0, 20, 2))
    for number in lost:
        assert cache.get(parts(number)) is None and not cache.has(parts(number))
        cache.put(parts(number), tensors(number))
    assert all(is_right(cache, number) for number in range(20))
    hit.unlink()
    assert all(is_right(cache, number) for number in there if number % 2)


def test_an_entry_with_other_values_is_made_again(tmp_path, caplog):
    cache = fill(tmp_path)
    (hit,) = [path for path in files(tmp_path) if safetensors.torch.load_file(path)["latent"].shape[-1] == 8]
    data = bytearray(hit.read_bytes())
    header = 8 + int.from_bytes(data[:8], "little")
    start = header + json.loads(data[8:header])["latent"]["data_offsets"][0]
    data[start + 3 * 4 * 8 * 8 * 2] ^= 1  # of the fourth row
    hit.write_bytes(data)
    assert cache.get(parts(6)) is None and not cache.has(parts(6))
    assert f"{hit.name} is damaged and made again" in caplog.text
    cache.put(parts(6), tensors(6))
    assert all(is_right(cache, number) for number in range(20))


def test_entries_of_earlier_versions_count_beside_shards(tmp_path):
    Cache(tmp_path).put(parts(1), tensors(1, 8 + 8 - 8 * (1 % 2)))
    cache = fill(tmp_path, 1)
    assert cache.has(parts(1)) and cache.has(parts(0)) and len(Shards(tmp_path)) == 1


def test_shards_of_killed_writers_do_not_count_and_are_removed_a_day_later(tmp_path):
    cache = Cache(tmp_path)
    writer = cache_shards.Writer(tmp_path, 9)
    cache.put(parts(0), tensors(0), writer)
    (left,) = (tmp_path / FOLDER).iterdir()
    assert len(Shards(tmp_path)) == 0
    os.utime(left, (0, 0))
    cache.remove_left_behind()
    assert list((tmp_path / FOLDER).iterdir()) == []
