"""Requested -> measured: the curve, its file, and what Quality Score Conditioning asks for with it."""

import dataclasses
import json
from pathlib import Path

import folder_paths
import numpy as np
import pytest
import torch

from iqa_adapter.adapter.checkpoint import load_adapter
from iqa_adapter.adapter.model_digest import model_digest
from iqa_adapter.evaluation import calibration as evaluated
from iqa_adapter.files import WrongFile
from iqa_adapter.iqa_models.scoring import Scores
from iqa_adapter.nodes import adapter_files
from iqa_adapter.nodes.calibrate import IQACalibrate
from iqa_adapter.nodes.conditioning import IQAQualityEmbed
from iqa_adapter.quality import calibration as calibrations
from iqa_adapter.quality import calibration_file
from iqa_adapter.quickstart import model
from iqa_adapter.quickstart.adapters import SCORE

LEVELS = [1.0, 20.0, 40.0, 60.0, 80.0, 99.0]


@pytest.fixture(scope="module")
def base():
    return model.load_quickstart()[0]


@pytest.fixture()
def adapter(tmp_path):
    file = tmp_path / "mine.safetensors"
    file.write_bytes((model.WEIGHTS / SCORE.file).read_bytes())
    return load_adapter(file)


def answer(requested):
    """Mean of what a made-up model draws: steep in the middle, flat at the ends."""
    return 0.4 + 0.5 / (1 + np.exp(-(np.asarray(requested) - 45) / 8))


def sweep(count=16, levels=LEVELS, noise=0.05, seed=0):
    """Requests and scores of pictures whose own shifts are alike at all levels."""
    shifts = np.random.default_rng(seed).normal(0, noise, count)
    requested = np.repeat(levels, count)
    return requested, answer(requested) + np.tile(shifts, len(levels))


def scores_of(*columns, names=("quickstart_iqa",)):
    return Scores(names, torch.tensor(np.stack(columns, 1)).float(), "64")


def calibrated(adapter, base, strength=1.25, levels=range(1, 100, 7), **inputs):
    requested, measured = sweep(levels=levels)
    return IQACalibrate.execute(
        adapter, base, strength, scores_of(measured), ", ".join(map(str, requested)), **inputs
    ).args  # fmt: skip


def test_the_mean_of_new_pictures_is_what_was_asked_for():
    """Each picture has a request of its own, and a spread beside which the response is narrow."""
    generator = np.random.default_rng(1)
    requested = generator.uniform(1, 99, 3000)
    measured = answer(requested) + generator.normal(0, 0.15, 3000)
    found = calibrations.fitted(requested, measured, "quickstart_iqa", "64")
    for wanted in (0.5, 0.65, 0.8):
        assert answer(found.percentile_for(wanted)) == pytest.approx(wanted, abs=0.03)
    inverse = np.polyfit(measured, requested, 1)  # requests by measurements: drawn to the middle
    assert abs(answer(np.polyval(inverse, 0.8)) - 0.8) > 0.03


def test_the_curve_is_monotone_and_says_its_spread():
    requested, measured = sweep(noise=0.05)
    measured[requested == 60.0] -= 0.4  # a level that is out of order
    found = calibrations.fitted(requested, measured, "x", "64")
    assert found.requested == tuple(LEVELS) and list(found.measured) == sorted(found.measured)
    assert found.measured[2] == found.measured[3]
    assert found.spread[0] == pytest.approx(np.std(sweep()[1][:16], ddof=1))
    assert found.pictures == 96
    middle = found.measured[2]
    assert found.percentile_for(middle) == pytest.approx((LEVELS[2] + LEVELS[3]) / 2)


def test_metrics_where_lower_is_better_fall():
    requested, measured = sweep()
    found = calibrations.fitted(requested, 100 - 100 * measured, "piqe", "as is")
    assert list(found.measured) == sorted(found.measured, reverse=True)
    assert found.percentile_for(found.measured[1]) == pytest.approx(LEVELS[1])


def test_what_has_no_score_is_left_out():
    requested, measured = sweep()
    measured[:3] = np.nan
    assert calibrations.fitted(requested, measured, "x", "64").pictures == 93


@pytest.mark.parametrize(
    ("requested", "measured", "message"),
    [
        ([1, 50, 99], [0.1, 0.2, 0.3], "3 levels or more of 4 pictures each, but 3 scores of x make 1"),
        ([1] * 8, [0.1] * 8, "make 1"),
        ([1, 50], [0.1] * 3, "2 requested percentiles, but 3 pictures"),
    ],
)
def test_too_little_for_a_curve_is_refused(requested, measured, message):
    with pytest.raises(ValueError, match=message):
        calibrations.fitted(requested, measured, "x", "64")


