"""Numbers that know what they mean: how pictures were resized, pictures that a metric cannot judge, memory, names."""

import dataclasses
import logging
import math
import os
import sys
import threading
import time

import clip
import folder_paths
import iqa_nets
import iqa_weights
import models as unets
import pyiqa
import pytest
import timm
import torch
import torchvision

from iqa_adapter.adapter.metadata import Metadata
from iqa_adapter.iqa_models import batches, catalogue, construction, features, loading, mixing, score_text, scoring
from iqa_adapter.iqa_models.architectures import import_architecture
from iqa_adapter.nodes import adapter_files, conditioning, loaders, reference
from iqa_adapter.nodes import scoring as nodes
from iqa_adapter.quality.resize import RESIZES
from iqa_adapter.quality.statistics import MetricStatistics, cc3m_statistics

CPU = torch.device("cpu")


@pytest.fixture()
def folder(tmp_path, monkeypatch):
    """``models/iqa/`` of one test."""
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "iqa", ([str(tmp_path)], {".pth", ".safetensors"}))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path


@pytest.fixture(scope="module")
def entropy():
    return loading.load_iqa_model("entropy")


@pytest.fixture(scope="module")
def quickstart():
    return loading.load_iqa_model("quickstart_iqa")


def features_of(resize="64", rows=1):
    return features.Features(torch.rand(rows, 3), "cnniqa", "map", "mean", resize)


def adapter_of(**fields):
    return unets.random_adapter(unets.comfy_model("SD1.5"), ("r", "g", "b"), **fields)


REFERENCE = {"kind": "reference", "iqa_model": "cnniqa", "layer": "map", "pooling": "mean"}


# The resize travels, and is compared where numbers meet


@pytest.mark.parametrize("resize", RESIZES)
def test_scores_and_features_say_how_pictures_were_resized(entropy, quickstart, resize):
    images = iqa_nets.photos(1, 80, 96)
    assert scoring.score_images([entropy], images, resize).resize == resize
    (shown, _, _) = nodes.IQAScoreImages.execute([entropy], [images], protocol=[resize]).args
    assert shown.resize == resize
    taken = reference.IQAReferenceFeatures.execute([quickstart], [images], protocol=[resize]).args[0]
    assert taken.resize == resize


@pytest.mark.parametrize(("trained", "given"), [("64", "512"), ("512", "as is"), ("as is", "64")])
def test_an_adapter_refuses_features_of_another_resize(trained, given):
    adapter = adapter_of(**REFERENCE, protocol=trained)
    with pytest.raises(ValueError, match="was trained on pictures .* but these activations are of pictures"):
        reference.IQAReferenceEmbed.execute(adapter, features_of(given))
    with pytest.raises(ValueError, match="was trained on pictures"):
        reference.IQAReferenceEmbed.execute(adapter, features_of(trained), features_of(given))
    assert len(reference.IQAReferenceEmbed.execute(adapter, features_of(trained)).args[0]) == 1


def test_features_of_different_resize_are_not_mixed():
    with pytest.raises(ValueError, match="pictures scaled to 64x64 pixels, and of .* scaled to 512x512 pixels, cannot"):
        mixing.blend(features_of("64"), features_of("512"), 0.5)
    assert mixing.blend(features_of("64"), features_of("64"), 0.5).resize == "64"
    assert mixing.blend(features_of("64"), features_of(""), 0.5).resize == ""


def test_files_of_features_say_it_and_older_ones_are_read_with_a_notice(tmp_path, caplog):
    features.save_features(features_of("64"), tmp_path / "new.safetensors")
    assert features.load_features(tmp_path / "new.safetensors").resize == "64" and not caplog.records
    features.save_features(features_of(""), tmp_path / "old.safetensors")
    old = features.load_features(tmp_path / "old.safetensors")
    assert old.resize == "" and "does not say how its pictures were scaled" in caplog.text
    assert reference.IQAReferenceEmbed.execute(adapter_of(**REFERENCE, protocol="64"), old).args


def scores_of(resize, **columns):
    return scoring.Scores(tuple(columns), torch.tensor(list(columns.values())).T, resize)


def described(*names, resize):
    return tuple(MetricStatistics(name, 0.5, 0.1, {1: 0.1, 99: 0.9}, resize=resize) for name in names)


@pytest.mark.parametrize(("trained", "given"), [("512", "as is"), ("64", "512"), ("as is", "64")])
def test_scores_to_match_must_be_of_the_adapters_resize(trained, given):
    metadata = Metadata(metrics=described("r", "g", "b", resize=trained))
    adapter = dataclasses.replace(adapter_of(), metadata=metadata)
    with pytest.raises(ValueError, match=f"Set resize in Score Images to '{trained}'"):
        conditioning.IQAQualityEmbed.execute(adapter, 50, 50, match_scores=scores_of(given, r=[0.3]))
    conditioning.IQAQualityEmbed.execute(adapter, 50, 50, match_scores=scores_of(trained, r=[0.3]))


