"""Raw score <-> z-score <-> percentile, and requested targets."""

import csv

import pytest
import torch

from iqa_adapter.quality import statistics, targets

CC3M = statistics.cc3m_statistics()


def metrics(*names):
    return [CC3M[name] for name in names]


def test_all_21_metrics_of_the_table_are_there():
    with statistics.CC3M_TABLE.open() as table:
        rows = list(csv.DictReader(table))
    assert len(rows) == len(CC3M) == 21
    for row in rows:
        known = CC3M[row["metric"]]
        for rank in (1, 5, 10, 25, 50, 75, 90, 95, 99):
            assert known.raw_at(rank) == pytest.approx(float(row[f"p{rank}"]))
            assert known.percentile(known.raw_at(rank)) == pytest.approx(rank, abs=1e-6)
        assert known.z_score(float(row["mean"])) == 0
        assert known.raw(known.z_score(0.3)) == pytest.approx(0.3)
        assert known.raw_at(0) == float(row["min"]) and known.raw_at(100) == float(row["max"])
        assert statistics.MetricStatistics.from_json(known.to_json()) == known


@pytest.mark.parametrize("percentile", [-0.1, 100.1, float("nan")])
def test_percentiles_outside_the_range_are_refused(percentile):
    with pytest.raises(ValueError, match=r"outside 0\.\.\.100"):
        CC3M["topiq_nr"].raw_at(percentile)


def test_statistics_of_which_the_same_is_unknown_are_equal():
    named = statistics.MetricStatistics("x", float("nan"), float("nan"))
    assert named == statistics.MetricStatistics("x", minimum=-float("inf"))
    assert named != statistics.MetricStatistics("x", 0.0, 1.0) and named != statistics.MetricStatistics("y")
    assert named != "x"


def test_incomplete_statistics_are_refused():
    with pytest.raises(ValueError, match="'x' are incomplete"):
        statistics.MetricStatistics.from_json({"name": "x", "mean": 1.0})
    with pytest.raises(ValueError, match="std above 0"):
        statistics.MetricStatistics("x", 0.0, 0.0, {1: 0.0, 99: 1.0})


def test_sliders_and_targets():
    pair = metrics("topiq_nr", "laion_aes")
    request = targets.requested(pair, quality=99, aesthetics=50)
    expected = [CC3M["topiq_nr"].z_score(0.747905), CC3M["laion_aes"].z_score(4.70694)]
    torch.testing.assert_close(request, torch.tensor([expected]))
    request = targets.requested(pair, 99, 50, "topiq_nr=0.549225; laion_aes=+1.5z")
    torch.testing.assert_close(request, torch.tensor([[0.0, 1.5]]))
    request = targets.requested(pair, 99, 50, "laion_aes = p1")
    assert request[0, 1] == pytest.approx(CC3M["laion_aes"].z_score(3.3725))


def test_percentiles_mean_better_for_lower_is_better_metrics_too():
    known = statistics.MetricStatistics("niqe", 5, 1, {1: 2.0, 50: 5.0, 99: 9.0}, higher_is_better=False)
    assert known.z_at(99) == -3
    assert "better than 99 %" in known.describe(-3)


def test_scores_to_match_give_one_row_per_image():
    pair = metrics("topiq_nr", "laion_aes")
    request = targets.requested(pair, 99, 50, "", {"topiq_nr": [0.549225, 0.747905], "musiq": [1.0, 2.0]})
    assert request.shape == (2, 2)
    assert request[0, 0] == pytest.approx(0, abs=1e-6) and request[0, 1] == request[1, 1]
    with pytest.raises(ValueError, match="trained on topiq_nr, laion_aes"):
        targets.requested(pair, 99, 50, "", {"musiq": [1.0]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("topik_nr=p95", "Did you mean topiq_nr"),
        ("topiq_nr", "cannot be read"),
        ("topiq_nr=p95z", "cannot be read"),
        ("topiq_nr=p101", r"outside 0\.\.\.100"),
        ("topiq_nr=high", "cannot be read"),
    ],
)
def test_bad_targets(text, message):
    with pytest.raises(ValueError, match=message):
        targets.requested(metrics("topiq_nr", "laion_aes"), 99, 99, text)


def test_metrics_without_statistics_take_z_scores_only():
    unknown = [statistics.MetricStatistics("new")]
    assert not statistics.MetricStatistics.from_json(unknown[0].to_json()).known
    assert targets.requested(unknown, 99, 99, "new=-2z").tolist() == [[-2.0]]
    with pytest.raises(ValueError, match="no statistics for new"):
        targets.requested(unknown, 99, 99)
