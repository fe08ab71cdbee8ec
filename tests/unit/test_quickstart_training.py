"""The base model's training: batches, exact resume, parts, what the optimisers and the companion act on."""

from types import SimpleNamespace

import pytest
import torch

from iqa_adapter.pictures.distortions import KINDS, distort
from iqa_adapter.quickstart.making import base_training, companion, distorting, procedural
from iqa_adapter.quickstart.making.base_model import Batch
from iqa_adapter.quickstart.rendering import render_pictures
from iqa_adapter.quickstart.text_encoder import PromptEncoder, Tokenizer, encode, tokenize
from iqa_adapter.quickstart.world import caption, sample_scene

SETTINGS = base_training.Settings(batch=4)
CPU = torch.device("cpu")


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.setattr(procedural, "CHUNK", 32)
    procedural.make_scene_cache(tmp_path / "scenes", 32)
    return tmp_path


def begin(work, steps=400):
    return base_training.BaseTraining(work, steps, SETTINGS, CPU)


def advance(training, steps):
    for _ in range(steps):
        training.advance()
    return training


def test_interrupted_training_goes_on_as_if_it_had_not_stopped(work):
    whole = advance(begin(work), 3)
    advance(begin(work), 2).save()
    second = begin(work)
    assert second.step == 2
    advance(second, 1)
    assert torch.equal(second.losses, whole.losses)
    for name, weight in whole.model.weights.state_dict().items():
        assert torch.equal(weight, second.model.weights.state_dict()[name]), name
        assert torch.equal(whole.average[name], second.average[name]), name


def test_muon_trains_the_inner_weights_and_adamw_the_rest(work):
    training = begin(work)
    before = {name: weight.clone() for name, weight in training.model.weights.named_parameters()}
    advance(training, 2)  # the residual branches start at zero: at the first step nothing before them has a gradient
    moved = {n for n, weight in training.model.weights.named_parameters() if not torch.equal(weight, before[n])}
    inner = {n for n, weight in training.model.weights.named_parameters() if weight in training.work.matrices}
    assert "unet.middle_block.0.in_layers.2.weight" in inner & moved
    assert "unet.input_blocks.0.0.weight" in moved - inner
    assert not any(name.startswith("text_encoder") for name in inner)


def test_exported_weights_are_a_beginning(work):
    """Without the optimisers' state the training goes on from the weights written for use, warming up anew."""
    first = advance(begin(work), 1)
    first.export(work)
    second = begin(work)
    assert second.step == 1
    assert second.schedule() == 1 / SETTINGS.warm_up
    for name, weight in second.model.weights.state_dict().items():
        assert torch.equal(weight, first.average[name].half().float()), name
        assert torch.equal(weight, second.average[name]), name
    told, before = (training.model.companion.state_dict() for training in (second, first))
    assert all(torch.equal(told[name], weight.half().float()) for name, weight in before.items())
    advance(second, 1).save()
    assert begin(work).schedule() == 2 / SETTINGS.warm_up


def test_a_finished_part_begins_another_and_an_unfinished_one_goes_on(work):
    advance(begin(work, 2), 1).save()
    assert begin(work, 8).begin == 0
    advance(begin(work, 2), 1).save()
    second = begin(work, 8)
    assert second.begin == 2
    assert second.schedule() == 1 / SETTINGS.warm_up


def test_minutes_decide_the_steps(work, monkeypatch):
    monkeypatch.setattr(base_training, "LOOK", 2)
    monkeypatch.setattr(base_training, "Settings", lambda: SETTINGS)
    done = base_training.train_base(work, 10_000, CPU, lambda training: None, minutes=0.1)
    assert 4 < done.step < 10_000
    assert done.step == done.steps