def test_score_adapters_of_version_0_1_0_do_not_say_it(caplog):
    """They all say 512, whatever their pictures were."""
    metrics = ", ".join(f'{{"name": "{name}", "mean": 0.5, "std": 0.1, "percentiles": {{"1": 0.1, "99": 0.9}}}}'
                        for name in "rgb")  # fmt: skip
    old = Metadata.from_json(f'{{"kind": "score", "protocol": "512", "metrics": [{metrics}]}}')
    assert old.protocol == "" and old.metrics[0].resize == ""
    adapter = dataclasses.replace(adapter_of(), metadata=old)
    conditioning.IQAQualityEmbed.execute(adapter, 50, 50, match_scores=scores_of("as is", r=[0.3]))
    assert "does not say how its training pictures were scaled" in caplog.text


def test_metadata_keeps_it_in_both_kinds():
    score = Metadata(metrics=described("topiq_nr", resize="as is"))
    assert score.protocol == "as is"
    for metadata in (score, Metadata(metrics=({"name": "x"},), protocol="64"), Metadata(**REFERENCE, protocol="64")):
        assert Metadata.from_json(metadata.to_json()) == metadata
    assert Metadata(metrics=({"name": "x"},), protocol="64").metrics[0].resize == "64"


def test_percentiles_are_shown_for_the_resize_that_they_hold_for():
    assert " %, poor)" in score_text.table(scores_of("512", topiq_nr=[0.5]))
    elsewhere = score_text.table(scores_of("as is", topiq_nr=[0.5]))
    assert " %," not in elsewhere and elsewhere.endswith("set resize to 512 to see them.")
    assert "set resize" not in score_text.table(scores_of("as is", piqe=[0.5]))


def test_reference_activations_without_an_adapter_follow_the_model(quickstart, folder):
    iqa_nets.write_cnniqa(folder)
    images = iqa_nets.photos(1, 80, 96)
    for model, resize in ((quickstart, "64"), (loading.load_iqa_model("cnniqa"), "512")):
        taken = reference.IQAReferenceFeatures.execute([model], [images]).args[0]
        assert taken.resize == model.entry.resize == resize
    schema = reference.IQAReferenceFeatures.define_schema()
    combo = next(each for each in schema.inputs if each.id == "protocol")
    assert list(combo.options) == ["as is", "512", "64", "auto"]


# Pictures that a metric has no answer for


def degenerate(side):
    generator, point = torch.Generator().manual_seed(3), torch.zeros(side, side, 3)
    point[5, 5] = 1
    return {
        "black": torch.zeros(side, side, 3),
        "white": torch.ones(side, side, 3),
        "grey": torch.full((side, side, 3), 0.5),
        "tiny variance": 0.5 + 1e-4 * torch.rand(side, side, 3, generator=generator),
        "ramp": torch.linspace(0, 1, side)[None, :, None].expand(side, side, 3),
        "one point": point,
    }


SLOW = ("nrqm", "pi")  # seconds per picture
FORMULAS = [
    *("piqe", "niqe", "niqe_matlab", "brisque", "brisque_matlab", "nrqm", "pi", "entropy", "colourfulness", "cnniqa"),
]


@pytest.mark.parametrize("name", FORMULAS)
def test_one_degenerate_picture_never_stops_a_batch(folder, caplog, name):
    if not catalogue.find(name).module:
        iqa_weights.write_weights(name, folder)
    model = loading.load_iqa_model(name)
    side = 112 if name in SLOW else 208
    photos = list(iqa_nets.photos(2, side, side))
    alone = [scoring.score_images([model], photo[None]).values.item() for photo in photos]
    caplog.clear()
    kinds = degenerate(side)
    for kind in list(kinds)[: 2 if name in SLOW else None]:
        picture = kinds[kind]
        mixed = [photos[0], picture, photos[1]]
        scores = scoring.score_images([model], mixed, names=["a.png", f"{kind}.png", "b.png"]).values[:, 0].tolist()
        assert [scores[0], scores[2]] == pytest.approx(alone, rel=1e-5, abs=1e-6), kind
        named = [record for record in caplog.records if f"no answer for {kind}.png" in record.getMessage()]
        assert len(named) == math.isnan(scores[1]), kind
        itself = scoring.score_images([model], picture[None]).values.item()
        assert scores[1] == pytest.approx(itself, rel=1e-4, abs=1e-5, nan_ok=True), kind
    assert not math.isinf(sum(alone))


