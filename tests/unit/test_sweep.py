"""Sweep, grid and curve, as nodes, on real models."""

import dataclasses

import comfy.sample
import numpy as np
import pytest
import torch

from iqa_adapter.adapter.apply import apply_adapter
from iqa_adapter.adapter.checkpoint import load_adapter
from iqa_adapter.adapter.tokens import embed_quality
from iqa_adapter.figures import grid
from iqa_adapter.figures.curve import Response
from iqa_adapter.figures.score_lines import ScoreLine
from iqa_adapter.iqa_models import scoring
from iqa_adapter.nodes import sweep
from iqa_adapter.nodes.conditioning import adapter_metrics
from iqa_adapter.quality import targets
from iqa_adapter.quickstart import model
from iqa_adapter.quickstart.adapters import SCORE


@pytest.fixture(scope="module")
def adapter():
    return load_adapter(model.WEIGHTS / SCORE.file)


@pytest.fixture
def scores():
    return scoring.Scores(("piqe",), torch.tensor([[1.0], [2.0], [3.0], [5.0], [4.0], [6.0]]), "as is")


def latent(count):
    return {"samples": torch.arange(count).view(-1, 1, 1, 1).expand(-1, 12, 4, 4).float()}


def test_every_picture_gets_every_quality(adapter):
    made, repeated, count, columns, labels, requested = sweep.IQAQualitySweep.execute(
        adapter, latent(2), "1, 50, 99", "10 90"
    ).args
    assert (len(made), count, columns) == (12, 12, 4)
    metrics = adapter_metrics(adapter)
    single = embed_quality(adapter, targets.requested(metrics, 50, 90))
    for place in (6, 7):  # second row, second column, both pictures
        assert torch.allclose(made.cond[place], single.cond[0], atol=1e-5)
        assert labels.split("\n")[place] == "quality 50 %, aesthetics 90 %"
    assert requested == "1, 1, 1, 1, 50, 50, 50, 50, 99, 99, 99, 99"
    assert torch.equal(repeated["samples"][:, 0, 0, 0], torch.tensor([0.0, 1.0]).repeat(6))


def test_all_qualities_of_a_picture_get_the_same_noise(adapter):
    repeated = sweep.IQAQualitySweep.execute(adapter, latent(2), "1, 99", "").args[1]
    noise = comfy.sample.prepare_noise(repeated["samples"], 5, repeated["batch_index"])
    assert torch.equal(noise[:2], noise[2:]) and not torch.equal(noise[0], noise[1])
    assert torch.equal(noise[:2], comfy.sample.prepare_noise(repeated["samples"][:2], 5))


UNREADABLE = [("", "no rows"), ("1, x", "cannot be read"), ("101", "0 to 100"), ("1," * 5000, "5,000 combinations"),
              ("1" * 100_000 + "x", r"111\.\.\.111.*cannot be read")]  # fmt: skip


@pytest.mark.parametrize(("rows", "message"), UNREADABLE)
def test_unreadable_percentiles_are_refused(adapter, rows, message):
    with pytest.raises(ValueError, match=message):
        sweep.IQAQualitySweep.execute(adapter, latent(1), rows, "")


