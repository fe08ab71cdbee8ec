"""Thresholds in text."""

import pytest

from iqa_adapter.quality.statistics import cc3m_statistics
from iqa_adapter.quality.thresholds import parse_thresholds

METRICS = ("topiq_nr", "piqe")


def test_raw_values_percentiles_and_z_scores():
    known = cc3m_statistics()
    assert parse_thresholds("0.6; piqe = 35", METRICS, {}, "as is") == {"topiq_nr": 0.6, "piqe": 35.0}
    parsed = parse_thresholds("topiq_nr=p80", METRICS, known, "512")
    assert parsed["topiq_nr"] == pytest.approx(known["topiq_nr"].raw_at(80))
    parsed = parse_thresholds("topiq_nr=+1z", METRICS, known, "512")
    assert parsed["topiq_nr"] == pytest.approx(known["topiq_nr"].mean + known["topiq_nr"].std)
    assert parse_thresholds("  ", METRICS, known, "512") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("topiq_nr>0.6", "cannot be read; write metric=0.6"),
        ("topiq_nr=1e999", "cannot be read"),
        ("musiq=50", "musiq is not among the metrics here, which are topiq_nr, piqe"),
        ("topik=1", "Did you mean topiq_nr"),
        ("piqe=p50", "none are known of piqe for pictures in their own size; write a raw score"),
        ("topiq_nr=p101", r"outside 0\.\.\.100"),
    ],
)
def test_what_cannot_be_read_is_refused(text, message):
    known = {"topiq_nr": cc3m_statistics()["topiq_nr"]}
    with pytest.raises(ValueError, match=message):
        parse_thresholds(text, METRICS, known, "as is", ["musiq"])
