"""Pictures, table and model become the samples that the loop wants, or one sentence says why not."""

import dataclasses

import iqa_nets
import pytest
import torch
import training_pictures
import training_runs

from iqa_adapter.iqa_models import features as activations
from iqa_adapter.iqa_models import loading
from iqa_adapter.pictures import cropping
from iqa_adapter.pictures import reading as pictures
from iqa_adapter.quickstart import model as quickstart
from iqa_adapter.training import (
    encoder,
    loop,
    observer,
    table,
)
from iqa_adapter.training import (
    score_set as scoring,
)
from iqa_adapter.training import (
    settings as training_settings,
)


@pytest.fixture(scope="module")
def models():
    return quickstart.load_quickstart()


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return training_pictures.write(tmp_path_factory.mktemp("photos"), 8)


@pytest.fixture(scope="module")
def scores(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scores")
    metrics = [loading.load_iqa_model(name) for name in ("entropy", "piqe")]
    scoring.score_dataset(pictures.find_pictures(photos), scoring.Scorer(metrics, "as is"), folder)
    return folder


@pytest.fixture(scope="module")
def iqa_model(tmp_path_factory):
    iqa_nets.write_cnniqa(tmp_path_factory.mktemp("iqa"))
    return loading.load_iqa_model("cnniqa")


@pytest.fixture(scope="module")
def features(photos, iqa_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("features")
    found = pictures.find_pictures(photos)
    scoring.score_dataset(found, scoring.Scorer([iqa_model], "as is", features=True, layer="fc1"), folder)
    return folder


def make(photos, scored, models, folder, iqa_model=None, **settings):
    settings = training_settings.DataSettings(**{"resolution": 64, "bucket_step": 8, "metrics": ["entropy"]} | settings)
    return training_runs.encoding(photos, table.ScoredTable.read(scored), models, settings, folder, iqa_model)


def items(*arguments, **settings):
    """All finished items."""
    data = make(*arguments, **settings).data
    return [data.item(index) for index in range(len(data.items))]


def test_items_are_what_comfyui_nodes_make(photos, scores, models, tmp_path):
    made = make(photos, scores, models, tmp_path)
    model, clip, vae = models
    item, picture = made.data.item(0), pictures.find_pictures(photos)[0]
    pixels = picture.read()[:, 8:72]  # 64 high, 80 wide
    assert torch.allclose(item["latent"], model.model.process_latent_in(vae.encode(pixels[None]))[0], atol=1e-3)
    embedding, _ = clip.encode_from_tokens_scheduled(clip.tokenize("smooth noise number 0"))[0]
    assert torch.allclose(item["text"].float(), embedding[0], atol=1e-2)
    assert item["size"].tolist() == [64, 80, 0, 8, 64, 64]
    rows = table.ScoredTable.read(scores).rows
    raw = rows.values[:, 0]
    expected = (raw[rows.keys.index("00.png")] - raw.mean()) / raw.std(correction=0)
    assert item["quality"].tolist() == pytest.approx([expected.item()], rel=1e-4)
    assert made.data.metadata.metric_names == ("entropy",) and made.items.buckets is None


def test_cache_changes_nothing_but_the_work(photos, scores, models, tmp_path, monkeypatch):
    plain = items(photos, scores, models, tmp_path / "no", cache=False)[:3]
    assert not (tmp_path / "no").exists()
    cached = make(photos, scores, models, tmp_path / "cache")
    cached.prepare(observer.Observer())
    files = set((tmp_path / "cache").rglob("*.safetensors"))
    assert len(files) == 3 and len(cached.items.cache.shards) == 8 + 8  # pictures, captions; and the empty caption
    again = make(photos, scores, models, tmp_path / "cache")

    def not_again(*_):
        raise AssertionError("encoded twice")

    monkeypatch.setattr(encoder, "encode_pictures", not_again)
    monkeypatch.setattr(encoder, "encode_text", not_again)
    for index, item in enumerate(plain):
        assert all(torch.equal(value, again.data.item(index)[name]) for name, value in item.items())
    assert set((tmp_path / "cache").rglob("*.safetensors")) == files


def test_cache_notices_what_changes_its_contents(photos, scores, models, tmp_path):
    made = make(photos, scores, models, tmp_path)
    made.data.item(0)
    before = len(list(tmp_path.rglob("*.safetensors")))
    model, clip, vae = models
    other = clip.clone()
    other.clip_layer(-2)
    changed = make(photos, scores, (model, other, vae), tmp_path, resolution=32)
    assert not torch.equal(changed.data.item(0)["text"], made.data.item(0)["text"])
    assert len(list(tmp_path.rglob("*.safetensors"))) == before + 3  # empty caption, caption, smaller latent


def test_buckets_keep_aspect_ratios(photos, scores, models, tmp_path):
    made = make(photos, scores, models, tmp_path, buckets=True)
    assert made.items.buckets[0] != made.items.buckets[1]
    shapes = [tuple(made.data.item(i)["latent"].shape[1:]) for i in (0, 1)]
    assert shapes[0] == shapes[1][::-1] and shapes[0][1] > shapes[0][0]
    settings = training_settings.TrainingSettings(steps=2, batch_size=2, precision="float32")
    loop.train(models[0], made.data, settings, tmp_path / "run")


def test_bucket_sizes():
    sizes = cropping.bucket_sizes(512, 64)
    assert (512, 512) in sizes and all(h % 64 == w % 64 == 0 and h * w <= 512 * 512 for h, w in sizes)
    assert sizes[cropping.nearest_bucket(1000, 1000, sizes)] == (512, 512)
    height, width = sizes[cropping.nearest_bucket(600, 900, sizes)]
    assert width / height == pytest.approx(1.5, abs=0.3)
    covered = cropping.scale_to_cover(torch.rand(100, 300, 3), (64, 64))
    assert covered.shape == (64, 192, 3)
    assert cropping.centre_crop(covered, (64, 64))[1] == (0, 64)


def test_reference_set_takes_activations_from_the_table(photos, features, models, iqa_model, tmp_path):
    made = make(photos, features, models, tmp_path, metrics=())
    read = table.ScoredTable.read(features)
    mean, std = (torch.tensor(read.statistics[name]) for name in ("mean", "std"))
    assert torch.allclose(made.data.item(2)["quality"], (read.rows.values[2].float() - mean) / std)
    metadata = made.data.metadata
    assert (metadata.kind, metadata.iqa_model, metadata.layer) == ("reference", "cnniqa", "fc1")
    assert metadata.feature_mean == tuple(read.statistics["mean"])


def test_distorted_variants(photos, features, models, iqa_model, tmp_path):
    """The activations are those of the very picture that the latent holds, and every variant is drawn once for all."""
    options = {"metrics": (), "iqa_model": iqa_model, "distortion_rate": 1.0, "variants": 2}
    made = make(photos, features, models, tmp_path, **options)
    assert len(made.items) == 16 and not torch.equal(made.data.item(0)["latent"], made.data.item(1)["latent"])
    plain = make(photos, features, models, tmp_path, metrics=())
    assert not torch.equal(plain.data.item(0)["latent"], made.data.item(0)["latent"])
    model, _, vae = models
    pixels = vae.decode(model.model.process_latent_out(made.data.item(1)["latent"][None]))
    raw = activations.extract_features(iqa_model, pixels, "fc1").tensor[0]
    assert torch.allclose(made.data.item(1)["quality"], made.items.standardise(raw), atol=0.1)
    fresh = make(photos, features, models, tmp_path / "fresh", **options)
    assert all(torch.equal(fresh.data.item(1)[name], made.data.item(1)[name]) for name in fresh.data.item(1))


def test_other_crop_shows_other_content_to_the_iqa_model(photos, features, models, iqa_model, tmp_path):
    made = items(photos, features, models, tmp_path, metrics=(), iqa_model=iqa_model, other_crop=True, variants=2)
    plain = items(photos, features, models, tmp_path, metrics=())
    assert torch.equal(made[0]["latent"], plain[0]["latent"]) and torch.equal(made[1]["latent"], plain[0]["latent"])
    assert not torch.equal(made[0]["quality"], made[1]["quality"])


def test_what_does_not_fit_is_said_before_any_work(photos, scores, features, models, iqa_model, tmp_path):
    with pytest.raises(ValueError, match="has no such column. Unknown metric 'entropie'.*Did you mean entropy"):
        make(photos, scores, models, tmp_path, metrics=("entropie",))
    more = training_pictures.write(tmp_path / "more", 9)
    with pytest.raises(ValueError, match="1 of 9 pictures have no row in the table .*the first is 08.png"):
        make(more, scores, models, tmp_path)
    with pytest.raises(ValueError, match="are for reference-based training.*holds scores"):
        make(photos, scores, models, tmp_path, other_crop=True)
    with pytest.raises(ValueError, match="need the IQA model of the table, cnniqa"):
        make(photos, features, models, tmp_path, metrics=(), other_crop=True)
    with pytest.raises(ValueError, match="have no metrics to choose from"):
        make(photos, features, models, tmp_path)


def test_replaced_pictures_are_noticed(scores, models, tmp_path):
    folder = training_pictures.write(tmp_path / "photos", 8)
    (folder / "00.png").write_bytes((folder / "01.png").read_bytes())
    with pytest.raises(ValueError, match="00.png is no longer the picture that was scored"):
        items(folder, scores, models, tmp_path / "cache")


def test_unreadable_pictures_are_left_out(models, tmp_path):
    folder = training_pictures.write(tmp_path / "photos", 4)
    (folder / "02.png").write_bytes(b"damaged")
    metrics = [loading.load_iqa_model("entropy")]
    scoring.score_dataset(pictures.find_pictures(folder), scoring.Scorer(metrics, "as is"), tmp_path / "t")
    made = make(folder, tmp_path / "t", models, tmp_path / "cache")
    assert [picture.key for picture in made.items.pictures] == ["00.png", "01.png", "03.png"]


@pytest.mark.parametrize("change", [{"resolution": 100}, {"distortion_rate": 2.0}, {"variants": 0}, {"metrics": "a"}])
def test_bad_settings(change):
    name = next(iter(change))
    with pytest.raises(ValueError, match=f"Training settings: {name} must be"):
        dataclasses.replace(training_settings.DataSettings(), **change)