def test_log_names_pictures_by_number(folder, caplog):
    iqa_weights.write_weights("niqe", folder)
    images = torch.cat([iqa_nets.photos(1, 208, 208), torch.zeros(1, 208, 208, 3)])
    scores = scoring.score_images([loading.load_iqa_model("niqe")], images).values
    assert scores.isnan().flatten().tolist() == [False, True]
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert line.startswith("niqe has no answer for image 2 of 2 (") and "\n" not in line


def test_metrics_that_fail_for_a_whole_batch_are_not_called_batch_safe():
    assert not any(catalogue.find(name).batch_safe for name in ("brisque", "niqe", "niqe_matlab", "nrqm", "pi"))


# Memory


def test_entropy_is_pyiqas_without_its_memory(entropy):
    images = (iqa_nets.photos(4, 120, 96) * 255).round() / 255
    theirs = pyiqa.create_metric("entropy", device="cpu")(images.movedim(-1, 1))
    ours = scoring.score_images([entropy], images).values[:, 0]
    torch.testing.assert_close(ours, theirs.flatten(), atol=1e-5, rtol=0)
    assert entropy.entry.bytes_per_pixel < 200


def test_automatic_batches_keep_within_free_memory(entropy):
    entry, pixels = entropy.entry, 256 * 256
    plenty = batches.automatic_batch_size(entry, pixels, CPU, math.inf)
    assert plenty == 16
    for pictures in (1, 3):
        free = pictures * entry.working_memory(pixels) / batches.SHARE_OF_FREE_MEMORY
        assert batches.automatic_batch_size(entry, pixels, CPU, free * 1.001) == pictures
    assert batches.automatic_batch_size(entry, pixels, CPU, 0) == 1


def test_memory_is_known_of_every_metric():
    for name in catalogue.names():
        entry = catalogue.find(name)
        assert entry.working_memory(100) > 0, name


# Pictures of 0...255, and lists


@pytest.mark.parametrize(
    "wrong",
    [lambda images: images * 255, lambda images: (images * 255).byte(), lambda images: (images * 3).round() + 1,
     lambda images: images * 65535],
    ids=["255", "bytes", "dark 255", "65535"],
)  # fmt: skip
def test_pictures_of_0_to_255_are_refused(entropy, wrong):
    images = iqa_nets.photos(2)
    with pytest.raises(ValueError, match=r"^Image 1 of 2 has values up to .* IMAGE means 0\.\.\.1\. Divide it "):
        scoring.score_images([entropy], wrong(images))
    assert scoring.score_images([entropy], images * 1.2).values.isfinite().all()  # HDR


def different_sizes():
    return [iqa_nets.photos(2, 64, 80), iqa_nets.photos(1, 96, 72, seed=5), iqa_nets.photos(1, 64, 80, seed=6)]


def test_lists_of_pictures_of_different_sizes(entropy, quickstart):
    images = different_sizes()
    scores, values, _ = nodes.IQAScoreImages.execute([entropy], images).args
    apart = torch.cat([scoring.score_images([entropy], batch).values for batch in images])
    assert torch.equal(scores.values, apart) and len(values) == 4
    best, places = nodes.IQASelectBest.execute(images, [scores], [4]).args[:2]
    assert places == apart[:, 0].argsort(descending=True).tolist()
    flat = [picture for batch in images for picture in batch]
    assert all(torch.equal(picture[0], flat[place]) for picture, place in zip(best, places, strict=True))
    (taken,) = reference.IQAReferenceFeatures.execute([quickstart], images).args
    assert len(taken) == 4


def test_equal_sizes_leave_as_one_batch(entropy):
    images = iqa_nets.photos(4)
    scores = scoring.score_images([entropy], images)
    for given in ([images], list(images.split(1))):
        (best,), places = nodes.IQASelectBest.execute(given, [scores], [2]).args[:2]
        assert torch.equal(best, images[places])


def test_an_input_that_holds_for_all_pictures_is_wanted_once(entropy):
    with pytest.raises(ValueError, match="resize was given 2 times"):
        nodes.IQAScoreImages.execute([entropy], [iqa_nets.photos(1)], protocol=["as is", "512"])


# Other threads pass through untouched while a net is built


def functions_that_constructors_call():
    return [torch.load, torch.jit.load, torch.hub.load_state_dict_from_url, torch.nn.Module.load_state_dict,
            timm.create_model, clip.load, torchvision.models.resnet18, _topiq().load_pretrained_network]  # fmt: skip


