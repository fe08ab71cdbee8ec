"""Images -> activations of a layer; mixing, files, and the conditioning that they make."""

import dataclasses
import json

import iqa_nets
import models
import pytest
import torch
from comfy.model_patcher import ModelPatcher
from safetensors.torch import save_file
from torch import nn

from iqa_adapter.adapter import tokens
from iqa_adapter.adapter.adapter import Adapter
from iqa_adapter.adapter.metadata import Metadata
from iqa_adapter.iqa_models import catalogue, loading, mixing
from iqa_adapter.iqa_models import features as activations
from iqa_adapter.nodes import reference as nodes
from iqa_adapter.nodes.reference import IQAReferenceFeatures


@pytest.fixture(scope="module")
def cnniqa(tmp_path_factory):
    iqa_nets.write_cnniqa(tmp_path_factory.mktemp("iqa"))
    return loading.load_iqa_model("cnniqa")


class Net(nn.Module):
    """A map, tokens, a vector, crops, tokens before images, and a layer that never runs."""

    def __init__(self):
        super().__init__()
        self.map, self.tokens, self.vector = nn.Identity(), nn.Identity(), nn.Identity()
        self.crops, self.tokens_first, self.twice, self.unused = (nn.Identity() for _ in range(4))

    def forward(self, images):
        """The map is the picture itself; everything else is made of it."""
        maps = self.map(images)
        tokens = self.tokens((maps.flatten(2).transpose(1, 2), "a second output"))[0]
        self.tokens_first(tokens.transpose(0, 1))
        self.crops(torch.stack([images.amax((2, 3)), images.amin((2, 3))], 1).flatten(0, 1))
        self.twice(images.amax((2, 3)))
        self.twice(images.amin((2, 3)))
        return self.vector(maps.mean((2, 3))).mean(1)


@pytest.fixture(scope="module")
def known():
    """A model whose activations are the colours of the picture."""
    device = torch.device("cpu")
    layer = catalogue.FeatureLayer("vector", 3, True)
    entry = dataclasses.replace(catalogue.find("cnniqa"), minimum_side=1, batch_safe=True, layer=layer)
    return loading.IQAModel(entry, ModelPatcher(loading.ScoringModel(Net()), device, device))


IMAGES = iqa_nets.photos(4, 24, 16)
MEAN = IMAGES.mean((1, 2))
STD = IMAGES.std((1, 2), correction=0)
ENDS = torch.stack([IMAGES.amax((1, 2)), IMAGES.amin((1, 2))])


@pytest.mark.parametrize("layer", ["map", "tokens", "tokens_first"])
@pytest.mark.parametrize(
    ("pooling", "expected"),
    [("", MEAN), ("mean", MEAN), ("max", ENDS[0]), ("mean+std", torch.cat([MEAN, STD], 1))],
)
def test_pooling_over_positions(known, layer, pooling, expected):
    features = activations.extract_features(known, IMAGES, layer, pooling)
    torch.testing.assert_close(features.tensor, expected, atol=1e-5, rtol=1e-5)
    assert (features.model, features.layer, features.pooling) == ("cnniqa", layer, pooling or "mean")


def test_as_many_tokens_as_images_are_not_mixed_up(known):
    images = iqa_nets.photos(4, 24, 16)[:, :2, :2]
    features = activations.extract_features(known, images, "tokens_first", "max")
    torch.testing.assert_close(features.tensor, images.amax((1, 2)))


@pytest.mark.parametrize("layer", ["crops", "twice"])
def test_crops_and_repeated_calls_are_positions_of_their_image(known, layer):
    features = activations.extract_features(known, IMAGES, layer)
    torch.testing.assert_close(features.tensor, ENDS.mean(0))
    features = activations.extract_features(known, IMAGES, layer, "max")
    torch.testing.assert_close(features.tensor, ENDS.amax(0))


def test_vectors_need_no_pooling(known):
    features = activations.extract_features(known, IMAGES)
    torch.testing.assert_close(features.tensor, MEAN)
    assert (features.layer, features.pooling) == ("vector", "none")
    with pytest.raises(ValueError, match="map of cnniqa has 384 positions per image"):
        activations.extract_features(known, IMAGES, "map", "none")


