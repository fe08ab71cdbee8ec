"""Weights are found, read whole and without code, or refused in one sentence."""

import os
import pickle
import re
import shutil
import socket
import zipfile

import folder_paths
import iqa_nets
import iqa_weights
import pytest
import safetensors.torch
import torch

from iqa_adapter.iqa_models import catalogue, construction, loading, scoring
from iqa_adapter.iqa_models import features as activations
from iqa_adapter.quickstart import iqa as quickstart_iqa
from iqa_adapter.quickstart.model import WEIGHTS

CNNIQA = iqa_nets.CNNIQA_FILE


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was touched"))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("an address was looked up"))


@pytest.fixture()
def folder(tmp_path, monkeypatch):
    """``models/iqa/`` for one test, and empty caches."""
    folder = tmp_path / "iqa"
    folder.mkdir()
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "iqa", ([str(folder)], {".safetensors", ".pth", ".pt"}))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HOME", str(tmp_path))
    yield folder
    shutil.rmtree(folder)  # some hold half a gigabyte


@pytest.fixture(scope="module")
def state():
    """State dict of a CNNIQA."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return construction.build("cnniqa", {}).state_dict()


def refusal(match):
    return pytest.raises(ValueError, match=match)


def loaded(name="cnniqa"):
    return loading.load_iqa_model(name).patcher.model.net.state_dict()


# Files


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"params": state},
        lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}, "epoch": 3},
        lambda state: state,
    ],
    ids=["params", "module.", "plain"],
)
def test_state_dicts_as_training_scripts_store_them(folder, state, wrap):
    torch.save(wrap(state), folder / CNNIQA)
    assert all(torch.equal(value, state[key]) for key, value in loaded().items())


def test_safetensors_come_before_pickles(folder, state):
    (folder / CNNIQA).write_bytes(b"never read")
    safetensors.torch.save_file(state, (folder / CNNIQA).with_suffix(".safetensors"))
    assert all(torch.equal(value, state[key]) for key, value in loaded().items())


@pytest.mark.parametrize("cache", ["torch/hub/pyiqa", "torch/hub/checkpoints"])
def test_caches_of_pyiqa_and_torch_hub(folder, tmp_path, state, cache):
    (tmp_path / cache).mkdir(parents=True)
    torch.save(state, tmp_path / cache / CNNIQA)
    assert all(torch.equal(value, state[key]) for key, value in loaded().items())


def test_missing_weights_are_named_with_folder_and_source(folder):
    with pytest.raises(FileNotFoundError) as failure:
        loading.load_iqa_model("clipiqa+")
    prompts, clip = catalogue.find("clipiqa+").weights
    assert str(failure.value) == (
        f"Weights of clipiqa+ are missing: put {prompts.name} from {prompts.source} and RN50.pt from {clip.source} "
        f"into {folder}, or switch download_if_missing on."
    )
    with refusal("qalign cannot be used here: it is a vision-language model"):
        loading.load_iqa_model("qalign")


# Refusals


class Harmful:
    def __reduce__(self):
        return os.mkdir, (str(self.folder / "harm"),)

    def __init__(self, folder):
        self.folder = folder


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_pickle_with_code_never_runs(folder, state, legacy):
    harmful = {"params": state, "more": Harmful(folder)}
    if legacy:
        (folder / CNNIQA).write_bytes(pickle.dumps(harmful))
    else:
        torch.save(harmful, folder / CNNIQA)
    with refusal(rf"{CNNIQA} \(\d+ bytes\) is a pickle with code in it .*was not opened further\. Get a \.safetensors"):
        loading.load_iqa_model("cnniqa")
    assert not (folder / "harm").exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_truncated_files(folder, state, suffix, share):
    path = (folder / CNNIQA).with_suffix(suffix)
    if suffix == ".pth":
        torch.save({"params": state}, path)
    else:
        safetensors.torch.save_file(state, path)
    size = int(path.stat().st_size * share)
    os.truncate(path, size)
    with refusal(rf"{path.name} \({size} bytes\) is truncated or damaged: .*Delete it, and get it again"):
        loading.load_iqa_model("cnniqa")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda state: {key: value for key, value in state.items() if "fc2" not in key}, "fc2"),
        (lambda state: state | {"more": torch.zeros(1)}, "Unexpected key"),
        (lambda state: state | {"fc3.bias": torch.zeros(3)}, "size mismatch for fc3.bias"),
    ],
    ids=["less", "more", "other shape"],
)
def test_state_dicts_of_other_nets(folder, state, change, reason):
    torch.save({"params": change(state)}, folder / CNNIQA)
    with refusal(rf"{CNNIQA} does not hold the weights of cnniqa: .*{reason}"):
        loading.load_iqa_model("cnniqa")


@pytest.mark.parametrize("content", [torch.zeros(3), [1, 2], {"params": [1, 2]}], ids=["tensor", "list", "no dict"])
def test_files_without_a_state_dict(folder, content):
    torch.save(content, folder / CNNIQA)
    with refusal(f"{CNNIQA} (holds no state dict|does not hold the weights of cnniqa)"):
        loading.load_iqa_model("cnniqa")


@pytest.mark.parametrize("name", ["wadiqam_nr", "arniqa", "quickstart_iqa"])
def test_wrong_content_where_pyiqa_reads_the_file_itself(folder, name):
    for file in catalogue.find(name).weights:
        content = {"something": torch.zeros(1)}
        if file.name.endswith(".safetensors"):
            safetensors.torch.save_file(content, folder / file.name)
        else:
            torch.save(content, folder / file.name)
    with refusal(rf"{re.escape(catalogue.find(name).weights[0].name)}.* does not hold the weights of {name}"):
        loading.load_iqa_model(name)


def test_of_torchscript_only_tensors_are_read(folder, state):
    iqa_weights.write_torchscript(state, folder / CNNIQA)
    assert all(torch.equal(value, state[key]) for key, value in loaded().items())


def test_a_torchscript_archive_with_code_never_runs(folder):
    with zipfile.ZipFile(folder / CNNIQA, "w") as archive:
        archive.writestr("archive/constants.pkl", pickle.dumps(()))
        archive.writestr("archive/data.pkl", pickle.dumps({"weight": Harmful(folder)}, protocol=2))
    with refusal(rf"{CNNIQA} .* is a pickle with code in it \((posix|nt)\.mkdir has no place among tensors\)"):
        loading.load_iqa_model("cnniqa")
    assert not (folder / "harm").exists()


# What loaded models give


def test_arniqas_features_are_full_and_half_scale(folder):
    iqa_weights.write_weights("arniqa", folder)
    model, images = loading.load_iqa_model("arniqa"), iqa_nets.photos(2)
    net, features = model.patcher.model.net, activations.extract_features(model, images)
    full, half = net._preprocess(images.movedim(-1, 1).to(model.patcher.load_device))
    for part, pixels in zip(features.tensor.chunk(2, dim=1), (full, half), strict=True):
        encoded = torch.nn.functional.normalize(net.encoder(pixels).flatten(1), dim=1)
        torch.testing.assert_close(part, encoded.cpu(), atol=1e-5, rtol=1e-4)


def test_the_quickstarts_model_is_loaded_like_every_other():
    """From the pack's own folder; scores and features are those that its adapters were trained with."""
    own, _ = quickstart_iqa.load_iqa(WEIGHTS)
    model, images = loading.load_iqa_model(quickstart_iqa.IQA_MODEL), iqa_nets.photos(5, 64, 64)
    own, pixels = own.to(model.patcher.load_device), images.movedim(-1, 1).to(model.patcher.load_device)
    scores = scoring.score_images([model], images).values[:, 0]
    torch.testing.assert_close(scores, quickstart_iqa.quality(own, pixels).cpu(), atol=1e-5, rtol=0)
    features = activations.extract_features(model, images)
    assert (features.layer, features.pooling) == (quickstart_iqa.FEATURE_LAYER, "none")
    torch.testing.assert_close(features.tensor, quickstart_iqa.features(own, pixels).cpu(), atol=1e-5, rtol=1e-4)
    assert features.tensor.shape == (5, model.entry.layer.width) == (5, 64)
