"""Settings of a training run: defaults, YAML, and sentences for what cannot be."""

import dataclasses

import pytest

from iqa_adapter.training import checked, settings


def test_defaults_are_those_of_the_paper():
    chosen = settings.TrainingSettings()
    assert (chosen.weight_decay, chosen.learning_rate, chosen.late_learning_rate) == (1e-2, 1e-4, 1e-5)
    assert (chosen.quality_drop, chosen.text_drop, chosen.both_drop, chosen.tokens) == (0.01, 0.05, 0.01, 2)


def read(text):
    (chosen,) = checked.read_yaml(text, "run.yaml", settings.TrainingSettings)
    return chosen


def test_yaml_reads_numbers_as_people_write_them():
    chosen = read("learning_rate: 1e-4\nweight_decay: 0\n")
    assert chosen == dataclasses.replace(settings.TrainingSettings(), learning_rate=1e-4, weight_decay=0.0)
    assert isinstance(chosen.learning_rate, float)


@pytest.mark.parametrize(
    "text, message",
    [
        ("steps: 0", "steps must be at least 1, not 0"),
        ("steps: many", "steps must be a whole number, not 'many'"),
        ("learning_rate: fast", "learning_rate must be a number, not 'fast'"),
        ("timestep_power: 0", "timestep_power must be above 0, not 0"),
        ("use_flag: 1", "use_flag must be true or false, not 1"),
        ("projection: cubic", "projection must be one of linear, mlp, not 'cubic'"),
        ("precision: float16", "precision must be one of auto, bfloat16, float32"),
        ("ema_decay: 1.0", "ema_decay must be 0 or above and below 1"),
        ("text_drop: 0.99", "must not add up to more than 1"),
        ("learning_rat: 1e-4", "run.yaml: unknown setting learning_rat; known are steps"),
        ("- 1", "must hold lines of the form"),
        ("a: [", "no valid YAML"),
    ],
)
def test_bad_settings_get_a_sentence(text, message):
    with pytest.raises(ValueError, match=message):
        read(text)


def test_learning_rate_falls_once():
    chosen = settings.TrainingSettings(steps=10, late_from=0.8)
    rates = [chosen.learning_rate_at(step) for step in range(10)]
    assert rates == [1e-4] * 8 + [1e-5] * 2