def test_a_pyiqa_net(cnniqa):
    images = iqa_nets.photos(3)
    features = activations.extract_features(cnniqa, images)
    assert features.tensor.shape == (3, cnniqa.entry.layer.width) and features.layer == "fc2"
    net = cnniqa.patcher.model.net
    with torch.no_grad():
        maps = net.conv1(images.movedim(-1, 1).to(cnniqa.patcher.load_device))
        hidden = net.fc1(torch.cat([maps.amax((2, 3)), maps.amin((2, 3))], 1)).relu()
        torch.testing.assert_close(features.tensor, net.fc2(hidden).cpu(), atol=1e-5, rtol=1e-5)
    alone = torch.cat([activations.extract_features(cnniqa, image[None]).tensor for image in images])
    torch.testing.assert_close(features.tensor, alone, atol=1e-5, rtol=1e-5)
    assert not any(module._forward_hooks for module in net.modules())


def test_layers_and_poolings_that_do_not_exist_are_refused(known, cnniqa):
    with pytest.raises(ValueError, match="cnniqa has no layer 'token'; the nearest are tokens,"):
        activations.extract_features(known, IMAGES, "token")
    with pytest.raises(ValueError, match="Layer unused does not run"):
        activations.extract_features(known, IMAGES, "unused")
    with pytest.raises(ValueError, match=r"Unknown pooling 'avg'; expected one of mean, max, mean\+std, none"):
        activations.extract_features(known, IMAGES, "map", "avg")
    with pytest.raises(ValueError, match="piqe is computed by a formula and has no layers"):
        activations.extract_features(loading.load_iqa_model("piqe"), IMAGES)
    with pytest.raises(ValueError, match="contains NaN"):
        activations.extract_features(cnniqa, IMAGES * float("nan"))


def features_of(*rows, model="cnniqa", layer="fc2", pooling="none"):
    return activations.Features(torch.tensor(rows, dtype=torch.float32), model, layer, pooling)


def test_combine():
    two, one = features_of([1, 2], [3, 4]), features_of([8, 0])
    assert mixing.combine([two]).tensor.tolist() == [[2, 3]]
    assert mixing.combine([two, one]).tensor.tolist() == [[4, 2]]
    torch.testing.assert_close(mixing.combine([two, one], [1, 2, 1]).tensor, torch.tensor([[3.75, 2.5]]))
    with pytest.raises(ValueError, match="2 weights were given for 3 reference pictures"):
        mixing.combine([two, one], [1, 2])
    for weights in ([0, 0, 0], [1, -1, 1]):
        with pytest.raises(ValueError, match="at least 0 and not all 0"):
            mixing.combine([two, one], weights)


def test_blend_and_difference():
    a, b, c = features_of([0, 0]), features_of([4, 8], [8, 16]), features_of([1, 1])
    assert mixing.blend(a, b, 0.25).tensor.tolist() == [[1, 2], [2, 4]]
    assert mixing.blend(a, b, 0).tensor.tolist() == [[0, 0], [0, 0]]
    assert mixing.add_difference(a, b, c, 2).tensor.tolist() == [[6, 14], [14, 30]]
    with pytest.raises(ValueError, match="Batches of 2 and 3 reference pictures"):
        mixing.blend(b, features_of([1, 1], [2, 2], [3, 3]), 0.5)


@pytest.mark.parametrize("other", [{"model": "musiq"}, {"layer": "fc1"}, {"pooling": "mean"}])
def test_features_of_different_sources_are_not_mixed(other):
    a, b = features_of([1, 2]), features_of([1, 2], **other)
    for mix in (
        lambda: mixing.combine([a, b]),
        lambda: mixing.blend(a, b, 0.5),
        lambda: mixing.add_difference(a, a, b, 1),
    ):
        with pytest.raises(ValueError, match="cannot be mixed"):
            mix()