def test_a_measured_target_asks_for_the_percentile_that_gives_it(adapter, base):
    calibration, file, plot, summary = calibrated(adapter, base, note="cfg 3")
    assert file == str(adapter.file.with_name("mine.calibration.json")) and plot.shape[-1] == 3
    assert (
        summary.startswith("quickstart_iqa: 0.389 to 0.886 can")
        and "can be reached" in summary
        and "kept in" in summary
    )
    percentile = calibration.response("quickstart_iqa").percentile_for(0.7)
    tokens, request = IQAQualityEmbed.execute(
        adapter, 99.0, 50.0, "quickstart_iqa=measured 0.7", calibration=calibration
    ).args
    plain = IQAQualityEmbed.execute(adapter, percentile, 50.0).args[0]
    assert torch.allclose(tokens.cond, plain.cond, atol=1e-5)
    assert f"measured quickstart_iqa 0.7: quality {percentile:.3g} %" in request
    assert "at strength 1.25 on a UNet with" in request and "scaled to 64x64 pixels, cfg 3" in request


def test_a_metric_that_the_adapter_never_saw_can_be_asked_for(adapter, base):
    requested, measured = sweep(levels=[1, 15, 30, 45, 60, 75, 99])
    scores = scores_of(measured, 100 * (1 - measured), names=("quickstart_iqa", "piqe"))
    calibration = IQACalibrate.execute(adapter, base, 1.0, scores, ", ".join(map(str, requested))).args[0]
    tokens = [
        IQAQualityEmbed.execute(adapter, 1.0, 50.0, target, calibration=calibration).args[0].cond
        for target in ("piqe=measured 30", "quickstart_iqa=measured 0.7")
    ]
    assert torch.allclose(*tokens, atol=1e-4)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ("quickstart_iqa=measured 0.99", r"0.99 is out of reach: requests from 1 to 99 % give 0.38\d* to 0.88\d*"),
        ("topiq_nr=measured 0.5", "The calibration: Unknown metric 'topiq_nr'; known here: quickstart_iqa"),
        ("quickstart_iqa=0.5", "The calibration does nothing: no target is measured"),
        ("quickstart_iqa=measured 0.7, colourfulness=measured 30", "One target can be measured"),
        ("quickstart_iqa=measured 0.7, colourfulness=measured much", "cannot be read; write .*metric=measured 0.7"),
    ],
)
def test_measured_targets_that_cannot_be_are_refused(adapter, base, targets, message):
    calibration = calibrated(adapter, base)[0]
    with pytest.raises(ValueError, match=message):
        IQAQualityEmbed.execute(adapter, 99.0, 50.0, targets, calibration=calibration)


def test_a_calibration_is_needed_and_must_be_of_the_adapter(adapter, base):
    with pytest.raises(ValueError, match="needs a calibration; connect Calibrate Adapter"):
        IQAQualityEmbed.execute(adapter, 99.0, 50.0, "quickstart_iqa=measured 0.7")
    other = dataclasses.replace(calibrated(adapter, base)[0], adapter="0" * 64)
    with pytest.raises(ValueError, match="of another adapter than mine.safetensors"):
        IQAQualityEmbed.execute(adapter, 99.0, 50.0, "quickstart_iqa=measured 0.7", calibration=other)


def test_what_was_kept_is_found_again_by_base_model_strength_and_request(adapter, base):
    made, file, *_ = calibrated(adapter, base)
    calibrated(adapter, base, strength=1.0)
    calibrated(adapter, base, requested_are="colourfulness")
    assert len(calibration_file.read_calibrations(file)) == 3
    assert IQACalibrate.execute(adapter, base, 1.25).args[0] == made
    calibrated(adapter, base, note="again")
    assert len(calibration_file.read_calibrations(file)) == 3, "the later takes the place of the former"
    assert IQACalibrate.execute(adapter, base, 1.25).args[0].note == "again"
    with pytest.raises(ValueError, match="no calibration of quality at strength 0.5 .*holds: .*quality at strength 1 "):
        IQACalibrate.execute(adapter, base, 0.5)


def test_what_could_not_be_read_again_is_not_kept(adapter, base):
    file = calibrated(adapter, base, note="euler\n30 steps")[1]
    kept = Path(file).read_bytes()
    for note in ("a" * 2000, "\u202eabc", "\x1b[31m"):
        assert "not kept" in calibrated(adapter, base, note=note)[3] and Path(file).read_bytes() == kept
    assert IQACalibrate.execute(adapter, base, 1.25).args[0].note == "euler 30 steps"


def test_of_many_that_do_not_suit_a_few_are_named(adapter, base):
    file = calibrated(adapter, base)[1]
    content = json.loads(Path(file).read_text())
    content["calibrations"] = [content["calibrations"][0] | {"moved": "a" * 900} for _ in range(800)]
    Path(file).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"holds: a.*\.\.\.") as error:
        IQACalibrate.execute(adapter, base, 0.5)
    assert len(str(error.value)) < 3000