def test_other_threads_see_nothing_of_a_build(folder):
    state = {"weight": torch.randn(3)}
    torch.save(state, folder / "mine.pt")
    stop, errors, rounds = threading.Event(), [], []
    originals = functions_that_constructors_call()

    def watch():
        assert functions_that_constructors_call() == originals
        assert torch.equal(torch.load(folder / "mine.pt", weights_only=True)["weight"], state["weight"])
        result = torch.nn.Linear(2, 2).load_state_dict({}, strict=False)
        assert result.missing_keys == ["weight", "bias"]
        torch.manual_seed(7)
        assert torch.equal(torch.rand(4), expected)

    def other():
        while not stop.is_set():
            try:
                watch()
            except Exception as error:
                errors.append(repr(error))
            rounds.append(1)

    torch.manual_seed(7)
    expected = torch.rand(4)
    thread = threading.Thread(target=other)
    thread.start()
    try:
        for _ in range(3):
            for name in ("cnniqa", "nima-vgg16-ava", "unique", "quickstart_iqa", "topiq_nr"):
                construction.build(name, {})
    finally:
        stop.set()
        thread.join()
    assert not errors and len(rounds) > 5, errors[:3]


def test_a_build_draws_no_random_numbers_of_others():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = construction.build("cnniqa", {}).state_dict()
    assert torch.equal(before, torch.get_rng_state())
    again = construction.build("cnniqa", {}).state_dict()
    torch.manual_seed(2)
    other = construction.build("cnniqa", {}).state_dict()
    assert all(torch.equal(value, again[key]) for key, value in first.items())
    assert any(not torch.equal(value, other[key]) for key, value in first.items())


# Files, mirrors, names, versions


def test_a_weights_file_that_was_replaced_is_read_again(folder):
    fingerprint = loaders.IQAModelLoader.fingerprint_inputs
    absent = fingerprint("cnniqa")
    path = iqa_nets.write_cnniqa(folder)
    there = fingerprint("cnniqa")
    assert absent != there == fingerprint("cnniqa")
    time.sleep(0.01)
    iqa_nets.write_cnniqa(folder, seed=1)
    assert fingerprint("cnniqa") != there
    os.truncate(path, 10)
    assert fingerprint("piqe") == [] == fingerprint("entropy", True)


def test_a_mirror_of_hugging_face_is_honoured(monkeypatch):
    (file,) = catalogue.find("topiq_nr").weights
    assert file.source.startswith("https://huggingface.co/chaofengc/")
    monkeypatch.setenv("HF_ENDPOINT", "https://hf-mirror.example/")
    (mirrored,) = catalogue.find("topiq_nr").weights
    assert mirrored.source == file.source.replace("https://huggingface.co", "https://hf-mirror.example")


@pytest.mark.parametrize(
    ("typed", "message"),
    [("topik_nr", "Did you mean topiq_nr"), ("musik-spaq", "Did you mean musiq-spaq"), ("nicke", "Did you mean niqe")],
)
def test_the_nearest_name_is_one_of_the_whole_catalogue(typed, message):
    with pytest.raises(ValueError, match=message):
        adapter_files.description_of_bare(typed)
    base = adapter_of()
    with pytest.raises(ValueError, match=message):
        conditioning.IQAQualityEmbed.execute(base, 50, 50, targets=f"{typed}=+1z, r=0z, g=0z, b=0z")


def test_a_metric_of_the_catalogue_that_is_not_the_adapters():
    with pytest.raises(ValueError, match="topiq_nr is not among the metrics here, which are r, g, b"):
        conditioning.IQAQualityEmbed.execute(adapter_of(), 50, 50, targets="topiq_nr=+1z")
    niqe = adapter_files.description_of_bare("topiq_nr, niqe").metrics[1]
    assert not niqe.known and not niqe.higher_is_better


def test_a_metric_that_the_installed_pyiqa_lacks_says_so(monkeypatch):
    from pyiqa.default_model_configs import DEFAULT_CONFIGS

    assert catalogue.find("metaiqa").since == "0.1.16"
    monkeypatch.delitem(DEFAULT_CONFIGS, "metaiqa", raising=False)
    with pytest.raises(ValueError, match=r"^metaiqa is not in the installed pyiqa .*; it came with pyiqa 0\.1\.16\.$"):
        construction.build("metaiqa", {})


def test_cc3m_statistics_know_their_resize():
    assert {known.resize for known in cc3m_statistics().values()} == {"512"}


def _topiq():
    """pyiqa's module, which asks for facexlib and can do without it."""
    import_architecture("CFANet")
    return sys.modules["pyiqa.archs.topiq_arch"]
