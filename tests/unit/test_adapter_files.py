"""The list of adapter files, what is said about each, and metrics that are remembered."""

import dataclasses
import shutil

import folder_paths
import models
import pytest
import torch
from safetensors.torch import load_file, save_file

from iqa_adapter.adapter import description, remembered
from iqa_adapter.adapter.checkpoint import save_adapter
from iqa_adapter.nodes import adapter_files, loaders
from iqa_adapter.quality.statistics import cc3m_statistics
from iqa_adapter.quickstart.adapters import REFERENCE, SCORE
from iqa_adapter.quickstart.model import WEIGHTS

METRICS = "topiq_nr, laion_aes"


@pytest.fixture(scope="module")
def tiny():
    """A score adapter for a narrow UNet of SD1.5's structure."""
    adapter = models.random_adapter(models.comfy_model("SD1.5"))
    metrics = tuple(cc3m_statistics()[name] for name in METRICS.split(", "))
    metadata = dataclasses.replace(adapter.metadata, metrics=metrics, base_model="SD1.5")
    return dataclasses.replace(adapter, metadata=metadata)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The only folder of adapters beside the quickstart's."""
    own = tmp_path / "adapters"
    own.mkdir()
    known = ([str(own), str(WEIGHTS / "adapters")], {".safetensors", ".bin"})
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "iqa_adapter", known)
    folder_paths.filename_list_cache.pop("iqa_adapter", None)
    yield own
    folder_paths.filename_list_cache.pop("iqa_adapter", None)


def listed(kind="score"):
    socket = adapter_files.adapter_input(kind, "A file.")
    return socket.options, socket.default, socket.extra_dict["descriptions"], socket.tooltip


def bare(adapter, path):
    save_adapter(adapter, path)
    save_file(load_file(path), path)
    return path


def test_without_a_file_of_ones_own_the_quickstart_is_the_default(folder):
    options, default, texts, tooltip = listed()
    assert options == ["quickstart_score.safetensors", "quickstart_reference.safetensors"] and default == options[0]
    assert texts[options[0]] == "score adapter (quickstart_iqa, colourfulness) for Quickstart Model"
    assert texts[options[1]].startswith("reference adapter (quickstart_iqa)") and texts[options[1]] in tooltip
    options, default, *_ = listed("reference")
    assert default == options[0] == "quickstart_reference.safetensors"


def test_own_files_come_first_and_those_that_suit_before_others(folder, tiny):
    shutil.copy(WEIGHTS / REFERENCE.file, folder / "a_reference.safetensors")
    (folder / "b_broken.safetensors").write_bytes(b"nothing")
    save_adapter(tiny, folder / "c_score.safetensors")
    bare(tiny, folder / "d_bare.safetensors")
    save_file({"lora_unet.lora_up.weight": torch.zeros(4, 4)}, folder / "e_lora.safetensors")
    options, default, texts, _ = listed()
    assert options == ["c_score.safetensors", "d_bare.safetensors", "a_reference.safetensors", "b_broken.safetensors",
                       "e_lora.safetensors", SCORE.file.name, REFERENCE.file.name]  # fmt: skip
    assert default == "c_score.safetensors"
    assert texts["c_score.safetensors"] == "score adapter (topiq_nr, laion_aes) for SD1.5"
    assert texts["d_bare.safetensors"].startswith("does not say what it was trained on; enter its metrics; for a UNet")
    assert texts["b_broken.safetensors"].startswith("cannot be read")
    assert texts["e_lora.safetensors"] == "is no IQA-Adapter"
    assert listed("reference")[1] == "a_reference.safetensors"


def test_the_loader_says_what_it_loaded(folder, tiny):
    save_adapter(tiny, folder / "mine.safetensors")
    adapter, text = loaders.IQAAdapterLoader.execute("mine.safetensors").args
    assert text == "mine.safetensors: score adapter (topiq_nr, laion_aes) for SD1.5"
    assert adapter.metadata.metric_names == ("topiq_nr", "laion_aes")


def test_metrics_are_entered_once_for_a_file(folder, tiny):
    path = bare(tiny, folder / "bare.safetensors")
    load, fingerprint = loaders.IQAAdapterLoader.execute, loaders.IQAAdapterLoader.fingerprint_inputs
    with pytest.raises(ValueError, match="does not say which metrics"):
        load("bare.safetensors")
    before = fingerprint("bare.safetensors")
    assert load("bare.safetensors", METRICS).args[0].metadata.metric_names == ("topiq_nr", "laion_aes")
    assert fingerprint("bare.safetensors") != before
    assert load("bare.safetensors").args[0].metadata.metric_names == ("topiq_nr", "laion_aes")
    path.rename(folder / "renamed.safetensors")
    folder_paths.filename_list_cache.pop("iqa_adapter", None)
    assert load("renamed.safetensors").args[0].metadata.metric_names == ("topiq_nr", "laion_aes")
    assert load("renamed.safetensors", "musiq, laion_aes").args[0].metadata.metric_names == ("musiq", "laion_aes")
    assert load("renamed.safetensors").args[0].metadata.metric_names == ("musiq", "laion_aes")


def test_metrics_that_do_not_fit_are_not_remembered(folder, tiny):
    bare(tiny, folder / "bare.safetensors")
    with pytest.raises(ValueError, match="does not fit 5 quality values"):
        loaders.IQAAdapterLoader.execute("bare.safetensors", ", ".join(list(cc3m_statistics())[:5]))
    with pytest.raises(ValueError, match="does not say which metrics"):
        loaders.IQAAdapterLoader.execute("bare.safetensors")


def test_files_that_say_their_metrics_are_not_written_down(folder):
    loaders.IQAAdapterLoader.execute(SCORE.file.name, METRICS)
    assert not (folder / remembered.FILE).exists()


def test_a_damaged_memory_is_a_warning(folder, tiny, caplog):
    path = bare(tiny, folder / "bare.safetensors")
    (folder / remembered.FILE).write_text("[1]")
    assert remembered.recall(folder, path) == "" and "not remembered" in caplog.text
    remembered.remember(folder, path, METRICS)
    assert remembered.recall(folder, path) == METRICS


def test_a_file_that_changed_is_described_anew(folder, tiny):
    path = folder / "mine.safetensors"
    save_adapter(tiny, path)
    assert description.describe(path).kind == "score"
    shutil.copy(WEIGHTS / REFERENCE.file, path)
    assert description.describe(path).kind == "reference"
