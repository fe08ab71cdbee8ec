"""Plans, prompts, kept pictures and scores, statistics: mistakes in one sentence, and nothing lost."""

import re

import numpy as np
import pytest
import torch
import yaml
from full_disk import full_disk, limits_files

from iqa_adapter.evaluation import statistics
from iqa_adapter.evaluation.cells import Store
from iqa_adapter.evaluation.evaluate import kinds
from iqa_adapter.evaluation.measures import Measure, find_measure
from iqa_adapter.evaluation.plan import PLANS, read_plan
from iqa_adapter.evaluation.prompts import read_prompts
from iqa_adapter.evaluation.scores import ScoreCache
from iqa_adapter.figures.plots import COLOURS
from iqa_adapter.quality.rank_correlation import rank_correlation

PLAN = {
    "base": "quickstart",
    "prompts": "held-out",
    "adapters": {"score": {"file": "quickstart_score"}},
    "metrics": ["quickstart_iqa"],
    "experiments": ["response"],
}


def plan(tmp_path, **changes):
    file = tmp_path / "plan.yaml"
    file.write_text(yaml.safe_dump({**PLAN, **changes}))
    return file


def test_a_plan_is_read_and_its_digest_is_that_of_its_settings(tmp_path):
    read = read_plan(plan(tmp_path))
    assert read.seeds == 4 and read.experiments == {"response": {}} and read.best == 99
    assert read.digest == read_plan(plan(tmp_path, experiments={"response": None})).digest
    assert read.digest != read_plan(plan(tmp_path, seeds=5)).digest


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"seed": 3}, "unknown setting seed; known are base, adapters, metrics"),
        ({"seeds": 0}, "seeds should be greater than or equal to 1, not 0"),
        ({"seeds": "many"}, "seeds should be a valid integer"),
        ({"levels": [99, 1]}, "levels must be two percentiles or more, rising"),
        ({"levels": [1, 101]}, "levels.1 should be less than or equal to 100, not 101"),
        ({"metrics": []}, "metrics Tuple should have at least 1 item|metrics should have at least 1 item"),
        ({"adapters": {"a": {"strength": 1}}}, "adapters.a.file is missing"),
        ({"adapters": {"a": {"file": "x", "strenght": 1}}}, "unknown setting adapters.a.strenght"),
        ({"sampling": {"stepz": 3}}, "unknown setting sampling.stepz; known are name, scheduler, steps"),
        ({"sampling": {"cfg": float("nan")}}, "sampling.cfg should be a finite number"),
    ],
)
def test_a_mistake_in_a_plan_is_one_sentence(tmp_path, changes, sentence):
    with pytest.raises(ValueError, match=rf"^plan\.yaml: ({sentence})") as error:
        read_plan(plan(tmp_path, **changes))
    assert "\n" not in str(error.value)


def test_an_unknown_experiment_or_setting_of_one_is_a_mistake(tmp_path):
    with pytest.raises(ValueError, match=r"unknown experiment 'responce'; known are response, gain"):
        kinds(read_plan(plan(tmp_path, experiments=["responce"])), "plan.yaml")
    with pytest.raises(ValueError, match=r"plan\.yaml, experiments\.features: unknown setting size; known are models"):
        kinds(read_plan(plan(tmp_path, experiments={"features": {"size": 3}})), "plan.yaml")


def test_a_plan_that_is_not_there_names_those_that_are(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no plan .*; those that come with .*quickstart"):
        read_plan(tmp_path / "none.yaml")


@pytest.mark.parametrize("file", sorted(PLANS.glob("*.yaml")), ids=lambda file: file.stem)
def test_plans_that_come_with_the_pack_are_right(file):
    read = read_plan(file)
    kinds(read, file.name)
    assert read_prompts(read.prompts, read.prompt_count, file.parent)


def test_prompts_of_every_kind_of_file(tmp_path):
    (tmp_path / "a.txt").write_text("# about\na cat\n\n a dog \na cat\n")
    (tmp_path / "b.tsv").write_text('Prompt\tCategory\n"a" bear\tAnimals\na house\tOutdoor\n')
    (tmp_path / "c.jsonl").write_text('{"tag": "single", "prompt": "a photo of a bench"}\n\n')
    assert [each.text for each in read_prompts("a.txt", folder=tmp_path)] == ["a cat", "a dog"]
    assert [each.text for each in read_prompts("b.tsv", folder=tmp_path)] == ['"a" bear', "a house"]
    assert [each.text for each in read_prompts("c.jsonl", folder=tmp_path)] == ["a photo of a bench"]
    assert [each.text for each in read_prompts("a.txt", 1, tmp_path)] == ["a cat"]
    scenes = read_prompts("held-out", 3)
    assert len({each.text for each in scenes}) == 3 and all(each.scene.things[0].held_out for each in scenes)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.txt", "\n# nothing\n", "holds no prompts; write one on each line"),
        ("a.tsv", "Text\tCategory\na\tb\n", "cannot be read as .tsv: it has no column Prompt, but Text, Category"),
        ("a.jsonl", '{"text": "a"}\n', "cannot be read as .jsonl"),
        ("a.jsonl", "a cat\n", "cannot be read as .jsonl"),
        ("a.csv", "a cat\n", "must end in .txt, .tsv, .jsonl"),
    ],
)
def test_a_wrong_file_of_prompts_is_one_sentence(tmp_path, name, content, sentence):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=f"{name} {sentence}"):
        read_prompts(name, folder=tmp_path)