def test_files(tmp_path):
    features, path = features_of([1, 2.5], [3, 4]), tmp_path / "sharp.safetensors"
    activations.save_features(features, path)
    loaded = activations.load_features(path)
    assert torch.equal(loaded.tensor, features.tensor) and loaded.source == features.source
    assert [file.name for file in tmp_path.iterdir()] == ["sharp.safetensors"]
    save_file({"features": torch.ones(1, 2)}, tmp_path / "bare.safetensors")
    save_file({"other": torch.ones(1)}, tmp_path / "other.safetensors", {"iqa_features": json.dumps({})})
    (tmp_path / "broken.safetensors").write_bytes(path.read_bytes()[:30])
    for name, reason in (("bare", "is no file of IQA"), ("other", "is no file of IQA"), ("broken", ".* is truncated")):
        with pytest.raises(ValueError, match=f"{name}.safetensors {reason}"):
            activations.load_features(tmp_path / f"{name}.safetensors")


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="Activations of cnniqa, layer fc2, pooling none are not finite"):
        features_of([1, float("inf")])


@pytest.fixture(scope="module")
def adapter():
    return models.random_adapter(
        models.comfy_model("SD1.5"),
        metrics=("r", "g", "b"),
        kind="reference",
        iqa_model="cnniqa",
        layer="map",
        pooling="mean",
        protocol="as is",
        feature_mean=(0.5, 0.5, 0.5),
        feature_std=(0.1, 0.2, 0.3),
    )


def test_nodes_from_picture_to_embeds(known, adapter):
    (features,) = nodes.IQAReferenceFeatures.execute([known], [IMAGES], [adapter], layer=["vector"]).args
    assert (features.layer, features.pooling) == ("map", "mean")  # the adapter's, not those asked for
    (mean,) = nodes.IQAReferenceFeatures.execute(
        [known], [IMAGES], [adapter], references=["mean"], weights=["1, 0, 0, 1"]
    ).args
    torch.testing.assert_close(mean.tensor, (MEAN[:1] + MEAN[3:]) / 2, atol=1e-5, rtol=1e-5)
    (mixed,) = nodes.IQAMixFeatures.execute(features, mean, "blend", 0.5).args
    (made,) = nodes.IQAReferenceEmbed.execute(adapter, mixed, mean).args
    expected = tokens.embed_features(adapter, (features.tensor + mean.tensor) / 2, mean.tensor)
    torch.testing.assert_close(made.cond, expected.cond)
    torch.testing.assert_close(made.uncond, expected.uncond)
    assert len(made) == 4
    with pytest.raises(ValueError, match="needs features_c"):
        nodes.IQAMixFeatures.execute(features, mean, "add what B has over C", 0.5)
    for weights in ("1: 2", "inf, 1, 1, 1"):
        with pytest.raises(ValueError, match=f"weights '{weights}' cannot be read"):
            nodes.IQAReferenceFeatures.execute([known], [IMAGES], weights=[weights])


def test_an_adapter_refuses_what_it_was_not_trained_on(known, adapter):
    trained = r"trained on activations of cnniqa \(layer map, pooling mean\), but these are of "
    for other in ({"model": "musiq"}, {"layer": "fc1"}, {"pooling": "max"}):
        wrong = features_of([1, 2, 3], **{"layer": "map", "pooling": "mean", **other})
        right = features_of([1, 2, 3], layer="map", pooling="mean")
        for pair in ((wrong,), (right, wrong)):
            with pytest.raises(ValueError, match=trained + wrong.model):
                nodes.IQAReferenceEmbed.execute(adapter, *pair)
    with pytest.raises(ValueError, match=trained + "piqe"):
        nodes.IQAReferenceFeatures.execute([loading.load_iqa_model("piqe")], [IMAGES], [adapter])
    with pytest.raises(ValueError, match="conditioned on scores"):
        nodes.IQAReferenceEmbed.execute(models.random_adapter(models.comfy_model("SD1.5")), features_of([1, 2]))


def test_reference_adapter_decides_the_size_at_which_references_are_seen():
    model = loading.load_iqa_model("quickstart_iqa")
    photo = torch.rand(1, 128, 96, 3, generator=torch.Generator().manual_seed(4))
    for protocol in ("64", "as is"):
        metadata = Metadata(
            kind="reference", iqa_model="quickstart_iqa", layer="classifier.1", pooling="none", protocol=protocol
        )
        adapter = Adapter("test", metadata, None, ())
        seen = IQAReferenceFeatures.execute([model], [photo], [adapter]).args[0]
        expected = activations.extract_features(model, photo, "classifier.1", "none", protocol)
        assert torch.equal(seen.tensor, expected.tensor)
