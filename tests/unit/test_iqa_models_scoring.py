"""Images -> scores: equal to pyiqa, whatever the batch; every kind of image; bad ones end in one sentence."""

import dataclasses
import json
import os

import comfy.model_management
import comfy.utils
import folder_paths
import iqa_nets
import pytest
import torch

from iqa_adapter.iqa_models import loading, score_text, scoring
from iqa_adapter.nodes import scoring as nodes
from iqa_adapter.quality import statistics
from iqa_adapter.quality.standing import EMPTY, FULL

NAMES = ["piqe", "entropy", "cnniqa"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return iqa_nets.write_cnniqa(tmp_path_factory.mktemp("iqa"))


@pytest.fixture(scope="module")
def models(weights):
    return {name: loading.load_iqa_model(name) for name in NAMES}


def score(model, images, **options):
    return scoring.score_images([model], images, **options).values[:, 0]


@pytest.mark.parametrize("name", NAMES)
def test_equal_to_pyiqa(models, weights, name):
    images = iqa_nets.photos(3)
    metric = iqa_nets.pyiqa_metric(name, weights)
    expected = torch.cat([metric(image.movedim(-1, 0)[None]).reshape(1) for image in images])
    torch.testing.assert_close(score(models[name], images), expected.float(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_batch_equals_one_by_one(models, name):
    images, model = iqa_nets.photos(5), limited(models[name], batch_safe=True)
    alone = score(model, images, batch_size=1)
    torch.testing.assert_close(score(model, images, batch_size=3), alone, atol=1e-5, rtol=0)
    assert alone.unique().numel() == 5


def test_several_metrics(models):
    images = iqa_nets.photos(4)
    scores = scoring.score_images(list(models.values()), images)
    assert scores.metrics == tuple(NAMES) and scores.resize == "as is"
    for name, column in scores.by_metric().items():
        assert column == pytest.approx(score(models[name], images).tolist(), abs=1e-5)
    with pytest.raises(ValueError, match="once only"):
        scoring.score_images([models["piqe"], models["piqe"]], images)


def test_protocol_of_the_adapters(models):
    images = iqa_nets.photos(1, 300, 700)
    expected = torch.nn.functional.interpolate(images.movedim(-1, 1), (512, 512), mode="bilinear", antialias=True)
    for name in NAMES:
        at_512 = score(models[name], images, resize="512")
        torch.testing.assert_close(at_512, score(models[name], expected.movedim(1, -1)), atol=1e-5, rtol=0)
        assert not torch.allclose(at_512, score(models[name], images))


def test_kinds_of_images(models):
    model, images = models["cnniqa"], iqa_nets.photos(2)
    plain = score(model, images)
    opaque = torch.cat([images, torch.ones(*images.shape[:3], 1)], -1)
    torch.testing.assert_close(score(model, opaque), plain)
    hidden = torch.cat([images, torch.zeros(*images.shape[:3], 1)], -1)
    torch.testing.assert_close(score(model, hidden), score(model, torch.ones_like(images)))
    grey = images[..., :1]
    torch.testing.assert_close(score(model, grey), score(model, grey.expand(-1, -1, -1, 3)))
    hdr = images * 4 - 1
    torch.testing.assert_close(score(model, hdr), score(model, hdr.clamp(0, 1)))
    torch.testing.assert_close(score(model, images.half()), plain, atol=1e-3, rtol=0)


def test_what_cannot_be_judged_is_refused(models):
    images = iqa_nets.photos(3)
    images[1, 5, 5, 1] = float("nan")
    with pytest.raises(ValueError, match="Image 2 of 3 contains NaN"):
        score(models["piqe"], images)
    for wrong in (images[0], images[:0], images[..., :2]):
        with pytest.raises(ValueError, match="1, 3 or 4 channels"):
            score(models["piqe"], wrong)
    with pytest.raises(ValueError, match="Unknown resize"):
        score(models["piqe"], iqa_nets.photos(1), resize="256")


def test_sides_below_the_models_limit_are_refused(models):
    model = limited(models["piqe"], minimum_side=40)
    with pytest.raises(ValueError, match="39x48 are too small for piqe, which needs at least 40 "):
        score(model, torch.rand(1, 48, 39, 3))
    assert score(model, torch.rand(1, 40, 100, 3)).isfinite().all()
    score(model, torch.rand(1, 48, 30, 3), resize="512")


def limited(model, **changes):
    """The same model with other facts in its catalogue entry."""
    return loading.IQAModel(dataclasses.replace(model.entry, **changes), model.patcher)


class Net(torch.nn.Module):
    """Scores a picture by its mean, and has room for so many pictures only."""

    def __init__(self, room_for):
        super().__init__()
        self.room_for, self.sizes = room_for, []

    def forward(self, images):
        self.sizes.append(len(images))
        if len(images) > self.room_for:
            raise comfy.model_management.OOM_EXCEPTION("no room")
        return images.mean((1, 2, 3))


def model_of(net, entry):
    device = torch.device("cpu")
    return loading.IQAModel(entry, comfy.model_patcher.ModelPatcher(loading.ScoringModel(net), device, device))


def test_out_of_memory_halves_the_batch(models):
    images, net = iqa_nets.photos(10), Net(room_for=3)
    entry = dataclasses.replace(models["cnniqa"].entry, batch_safe=True)
    torch.testing.assert_close(score(model_of(net, entry), images, batch_size=8), images.mean((1, 2, 3)))
    assert net.sizes == [8, 4, 2, 2, 2, 2, 2]
    net = Net(room_for=0)
    message = r"cnniqa does not fit into memory: a picture of 128x96 needs about .* GB are free\. Scale it down"
    with pytest.raises(MemoryError, match=message):
        score(model_of(net, entry), images, batch_size=4)
    assert net.sizes == [4, 2, 1]


def test_models_that_are_not_batch_safe_get_single_images(models):
    net = Net(room_for=9)
    entry = dataclasses.replace(models["cnniqa"].entry, batch_safe=False)
    score(model_of(net, entry), iqa_nets.photos(3), batch_size=3)
    assert net.sizes == [1, 1, 1]


class Steps(comfy.utils.ProgressBar):
    """Remembers the progress; optionally the user cancels at some point."""

    def __init__(self, total, cancel_at=None):
        super().__init__(total)
        self.seen, self.cancel_at = [], cancel_at

    def update(self, value):
        super().update(value)
        self.seen.append(self.current)
        if self.current == self.cancel_at:
            comfy.model_management.interrupt_current_processing()


def test_progress_and_cancellation(models):
    images, pair = iqa_nets.photos(4), [limited(models[name], batch_safe=True) for name in ("piqe", "cnniqa")]
    steps = Steps(8)
    scoring.score_images(pair, images, batch_size=2, progress=steps)
    assert steps.seen == [2, 4, 6, 8]
    steps = Steps(8, cancel_at=4)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        scoring.score_images(pair, images, batch_size=2, progress=steps)
    assert steps.seen == [2, 4]


def scores_of(resize="512", **columns):
    return scoring.Scores(tuple(columns), torch.tensor(list(columns.values())).T, resize)


def test_statistics_hold_for_their_own_resize_only():
    known = statistics.cc3m_statistics()["topiq_nr"]
    assert scores_of(piqe=[10.0], topiq_nr=[0.5]).statistics() == {"topiq_nr": known}
    assert scores_of("as is", piqe=[10.0], topiq_nr=[0.5]).statistics() == {}


def test_best_follows_the_direction_of_the_metric():
    scores = scores_of(piqe=[30.0, 10.0, 20.0, float("nan")], cnniqa=[0.3, 0.1, 0.2, 0.0])
    assert scores.best(2) == [1, 2]
    assert scores.best(9) == [1, 2, 0, 3]
    assert scores.best(2, "cnniqa") == [0, 2]
    with pytest.raises(ValueError, match="Did you mean cnniqa"):
        scores.best(1, "cniqa")


def test_table_is_aligned_and_short():
    table = score_text.table(scores_of(piqe=[30.0, 10.0], topiq_nr=[0.549225, 0.747905])).splitlines()
    assert [line.split()[0] for line in table] == ["piqe", "image", "image", "mean"]
    assert "piqe \u2193" in table[0] and "topiq_nr \u2191" in table[0]
    assert "0.00z" in table[1] and "99 %, very good)" in table[2] and table[3].split()[1] == "20"
    assert len({len(line) for line in table}) == 1
    assert "... 76 more" in score_text.table(scores_of(piqe=[1.0] * 100))


def test_bars_go_from_worst_to_best_by_percentile_or_range():
    table = score_text.table(scores_of(piqe=[0.0, 70.0], topiq_nr=[0.549225, 0.747905])).splitlines()
    assert f"0 {10 * FULL}" in table[1] and f"70 {3 * FULL}{7 * EMPTY}" in table[2]  # of piqe less is better
    assert f"0.5492 {5 * FULL}{5 * EMPTY} (-0.00z" in table[1]
    unbounded = score_text.table(scores_of(colourfulness=[0.2]))
    assert FULL not in unbounded and EMPTY not in unbounded


def test_meanings_are_plain_json_for_bars():
    scores = scores_of(piqe=[10.0, float("nan")], topiq_nr=[0.549225, 0.747905], colourfulness=[0.1, 0.2])
    piqe, topiq, colourfulness = json.loads(json.dumps(score_text.meanings(scores), allow_nan=False))
    assert piqe == {"name": "piqe", "higher_is_better": False, "low": 0.0, "high": 100.0, "better_than": [None, None]}
    assert topiq["better_than"] == [pytest.approx(47, abs=1), pytest.approx(99, abs=0.1)]
    assert colourfulness["low"] == 0 and colourfulness["high"] is None


def test_a_csv_file_has_a_line_per_image(tmp_path, monkeypatch, models):
    monkeypatch.setattr(folder_paths, "get_output_directory", lambda: str(tmp_path))
    images = iqa_nets.photos(2)
    for number in (1, 2):
        result = nodes.IQAScoreImages.execute([models["piqe"]], [images], csv=["tables/mine"])
        assert result.ui["text"][1] == f"written to {os.path.join('tables', f'mine_{number:05}_.csv')}"
    lines = (tmp_path / "tables" / "mine_00001_.csv").read_text().splitlines()
    assert lines[0] == "image,piqe" and [float(line.split(",")[1]) for line in lines[1:]] == [
        pytest.approx(value, rel=1e-4) for value in result.args[1]
    ]
    known = score_text.comma_separated(scores_of(topiq_nr=[0.549225, float("nan")])).splitlines()
    assert known[0] == "image,topiq_nr,topiq_nr z-score,topiq_nr better than %"
    assert known[1].startswith("1,0.549225,-0.0") and known[2] == "2,,,"
    with pytest.raises(ValueError, match="cannot be part of a file's name"):
        nodes.IQAScoreImages.execute([models["piqe"]], [images], csv=["../mine"])


def test_nodes(models):
    images = iqa_nets.photos(4)
    result = nodes.IQAScoreImages.execute([models["piqe"]], [images], model_3=[models["entropy"]])
    scores, values, table = result.args
    assert scores.metrics == ("piqe", "entropy") and values == scores.by_metric()["piqe"]
    assert result.ui == {
        "text": [table], "scores": [scores.by_metric()], "meanings": score_text.meanings(scores)
    }  # fmt: skip
    (best,), indices = nodes.IQASelectBest.execute([images], [scores], [2], [""]).args[:2]
    assert indices == sorted(range(4), key=lambda i: values[i])[:2]
    assert torch.equal(best, images[indices])
    with pytest.raises(ValueError, match="scores are of 4 images, but 3"):
        nodes.IQASelectBest.execute([images[:3]], [scores], [1])


class Contrast(torch.nn.Module):
    """Has no answer for a picture without light."""

    def forward(self, images):
        return images.std((1, 2, 3)) / images.mean((1, 2, 3))


def test_a_score_that_a_metric_cannot_give(models):
    images = iqa_nets.photos(3)
    images[1] = 0
    model = model_of(Contrast(), models["cnniqa"].entry)
    result = nodes.IQAScoreImages.execute([model], [images])
    column = result.ui["scores"][0]["cnniqa"]
    assert column[1] is None and json.loads(json.dumps(result.ui, allow_nan=False))  # as the server sends it
    assert result.args[2].splitlines()[2].split() == ["image", "2", "nan"]
    assert nodes.IQASelectBest.execute([images], [result.args[0]], [3]).args[1][-1] == 1


def test_hundreds_of_images(models):
    images = iqa_nets.photos(1, 16, 16) * torch.linspace(0, 1, 300)[:, None, None, None]
    scores = score(models["cnniqa"], images)
    torch.testing.assert_close(scores[::50], score(models["cnniqa"], images[::50], batch_size=1), atol=1e-5, rtol=0)
    assert scores.shape == (300,) and scores.unique().numel() > 250


def test_models_leave_memory_when_others_need_it(models):
    images, patcher = iqa_nets.photos(1), models["cnniqa"].patcher
    score(models["cnniqa"], images)
    assert any(loaded.model is patcher for loaded in comfy.model_management.current_loaded_models)
    comfy.model_management.unload_all_models()
    assert not any(loaded.model is patcher for loaded in comfy.model_management.current_loaded_models)
    assert score(models["cnniqa"], images).isfinite().all()
