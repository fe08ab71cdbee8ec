"""Quality over frames: keyframes, what lies between them, and what each frame is drawn with."""

import comfy.sample
import pytest
import torch

from iqa_adapter.adapter.apply import apply_adapter
from iqa_adapter.adapter.checkpoint import load_adapter
from iqa_adapter.adapter.tokens import embed_quality
from iqa_adapter.nodes.schedule import IQAQualitySchedule
from iqa_adapter.quality import schedule, targets
from iqa_adapter.quickstart import model
from iqa_adapter.quickstart.adapters import SCORE


@pytest.fixture(scope="module")
def adapter():
    return load_adapter(model.WEIGHTS / SCORE.file)


def run(adapter, keyframes="0: 1, 4: 99", frames=0, between="linear", **inputs):
    return IQAQualitySchedule.execute(adapter, keyframes, frames, between, **inputs).args


@pytest.mark.parametrize(
    ("text", "frames", "between", "values"),
    [
        ("0: 0, 4: 100", 6, "linear", [0, 25, 50, 75, 100, 100]),
        ("4=100; 0=0", 5, "hold", [0, 0, 0, 0, 100]),
        ("0: 0\n4: 100", 5, "smooth", [0, 15.625, 50, 84.375, 100]),
        ("1: 10, 3: 30, 5: 10", 7, "linear", [10, 10, 20, 30, 20, 10, 10]),
        ("2: 40", 3, "hold", [40, 40, 40]),
    ],
)
def test_values_between_keyframes(text, frames, between, values):
    keys = schedule.keyframes(text, "keyframes", 0, 100)
    assert schedule.over_frames(keys, frames, between) == pytest.approx(values)


def test_every_frame_is_asked_for_its_percentile(adapter):
    tokens, count, requested, labels = run(adapter, aesthetics="0: 10, 4: 90")
    assert (count, requested) == (5, "1, 25.5, 50, 74.5, 99")
    assert labels.split("\n")[1] == "frame 1: quality 25.5 %"
    for number, (quality, aesthetics) in enumerate([(1, 10), (25.5, 30), (50, 50), (74.5, 70), (99, 90)]):
        single = embed_quality(adapter, targets.requested(adapter.metadata.metrics, quality, aesthetics))
        assert torch.equal(tokens.cond[number], single.cond[0])


@pytest.mark.parametrize("cfg", [1.0, 3.0])
def test_frames_are_drawn_as_single_pictures_of_their_quality(adapter, cfg):
    base, clip, _ = model.load_quickstart()
    positive, negative = (
        clip.encode_from_tokens_scheduled(clip.tokenize(text)) for text in ("a plain red heart on teal fabric", "")
    )
    latent = torch.zeros(3, 12, 16, 16)
    noise = comfy.sample.prepare_noise(latent, 3, [0, 0, 0])

    def drawn(tokens, count):
        adapted = apply_adapter(base, tokens)
        with torch.inference_mode():
            return comfy.sample.sample(
                adapted, noise[:count], 3, cfg, "euler", "normal", positive, negative, latent[:count], disable_pbar=True
            )  # fmt: skip

    frames = drawn(run(adapter, "0: 1, 2: 99", latent={"samples": latent}, strength="0: 0, 2: 2")[0], 3)
    for number, (quality, strength) in enumerate([(1, 0.0), (50, 1.0), (99, 2.0)]):
        asked = embed_quality(adapter, targets.requested(adapter.metadata.metrics, quality, 50))
        single = apply_adapter(base, asked, strength)
        alone = comfy.sample.sample(
            single, noise[:1], 3, cfg, "euler", "normal", positive, negative, latent[:1], disable_pbar=True
        )  # fmt: skip
        assert (frames[number] - alone[0]).abs().max() < 1e-4
    assert (frames[0] - frames[2]).abs().max() > 0.01


def test_frames_are_counted_by_number_latent_or_last_keyframe(adapter):
    assert run(adapter)[1] == 5 and run(adapter, frames=9)[1] == 9
    assert run(adapter, latent={"samples": torch.zeros(7, 4, 8, 8)})[1] == 7
    assert run(adapter, strength="0: 0, 20: 1")[1] == 21


def test_keyframes_beyond_the_last_frame_are_told(adapter, caplog):
    run(adapter, "0: 1, 4: 99", frames=5)
    assert not caplog.messages
    run(adapter, "0: 1, 16: 99", frames=4, strength="0: 0, 3: 1")
    assert caplog.messages == ["keyframes: frame 16 lies beyond the last frame, which is 3, and is not reached."]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"keyframes": "0: 1, 16"}, "keyframes: '16' cannot be read; write frame: value"),
        ({"keyframes": "0: 1, 0: 2"}, "frame 0 has two values, 1 and 2"),
        ({"keyframes": "0: 101"}, "101 at frame 0 is outside 0 to 100"),
        ({"keyframes": "200000: 1"}, "beyond 99999"),
        ({"keyframes": " "}, "There are no keyframes"),
        ({"strength": "0: 11"}, "strength: 11 at frame 0 is outside -10 to 10"),
        ({"frames": 3, "latent": {"samples": torch.zeros(2, 4, 8, 8)}}, "frames says 3, but the latent has 2"),
        ({"latent": {"samples": torch.zeros(1, 4, 5, 8, 8)}}, "is one video, whose frames are drawn together"),
    ],
)
def test_what_cannot_be_is_one_sentence(adapter, inputs, message):
    with pytest.raises(ValueError, match=message):
        run(adapter, **inputs)