def test_grid_shows_every_picture_and_enlarges_small_ones():
    images = torch.rand(5, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    bare = sweep.IQAImageGrid.execute(images, "", 3).args[0]
    labelled = sweep.IQAImageGrid.execute(images, "a\nb\nc\nd\ne", 3).args[0]
    assert bare.shape == (1, 2 * 136 + 8, 3 * 136 + 8, 3)
    assert labelled.shape[1] > bare.shape[1]
    shown = bare[0, 8:136:2, 8 + 136 : 136 + 136 : 2]
    assert (shown - images[1]).abs().max() < 0.01


def test_grid_refuses_scores_of_other_pictures_and_what_is_too_large(scores):
    with pytest.raises(ValueError, match="6 images, but the grid has 2"):
        sweep.IQAImageGrid.execute(torch.rand(2, 8, 8, 3), "", 0, scores)
    with pytest.raises(ValueError, match="8192"):
        sweep.IQAImageGrid.execute(torch.rand(70, 128, 128, 3), "", 70)


def test_grid_shows_scores_with_arrow_and_bar(scores):
    images = torch.full((6, 128, 128, 3), 0.5)
    shown = sweep.IQAImageGrid.execute(images, "", 3, scores).args[0][0]
    bar, blue = (shown == shown[-12, 20]).all(-1), torch.tensor([0x3B, 0x6E, 0xA5]) / 255
    filled = ((shown - blue).abs().amax(-1) < 0.01).sum(1)
    rows = filled.nonzero().flatten()
    assert bar.any() and len(rows) and filled.max() > 3 * 110  # piqe of 1 to 6: nearly full bars in three columns
    text = grid.labelled_grid(images, ["x"] * 6, 3, 0, [[ScoreLine("x", True, share)] for share in (0, 1) * 3])
    assert text.shape[1] > grid.labelled_grid(images, ["x"] * 6, 3).shape[1]


def test_curve_gives_level_means_and_rank_correlations(scores):
    plot, summary = sweep.IQAResponseCurve.execute(scores, "10, 50, 90").args
    assert plot.ndim == 4 and plot.std() > 0.01
    assert "10 %: 1.5\n50 %: 4\n90 %: 5" in summary
    assert "goes against the request: \u03c1 1.00, where lower is better; of single pictures \u03c1 0.8" in summary


@pytest.mark.parametrize(
    ("requested", "measured", "upwards", "verdict"),
    [
        ([1, 50, 99], [0.1, 0.2, 0.3], True, "follows the request: \u03c1 1.00"),
        ([1, 50, 99], [30, 20, 10], False, "follows the request: \u03c1 -1.00, where lower is better"),
        ([1, 33, 66, 99], [1, 3, 2, 4], True, "mostly follows the request: \u03c1 0.80"),
        ([1, 50, 99], [1, 3, 1.5], True, "mostly follows the request: \u03c1 0.50"),
        ([1, 33, 66, 99], [2, 4, 1, 3], True, "does not follow the request: \u03c1 0.00"),
        ([1, 50, 99], [3, 2, 1], True, "goes against the request: \u03c1 -1.00"),
        ([50, 50], [1, 2], True, "one level only"),
        ([1, 2], [3, 3], True, "the same score at every level"),
        ([1, 2], [3, float("nan")], True, "scores at one level only"),
        ([1, 2], [float("nan")] * 2, True, "no scores"),
        ([1, 50, 99], [0.1, float("nan"), 0.3], True, "follows the request: \u03c1 1.00"),
    ],
)
def test_the_title_of_a_curve_is_a_sentence(requested, measured, upwards, verdict):
    response = Response(np.array(requested), np.array(measured, float), "x", upwards)
    assert response.verdict() == verdict
    assert "nan;" not in response.describe() and "\u03c1 nan" not in response.describe()
    assert response.plot().isfinite().all()


def test_curve_refuses_another_number_of_targets(scores):
    with pytest.raises(ValueError, match="4 requested targets, but 6 pictures"):
        sweep.IQAResponseCurve.execute(scores, "1, 2, 3, 4")


def test_curve_shows_all_metrics_the_base_model_and_says_what_follows():
    measured = torch.tensor([[0.1, 50.0, 1.0], [0.2, 60.0, 3.0], [0.5, 70.0, 2.0], [0.6, 90.0, 2.5]])
    scores = scoring.Scores(("quickstart_iqa", "piqe", "entropy"), measured, "64")
    base = scoring.Scores(("piqe", "quickstart_iqa", "entropy"), torch.tensor([[20.0, 0.4, 2.0]] * 3), "64")
    plot, summary = sweep.IQAResponseCurve.execute(scores, "1, 99", base_scores=base).args
    single = sweep.IQAResponseCurve.execute(scores, "1, 99", "piqe").args
    assert plot.shape == (1, 880, 1280, 3) and single[0].shape == (1, 440, 640, 3)
    assert "median (quartiles): 1 %: 0.15 (0.125 to 0.175), 99 %: 0.55" in summary
    assert "base model: median 0.4" in summary and "base model: median 20" in summary
    assert summary.endswith(
        "not asked for: piqe falls: it gets worse as more is asked for (\u03c1 with quality -1.00); "
        "entropy follows: it gets better, too (\u03c1 with quality 1.00)"
    )
    asked = sweep.IQAResponseCurve.execute(scores, "0, 0.5", asked="piqe, entropy", requested_are="strength").args[1]
    assert (
        "not asked for: quickstart_iqa follows" in asked and "0.5: 0.55" in asked and "by requested strength" in asked
    )
    other = dataclasses.replace(base, resize="512")
    with pytest.raises(ValueError, match="base model's pictures were judged scaled to 512x512 pixels"):
        sweep.IQAResponseCurve.execute(scores, "1, 99", base_scores=other)


@pytest.fixture(scope="module")
def quickstart():
    return model.load_quickstart()


def drawn(quickstart, embeds, count, strength=1.0, cfg=3.0):
    """Latents of one prompt after a few steps, every picture with the noise of seed 3."""
    base, clip, _ = quickstart
    positive, negative = (
        clip.encode_from_tokens_scheduled(clip.tokenize(text)) for text in ("a plain red heart on teal fabric", "")
    )
    empty = torch.zeros(count, 12, 16, 16)
    noise = comfy.sample.prepare_noise(empty, 3, [0] * count)
    adapted = apply_adapter(base, embeds, strength)
    settings = (3, cfg, "euler", "normal")
    return comfy.sample.sample(adapted, noise, *settings, positive, negative, empty, disable_pbar=True)


def empty(count=1):
    return {"samples": torch.zeros(count, 12, 16, 16)}


@pytest.mark.parametrize("cfg", [1.0, 3.0])
def test_a_sweep_of_strengths_equals_single_runs(adapter, quickstart, cfg):
    high = embed_quality(adapter, targets.requested(adapter.metadata.metrics, 99, 50))
    strengths = [0.0, 0.7, 1.25, -0.5]
    rows = ", ".join(map(str, strengths))
    swept, _, count, _, labels, requested = sweep.IQAQualitySweep.execute(adapter, empty(), rows, "", "strength").args
    assert (count, requested) == (4, "0, 0.7, 1.25, -0.5")
    assert labels.split("\n")[1] == "strength 0.7"
    batched = drawn(quickstart, swept, 4, cfg=cfg)
    for strength, picture in zip(strengths, batched, strict=True):
        single = drawn(quickstart, high, 1, strength, cfg)[0]
        alone = sweep.IQAQualitySweep.execute(adapter, empty(), str(strength), "", "strength").args[0]
        assert torch.equal(drawn(quickstart, alone, 1, cfg=cfg)[0], single)
        assert (picture - single).abs().max() < 1e-4
    assert (batched[0] - batched[2]).abs().max() > 0.01
    halved = drawn(quickstart, swept, 4, 0.5, cfg)[2]
    assert (halved - drawn(quickstart, high, 1, 0.625, cfg)[0]).abs().max() < 1e-4, "Apply's strength multiplies them"


def test_a_sweep_of_one_metric_equals_single_runs(adapter, quickstart):
    name = adapter.metadata.metrics[1].name
    swept = sweep.IQAQualitySweep.execute(adapter, empty(), "5, 95", "1, 99", name, "quality").args[0]
    batched = drawn(quickstart, swept, 4)
    for number, (own, quality) in enumerate([(5, 1), (5, 99), (95, 1), (95, 99)]):
        asked = targets.requested(adapter.metadata.metrics, quality, 50, f"{name}=p{own}")
        single = embed_quality(adapter, asked)
        assert torch.equal(swept.cond[number], single.cond[0])
        assert (batched[number] - drawn(quickstart, single, 1)[0]).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (("1, 99", "", "topik_nr"), "rows of a sweep: Unknown metric 'topik_nr'.*Did you mean topiq_nr"),
        (("1, 99", "", "piqe"), "piqe is not among the metrics here, which are quality, aesthetics, strength, quickst"),
        (("1, 99", "2, 3", "quality", "quality"), "rows of the sweep move nothing: rows and columns are both"),
        (("1, 99", "2", "quality", "quickstart_iqa"), "rows .* move nothing: the other axis sets the only metric"),
        (("0.5, inf", "", "strength"), "cannot be read; write strengths such as"),
    ],
)
def test_a_sweep_that_would_change_nothing_is_refused(adapter, inputs, message):
    with pytest.raises(ValueError, match=message):
        sweep.IQAQualitySweep.execute(adapter, latent(1), *inputs)


def test_an_axis_without_a_metric_is_refused(adapter):
    metadata = dataclasses.replace(adapter.metadata, metrics=adapter.metadata.metrics[:1])
    with pytest.raises(ValueError, match="columns .* move nothing: the adapter has no metric of aesthetics"):
        sweep.IQAQualitySweep.execute(dataclasses.replace(adapter, metadata=metadata), latent(1), "1", "2, 3")