def test_a_slow_checkpoint_leaves_the_plan_as_it_was(monkeypatch):
    clock = iter([10, 20, 40, 50])
    monkeypatch.setattr(base_training, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    part = SimpleNamespace(step=0, begin=0, steps=1000)
    speed, planned = base_training.Speed(0, minutes=10), []
    for pause in (False, True, False, False):
        part.step += 100
        speed.plan(part)
        planned.append(part.steps)
        if pause:
            speed.pause()
    assert planned == [1000, 200 + 5800, 200 + 5800, 400 + 5500]


def random_weights(model):
    """The residual branches start at zero, and nothing would reach the output."""
    noise = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in model.weights.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=noise))


def test_companion_changes_the_loss_of_the_pictures_it_accompanies_and_of_no_others(work):
    training = begin(work)
    model = training.model
    random_weights(model)
    batch = training.data.batch(0, model)

    def loss(kinds, accompanied, without=False):
        columns = {name: getattr(batch, name) for name in Batch.__dataclass_fields__}
        changed = Batch(**columns | {"kinds": kinds, "accompanied": torch.full((len(kinds),), accompanied)})
        if without:
            model.companion.options = lambda *quality: {}
        with torch.no_grad():
            return model.loss(changed).item()

    kinds, others = batch.kinds, (batch.kinds + 1) % 8
    assert loss(kinds, accompanied=1.0) != loss(others, accompanied=1.0)
    assert loss(kinds, accompanied=0.0) == loss(others, accompanied=0.0) == loss(kinds, accompanied=0.0, without=True)


def test_companion_is_no_part_of_the_weights(work):
    training = begin(work)
    assert not any("companion" in name or "adapter" in name for name in training.average)
    before = training.model.companion.adapter.weight.detach().clone()
    advance(training, 2)
    assert not torch.equal(training.model.companion.adapter.weight, before)


def test_companion_is_told_the_direction_where_there_is_one():
    kinds = torch.tensor([KINDS.index(kind) for kind in ("motion_blur", "colour_shift", "jpeg")])
    severities = torch.full((3,), 0.5)

    def described(degrees):
        return companion.describe(kinds, severities, torch.full((3,), degrees))

    same = [torch.equal(each, other) for each, other in zip(described(30.0), described(75.0), strict=True)]
    assert same == [False, False, True]
    forth, back = described(30.0), described(210.0)
    assert torch.allclose(forth[0], back[0], atol=1e-6)  # motion
    assert (forth[1] - back[1]).abs().max() > 0.5  # shift


@pytest.mark.parametrize("kind", KINDS)
def test_distortions_of_training_are_those_of_the_room(kind):
    pictures = render_pictures(sample_scene(seed) for seed in range(12))
    severity, generator = torch.linspace(0.02, 1, 12), torch.Generator().manual_seed(3)
    directions = torch.rand(12, generator=torch.Generator().manual_seed(3)) * 360  # as `distort` draws them
    ours = distorting.distort_scenes(kind, pictures, severity, directions, torch.Generator().manual_seed(3))
    theirs = distort(pictures, kind, severity, generator)
    changed, difference = (theirs - pictures).abs().mean(), (theirs - ours).abs().mean()
    assert difference <= 0.05 * changed if kind == "jpeg" else (theirs - ours).abs().max() < 1e-4


def test_tokens_and_texts_are_those_of_comfyui():
    captions = [caption(sample_scene(seed), seed) for seed in range(40)] + ["", "a " * 30, "xyz, a blue (ring:1.2)"]
    tokenizer = Tokenizer()
    theirs = [tokenizer.tokenize_with_weights(text, disable_weights=True)["quickstart"][0] for text in captions]
    theirs = [[token for token, _ in chunk] for chunk in theirs]
    tokens = tokenize(captions)
    assert tokens.tolist() == theirs
    encoder = PromptEncoder(dtype=torch.float32).chunk_encoder
    for weight in encoder.transformer.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    with torch.no_grad():
        for expected, given in zip(encoder(theirs), encode(encoder.transformer, tokens), strict=True):
            assert torch.equal(expected, given)