def test_another_base_model_has_another_digest_and_a_clone_has_the_same(base):
    digest = model_digest(base)
    assert model_digest(base.clone()) == digest
    patched = base.clone()
    name = "diffusion_model.out.2.weight"
    patched.add_patches({name: (torch.ones_like(base.model_state_dict()[name]),)}, 0.5)
    assert model_digest(patched) != digest == model_digest(base)
    patched.patch_model()
    try:
        assert model_digest(base) == digest, "a LoRA that is in the weights at the moment is not of the base"
        patched_digest = model_digest(patched)
    finally:
        patched.unpatch_model()
    assert model_digest(patched) == patched_digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.clear(), "cannot be understood"),
        (lambda content: content.update(version=2), "of version 2 of calibrations, later than 1. Update"),
        (lambda content: content["calibrations"][0].update(adapter="x"), "adapter"),
        (lambda content: content["calibrations"][0].update(responses=[]), "responses"),
        (lambda content: content["calibrations"][0]["responses"][0].update(measured=[0.1, 0.5]), "equally many"),
        (lambda content: content["calibrations"][0]["responses"][0]["requested"].reverse(), "rising percentiles"),
        (lambda content: content["calibrations"][0]["responses"][0]["measured"].__setitem__(1, 9.0), "not monotone"),
        (lambda content: content["calibrations"][0]["responses"][0]["measured"].__setitem__(1, None), "measured"),
        (lambda content: content["calibrations"][0]["responses"][0]["spread"].__setitem__(1, -0.1), "spread"),
    ],
)
def test_a_file_of_strangers_is_compared_in_full_and_never_overwritten(adapter, base, change, message):
    file = adapter.file.with_name("mine.calibration.json")
    calibrated(adapter, base)
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(WrongFile, match=message) as error:
        IQACalibrate.execute(adapter, base, 1.25)
    assert "\n" not in str(error.value)
    before = file.read_bytes()
    assert "not kept" in calibrated(adapter, base)[3] and file.read_bytes() == before


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"requested": "1, 2"}, "requested percentiles, but no scores"),
        ({"requested_are": "strength"}, "requested_are: Unknown metric 'strength'; known here: quality, aesthetics"),
        ({"iqa_scores": scores_of(np.zeros(8)), "requested": "1, 101"}, "percentiles from 0 to 100"),
        ({"iqa_scores": scores_of(np.zeros(8))}, "0 requested percentiles, but 8 pictures"),
    ],
)
def test_inputs_that_do_not_suit_are_refused(adapter, base, inputs, message):
    with pytest.raises(ValueError, match=message):
        IQACalibrate.execute(adapter, base, 1.0, **inputs)


def test_the_packs_own_folder_is_not_written_to(base, tmp_path, monkeypatch):
    known = [str(tmp_path), str((model.WEIGHTS / SCORE.file).parent)], {".safetensors"}
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "iqa_adapter", known)
    own = adapter_files.load(SCORE.file.name)
    calibration, file, _, summary = calibrated(own, base)
    assert file == str(tmp_path / "quickstart_score.calibration.json") and f"kept in {file}" in summary
    assert IQACalibrate.execute(own, base, 1.25).args[0] == calibration, "the reader looks there, too"


def test_levels_that_lie_close_help_each_other_and_distant_ones_do_not():
    generator = np.random.default_rng(2)
    levels = np.arange(1, 100, 2.0)
    errors = []
    for _ in range(50):
        requested = levels.repeat(4)
        found = calibrations.fitted(requested, answer(requested) + generator.normal(0, 0.1, len(requested)), "x", "64")
        errors.append(np.array(found.measured) - answer(levels))
    assert np.std(errors) < 0.6 * 0.1 / 2, "of four pictures alone the standard error is half their spread"
    assert np.abs(np.mean(errors, 0)).max() < 0.02, "and no bias"
    requested, measured = sweep(levels=[1.0, 25.0, 50.0, 75.0, 99.0], noise=0.0)
    found = calibrations.fitted(requested, measured, "x", "64")
    assert np.allclose(found.measured, answer(found.requested))


def test_the_check_on_the_quickstart_asks_for_what_the_curve_says():
    """Of a few pictures; ``python -m benchmarks.calibration`` measures with many how near they come."""
    models = evaluated.Quickstart()
    curve = evaluated.fit(models, 4, (1, 40, 99))
    (found,) = evaluated.check(models, curve, 2, (0.8,))
    assert found.percentile == curve.percentile_for(0.8)
    assert len(found.calibrated) == len(found.raw) == 2 and (found.calibrated != found.raw).all()
    (row,) = evaluated.table([found]).rows
    assert row[:2] == ["0.8", f"{found.percentile:.1f} %"] and row[2].startswith(f"{found.calibrated.mean():.3f}")
