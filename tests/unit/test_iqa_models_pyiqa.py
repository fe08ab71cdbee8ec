"""Every supported metric gives pyiqa's own scores: ours and pyiqa's read the same files and see the same pictures.

One metric of every architecture is judged; those of a family differ in their files only.
"""

import shutil
import socket

import folder_paths
import iqa_nets
import iqa_weights
import pyiqa_offline
import pytest
import torch

from iqa_adapter.iqa_models import features as activations
from iqa_adapter.iqa_models import loading, scoring

METRICS = [*(family[0] for family in iqa_weights.families()), "clipiqa+", "qualiclip+"]  # learned prompts
METRICS.remove("maniqa-pipal")  # maniqa with another factor
OVERWRITTEN = {"liqe": "ViT-B/32", "qualiclip": "RN50", "qualiclip+": "RN50"}  # pyiqa reads them all the same


def with_few_crops(net):
    """Two crops of a picture instead of the 20 to 50 that some metrics take their time with."""
    for option in {"num_crop", "test_sample"} & vars(net).keys():
        setattr(net, option, 2)


@pytest.fixture()
def folder(tmp_path, monkeypatch):
    """``models/iqa/`` for one test, empty caches, and no network."""
    folder = tmp_path / "iqa"
    folder.mkdir()
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was touched"))
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "iqa", ([str(folder)], {".pth"}))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    yield folder
    shutil.rmtree(folder)  # some hold a gigabyte


@pytest.mark.parametrize("name", METRICS)
def test_scores_are_pyiqas_own(folder, tmp_path, name):
    iqa_weights.write_weights(name, folder)
    model = loading.load_iqa_model(name)
    with_few_crops(model.patcher.model.net)
    side = max(96, model.entry.minimum_side)
    images = iqa_nets.photos(1, side, side + 38)
    if name != "ilniqe":  # ten seconds per picture
        images = torch.cat([images, images**2])
    scores = scoring.score_images([model], images).values[:, 0]

    if clip := OVERWRITTEN.get(name):
        iqa_weights.write_clip(clip, folder / f"{clip.replace('/', '-')}.pt")
    metric = pyiqa_offline.metric(name, folder, tmp_path)
    with_few_crops(metric.net)
    expected = torch.cat([metric(image[None]).reshape(1) for image in images.movedim(-1, 1)]).float()
    spread = (scores.max() - scores.min()).item()
    assert spread > 0 or len(images) == 1
    torch.testing.assert_close(scores, expected, atol=min(1e-5, spread / 10), rtol=0)  # spreads of some are tiny

    if model.entry.layer:
        features = activations.extract_features(model, images)
        assert features.tensor.shape == (2, model.entry.layer.width)
        assert not torch.equal(*features.tensor)
