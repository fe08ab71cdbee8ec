"""The base model's training resumes exactly, and its Muon works on the UNet's own memory."""

import pytest
import torch

from iqa_adapter.quickstart.making import base_training, procedural
from iqa_adapter.quickstart.making.export import write_weights

SETTINGS = base_training.Settings(batch=4)


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.setattr(procedural, "CHUNK", 32)
    procedural.make_scene_cache(tmp_path / "scenes", 32)
    return tmp_path


def test_interrupted_training_goes_on_as_if_it_had_not_stopped(work):
    whole = base_training.BaseTraining(work, 400, SETTINGS)
    losses = [whole.advance() for _ in range(3)]
    first = base_training.BaseTraining(work, 400, SETTINGS)
    assert [first.advance() for _ in range(2)] == losses[:2]
    first.save()
    second = base_training.BaseTraining(work, 400, SETTINGS)
    assert second.step == 2
    assert second.advance() == losses[2]
    for name, weight in whole.model.weights.state_dict().items():
        assert torch.equal(weight, second.model.weights.state_dict()[name]), name
        assert torch.equal(whole.average[name], second.average[name]), name


def test_muon_trains_the_inner_weights_and_adamw_the_rest(work):
    training = base_training.BaseTraining(work, 400, SETTINGS)
    before = {name: weight.clone() for name, weight in training.model.weights.named_parameters()}
    training.advance()
    training.advance()  # the residual branches start at zero: at the first step nothing before them has a gradient
    moved = {n for n, weight in training.model.weights.named_parameters() if not torch.equal(weight, before[n])}
    inner = {n for n, weight in training.model.weights.named_parameters() if weight in training.matrices}
    assert "unet.middle_block.0.in_layers.2.weight" in inner & moved
    assert "unet.input_blocks.0.0.weight" in moved - inner
    assert not any(name.startswith("text_encoder") for name in inner)


def test_exported_weights_are_a_beginning(work):
    """Without the optimiser's state the training goes on from the weights written for use, warming up anew."""
    first = base_training.BaseTraining(work, 400, SETTINGS)
    first.advance()
    write_weights(work / "base.safetensors", first.average, first.facts())
    second = base_training.BaseTraining(work, 400, SETTINGS)
    assert second.step == 1
    assert second.schedule() == 1 / SETTINGS.warm_up
    for name, weight in second.model.weights.state_dict().items():
        assert torch.equal(weight, first.average[name].half().float()), name
        assert torch.equal(weight, second.average[name]), name
    second.advance()
    second.save()
    assert base_training.BaseTraining(work, 400, SETTINGS).schedule() == 2 / SETTINGS.warm_up


def test_companion_changes_the_loss_of_the_pictures_it_accompanies_and_of_no_others(work):
    training = base_training.BaseTraining(work, 400, SETTINGS)
    model, noise = training.model, torch.Generator().manual_seed(3)
    with torch.no_grad():  # the residual branches start at zero, and nothing would reach the output
        for weight in model.weights.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=noise))
    pictures, captions, (kinds, severities, _) = training.data.batch(0)
    latents, tokens = base_training.SpaceToDepth().encode(pictures * 2 - 1), base_training.tokenize(captions)

    def loss(kinds, accompanied, without=False):
        quality = [kinds, severities, torch.full((len(kinds),), accompanied)]
        if without:
            model.companion.options = lambda *quality: {}
        with torch.no_grad():
            return model.loss(latents, tokens, quality, torch.Generator().manual_seed(1)).item()

    others = (kinds + 1) % 8
    assert loss(kinds, accompanied=1.0) != loss(others, accompanied=1.0)
    assert loss(kinds, accompanied=0.0) == loss(others, accompanied=0.0) == loss(kinds, accompanied=0.0, without=True)


def test_companion_is_no_part_of_the_weights(work):
    training = base_training.BaseTraining(work, 400, SETTINGS)
    assert not any("companion" in name or "adapter" in name for name in training.average)
    before = training.model.companion.adapter.weight.detach().clone()
    training.advance()
    training.advance()
    assert not torch.equal(training.model.companion.adapter.weight, before)
