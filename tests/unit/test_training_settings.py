"""Settings of a training run: defaults, YAML, and sentences for what cannot be."""

import dataclasses

import pytest

from iqa_adapter.training import settings
from iqa_adapter.training.checked_settings import parse_mapping


def test_defaults_are_those_of_the_paper():
    chosen = settings.TrainingSettings()
    assert (chosen.weight_decay, chosen.learning_rate, chosen.late_learning_rate) == (1e-2, 1e-4, 1e-5)
    assert (chosen.quality_drop, chosen.text_drop, chosen.both_drop, chosen.tokens) == (0.01, 0.05, 0.01, 2)


def read(text):
    return settings.RunSettings.from_mapping(parse_mapping(text, "run.yaml"), "run.yaml")


def test_the_printed_file_reads_back_as_the_defaults_and_explains_every_setting():
    text = settings.settings_yaml()
    assert read(text) == read("")
    names = [field.name for cls in settings.GROUPS.values() for field in dataclasses.fields(cls)]
    lines = text.splitlines()
    for name in names:
        place = next(number for number, line in enumerate(lines) if line.removeprefix("# ").startswith(f"{name}: "))
        assert lines[place - 1].startswith("# ")
        assert f"\n  {name} " in settings.settings_help()
    assert "Unit: pixels" in text and "Range: 1 to 256. Paper: 2." in text


def test_what_the_model_decides_is_not_decided_by_the_printed_file():
    given = parse_mapping(settings.settings_yaml(), "printed")
    assert not given.keys() & {"resolution", "bucket_step"} and given["buckets"] is False
    assert "# resolution: 512" in settings.settings_yaml().splitlines()
    assert "(default the model's own; range 8 to 4,096" in " ".join(settings.settings_help().split())


def test_yaml_reads_numbers_as_people_write_them():
    chosen = read("learning_rate: 1e-4\nweight_decay: 0\nsteps: 1e4\nsample_targets: [1, 99]").training
    assert chosen == dataclasses.replace(settings.TrainingSettings(), weight_decay=0.0)
    assert isinstance(chosen.learning_rate, float) and isinstance(chosen.steps, int)


@pytest.mark.parametrize(
    "text, message",
    [
        ("steps: 0", "steps must be at least 1, not 0"),
        ("steps: many", "steps must be a whole number, not 'many'"),
        ("learning_rate: fast", "learning_rate must be a number, not 'fast'"),
        ("timestep_power: 0", "timestep_power must be above 0, not 0"),
        ("use_flag: 1", "use_flag must be true or false, not 1"),
        ("projection: cubic", "projection must be one of linear, mlp, not 'cubic'"),
        ("precision: float8", "precision must be one of auto, bfloat16, float32, float16"),
        ("mlp_width: 0", "mlp_width must be at least 1, not 0"),
        ("noise_offset: 2", "noise_offset must be at most 1, not 2"),
        ("min_snr_gamma: -1", "min_snr_gamma must be at least 0, not -1"),
        ("caption_limit: 1.5", "caption_limit must be a whole number, not 1.5"),
        ("latents: mean", "latents must be one of mode, sample, not .mean"),
        ("interpolation: area", "interpolation must be one of bicubic, bilinear"),
        ("tracker: comet", "tracker must be one of auto, none, tensorboard, wandb"),
        ("ema_decay: 1.0", "ema_decay must be below 1, not 1.0"),
        ("text_drop: 0.99", "must not add up to more than 1"),
        ("learning_rat: 1e-4", "run.yaml: unknown setting learning_rat; known are steps"),
        ("workers: 3000", "workers must be at most 256, not 3000"),
        ("tokens: 100000000", "tokens must be at most 256, not 100000000"),
        ("learning_rate: .inf", "learning_rate must be a finite number, not inf"),
        ("sample_cfg: .nan", "sample_cfg must be a finite number, not nan"),
        ("steps: 1e300", "steps must be at most 10,000,000"),
        ("seed: -1", "seed must be at least 0"),
        ("seed: 99999999999999999999999", "seed must be at most 4,294,967,295"),
        ("weight_decay: 9" + 400 * "9", "weight_decay must be a finite number, not 9"),
        ("sample_targets: [1, .inf]", "sample_targets must be a list of numbers, 0 to 100"),
        ("sample_targets: []", "sample_targets must be a list of percentiles"),
        ("metrics: [1]", "metrics must be a list of texts"),
        ("resolution: 100000", "resolution must be at most 4,096"),
        ("resolution: 100", "resolution must be a multiple of 8"),
        ("buckets: true\nresolution: 32", "bucket_step must be at most the resolution"),
        ("- 1", "must hold lines of the form"),
        ("a: [", "no valid YAML"),
    ],
)
def test_bad_settings_get_a_sentence(text, message):
    with pytest.raises(ValueError, match=message) as raised:
        read(text)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 900


def test_learning_rate_falls_once():
    chosen = settings.TrainingSettings(steps=10, late_from=0.8)
    rates = [chosen.learning_rate_at(step) for step in range(10)]
    assert rates == [1e-4] * 8 + [1e-5] * 2
