"""Every supported metric gives pyiqa's own scores: ours and pyiqa's read the same files and see the same pictures.

One metric of every architecture is judged; those of a family differ in their files only.
"""

import socket

import folder_paths
import iqa_nets
import iqa_weights
import pyiqa_offline
import pytest
import torch

from comfyui_runtime import room

activations = room("iqa_models.activations")
catalogue = room("iqa_models.catalogue")
loading = room("iqa_models.loading")
scoring = room("iqa_models.scoring")

METRICS = [*(family[0] for family in iqa_weights.families()), "clipiqa+", "qualiclip+"]  # learned prompts
METRICS.remove("maniqa-pipal")  # maniqa with another factor


def with_few_crops(net):
    """Two crops of a picture instead of the 20 to 50 that some metrics take their time with."""
    for option in {"num_crop", "test_sample"} & vars(net).keys():
        setattr(net, option, 2)


@pytest.fixture(scope="module", params=METRICS)
def files(request, tmp_path_factory):
    """Name of a metric, and a folder with its files."""
    folder = tmp_path_factory.mktemp("iqa")
    iqa_weights.write_weights(request.param, folder)
    yield request.param, folder
    for file in folder.iterdir():
        file.unlink()  # some hold a gigabyte


def test_scores_are_pyiqas_own(files, tmp_path, monkeypatch):
    name, folder = files
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was touched"))
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "iqa", ([str(folder)], {".pth"}))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    model = loading.load_iqa_model(name)
    with_few_crops(model.patcher.model.net)
    side = max(96, model.entry.minimum_side)
    images = iqa_nets.photos(1, side, side + 38)
    if name != "ilniqe":  # ten seconds per picture
        images = torch.cat([images, images**2])
    scores = scoring.score_images([model], images).values[:, 0]

    if name == "liqe":
        iqa_weights.write_clip("ViT-B/32", folder / "ViT-B-32.pt")  # which the metric's own weights overwrite
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