def test_more_prompts_than_there_are_and_a_missing_file_are_said(tmp_path):
    (tmp_path / "a.txt").write_text("a cat")
    with pytest.raises(ValueError, match="holds 1 prompts, fewer than prompt_count 2; lower it"):
        read_prompts("a.txt", 2, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"There is no file of prompts b\.txt"):
        read_prompts("b.txt", folder=tmp_path)


def picture(seed=0, side=8):
    return torch.rand(3, side, side, generator=torch.Generator().manual_seed(seed))


def test_kept_pictures_come_back_with_what_made_them_and_damaged_ones_are_removed(tmp_path):
    store = Store(tmp_path)
    kept = store.keep(picture(), {"kind": "noise"})
    assert (store.read(kept.digest) - picture()).abs().max() <= 0.5 / 255 + 1e-6
    assert store.facts(kept.digest) == {"kind": "noise"} and store.keep(picture(), {}) == kept
    store.path(kept.digest).write_bytes(b"half")
    with pytest.raises(ValueError, match=r"\.png was damaged and is removed; start the same command again"):
        store.read(kept.digest)
    assert kept.digest not in store


def brightness(pictures):
    if len(pictures) > 1 or pictures.shape[-1] < 8:
        raise RuntimeError("no such picture\nand more")
    return pictures.mean((1, 2, 3))


def test_a_metric_that_fails_on_a_picture_loses_nothing(tmp_path):
    store, notes, cache = Store(tmp_path / "pictures"), [], ScoreCache(tmp_path / "scores")
    kept = [store.keep(picture(seed, side), {}).digest for seed, side in ((0, 8), (1, 4), (2, 8))]
    measure = Measure("brightness", "1", brightness)
    cache.measure(measure, kept, store, notes.append)
    values = cache.values(measure, kept)
    assert np.isfinite(values).tolist() == [True, False, True] and values[0] == pytest.approx(0.5, abs=0.1)
    assert notes == [f"brightness has no answer for picture {kept[1][:12]} (no such picture); it counts as missing."]


def test_scores_are_measured_once_and_a_half_line_is_measured_again(tmp_path):
    store, calls = Store(tmp_path / "pictures"), []
    kept = [store.keep(picture(seed), {}).digest for seed in range(3)]

    def mean(pictures):
        calls.append(len(pictures))
        return pictures.mean((2, 3))

    measure = Measure("mean", "1", mean)
    first = ScoreCache(tmp_path / "scores")
    first.measure(measure, kept[:2], store, print)
    (file,) = (tmp_path / "scores").glob("mean-*.jsonl")
    file.write_text(file.read_text()[:-10])
    again = ScoreCache(tmp_path / "scores")
    again.measure(measure, kept, store, print)
    again.measure(measure, kept, store, print)
    assert calls == [2, 2] and again.values(measure, kept).shape == (3, 3)
    assert np.array_equal(ScoreCache(tmp_path / "scores").values(measure, kept), again.values(measure, kept))


@pytest.mark.skipif(not limits_files, reason="needs limits on the size of files")
def test_a_full_disk_is_one_sentence(tmp_path):
    store = Store(tmp_path)
    with full_disk(50), pytest.raises(OSError, match=r"\.png could not be written .* Make room on the disk"):
        store.keep(picture(), {})
    kept, cache = store.keep(picture(), {}).digest, ScoreCache(tmp_path / "scores")
    cache.measure(find_measure("contrast"), [kept], store, print)
    (file,) = (tmp_path / "scores").iterdir()
    file.write_text("\n" * 5000)
    with full_disk(5000), pytest.raises(OSError, match=r"\.jsonl could not be written .*before is kept"):
        ScoreCache(tmp_path / "scores").measure(find_measure("contrast"), [kept], store, print)


def test_an_unknown_metric_suggests_the_nearest():
    with pytest.raises(ValueError, match="Did you mean topiq_nr"):
        find_measure("topiq_mr")


def test_intervals_come_from_prompts_and_are_the_same_every_time():
    generator = np.random.default_rng(1)
    values = generator.normal(size=(40, 1)) + 0.01 * generator.normal(size=(40, 16))
    estimate = statistics.mean(values)
    of_prompts = 1.96 * values.mean(1).std(ddof=1) / 40**0.5
    assert estimate.error == pytest.approx(of_prompts, rel=0.15) and estimate == statistics.mean(values)
    assert np.isnan(statistics.mean(values[:1]).low) and statistics.mean(values[:1]).shown(".1f").count("(") == 0


def test_gain_is_relative_and_positive_for_better():
    assert statistics.gain(np.array([0.6]), np.array([0.5])) == pytest.approx(0.2)
    assert statistics.gain(np.array([60.0]), np.array([50.0]), higher_is_better=False) == pytest.approx(-0.2)
    assert statistics.gain(np.array([-0.1]), np.array([-0.2])) == pytest.approx(0.5)


def test_rank_correlation_leaves_out_what_is_missing():
    assert rank_correlation(np.array([1, 2, 3, 4]), np.array([1, np.nan, 2, 3])) == 1
    assert np.isnan(rank_correlation(np.arange(3), np.ones(3)))


def test_colours_are_told_apart_by_luminance_or_by_red_green_blind_eyes():
    """Machado et al. 2009, deuteranopia: no two of the first six come closer than the eye can tell."""
    matrix = np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]])
    seen = [matrix @ [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] for colour in COLOURS[:6]]
    apart = [np.linalg.norm(a - b) for i, a in enumerate(seen) for b in seen[:i]]
    assert min(apart) > 0.1 and all(re.fullmatch("#[0-9A-F]{6}", colour) for colour in COLOURS)
