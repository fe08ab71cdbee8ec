"""Where a picture is bad: windows, their mean, the worst part, the heat map, on real models and pictures."""

import comfy.model_management
import pytest
import torch

from iqa_adapter.evaluation import quality_map as evaluated
from iqa_adapter.figures.heat_map import COLOURS, coloured, heat_map
from iqa_adapter.iqa_models import quality_map as maps
from iqa_adapter.iqa_models.loading import load_iqa_model
from iqa_adapter.nodes.quality_map import IQAQualityMap
from iqa_adapter.pictures.distortions import distort
from iqa_adapter.pictures.photos import photo_crops

SIDE = 256
HALVES = {  # where the degraded half lies: rows, columns
    "left": (slice(None), slice(None, SIDE // 2)),
    "right": (slice(None), slice(SIDE // 2, None)),
    "top": (slice(None, SIDE // 2), slice(None)),
    "bottom": (slice(SIDE // 2, None), slice(None)),
}


@pytest.fixture(scope="module")
def photos():
    return photo_crops(1, SIDE)[:4]


@pytest.fixture(scope="module")
def entropy():
    return load_iqa_model("entropy")


@pytest.fixture(scope="module")
def piqe():
    return load_iqa_model("piqe")


def run(images, model, select="share", share=0.25, threshold=0.5, window=0, stride=0):
    return IQAQualityMap.execute(images, model, select, share, threshold, window, stride)


@pytest.mark.parametrize("metric", ["quickstart_iqa", "piqe"])
def test_the_degraded_half_is_found(photos, metric):
    model = load_iqa_model(metric)
    for image, (position, half) in zip(photos, HALVES.items(), strict=True):
        truth = torch.zeros(SIDE, SIDE, dtype=torch.bool)
        truth[half] = True
        blurred = distort(image[None], "gaussian_blur", 0.4)[0]
        picture = torch.where(truth, blurred, image).movedim(0, -1)[None]
        mask = run(picture, model, share=0.5).args[1][0] > 0
        assert (mask & truth).sum() / (mask | truth).sum() >= 0.8, position


def test_metrics_together_find_what_one_of_them_does_not_see(photos):
    """Coarse grain; ``python -m benchmarks.quality_map`` measures all kinds on many pictures."""
    found = []
    for names in (("quickstart_iqa",), evaluated.METRICS):
        models = [load_iqa_model(name) for name in names]
        inputs = {f"model_{number}": model for number, model in enumerate(models[1:], 2)}
        overlaps = []
        for position, photo in enumerate(photos):
            image = evaluated.with_bad_half(photo, "white_noise", 0.6, position, position).movedim(0, -1)[None]
            result = IQAQualityMap.execute(image, models[0], share=0.5, stride=32, **inputs)
            overlaps.append(evaluated.overlap(result.args[1][0] > 0, evaluated.half(position, SIDE)))
        found.append(sum(overlaps) / len(overlaps))
    assert found[0] < 0.5 and found[1] > found[0] + 0.2, found
    assert result.args[2].startswith("quickstart_iqa x piqe x noise, windows of 64 pixels every 32")


def test_goodness_of_several_is_the_product_of_their_places(photos, entropy, piqe):
    image = photos[0].movedim(0, -1)
    single = [maps.quality_map(model, image, 256, 256).scores[0, 0].item() for model in (entropy, piqe)]
    both = maps.quality_map(entropy, image, 256, 256, others=[piqe])
    expected = max(0.01, single[0] / 8) * max(0.01, 1 - single[1] / 100)
    assert both.higher_is_better and both.scores[0, 0].item() == pytest.approx(expected, rel=1e-4)


def test_metrics_that_cannot_judge_together_are_refused(photos, entropy):
    pictures = photos.movedim(1, -1)
    with pytest.raises(ValueError, match="colourfulness has no best and worst score, so others cannot join it"):
        IQAQualityMap.execute(pictures, entropy, model_2=load_iqa_model("colourfulness"))
    with pytest.raises(ValueError, match="Every metric can be given once only"):
        IQAQualityMap.execute(pictures, entropy, model_3=entropy)


@pytest.mark.parametrize("grain", [1, 2, 4])
def test_noise_is_seen_at_every_grain_and_not_in_blur_or_flat_pictures(photos, grain):
    noise = load_iqa_model("noise").patcher.model
    generator = torch.Generator().manual_seed(0)
    fine = torch.randn(4, 3, SIDE // grain, SIDE // grain, generator=generator)
    noisy = (photos + 0.1 * fine.repeat_interleave(grain, 2).repeat_interleave(grain, 3)).clamp(0, 1)
    assert (noise(noisy) > noise(photos) + 15).all()
    assert (noise(distort(photos, "gaussian_blur", 0.5)) < noise(photos)).all()
    assert noise(torch.full((1, 3, 8, 8), 0.5)).item() == 0
    white = 0.5 + 6 / 255 / (0.299**2 + 0.587**2 + 0.114**2) ** 0.5 * torch.randn(1, 3, 256, 256, generator=generator)
    assert noise(white).item() == pytest.approx(50, abs=1.5), "6 grey levels"


def test_the_bad_half_is_better_when_it_is_drawn_anew():
    """Where the map says so, at quality 99; the benchmark prints it for many scenes."""
    inpainting = evaluated.Inpainting()
    made = inpainting.mend(0, "noisy")
    assert made.after > made.before + 0.05, (made.before, made.after)
    assert (made.drawn - made.bad)[:, ~made.masked].abs().max() < 0.02, "what is not in the mask stays"


def test_every_pixel_gets_the_mean_of_its_windows(entropy):
    image = torch.rand(40, 56, 3, generator=torch.Generator().manual_seed(0))
    found = maps.quality_map(entropy, image, 24, 10).scores
    tops, lefts = [0, 10, 16], [0, 10, 20, 30, 32]
    scores = {(y, x): entropy.patcher.model(image[None, y : y + 24, x : x + 24].movedim(-1, 1)).item()
              for y in tops for x in lefts}  # fmt: skip
    for row, column in ((0, 0), (12, 30), (39, 55), (20, 24)):
        held = [score for (y, x), score in scores.items() if y <= row < y + 24 and x <= column < x + 24]
        assert found[row, column].item() == pytest.approx(sum(held) / len(held), rel=1e-5)


def test_the_direction_of_the_metric_is_honoured(photos, piqe, entropy):
    flat = photos[0].movedim(0, -1)[None].clone()
    flat[:, :, : SIDE // 2] = 0.5
    for model in (piqe, entropy):  # lower and higher is better
        mask = run(flat, model, share=0.5).args[1][0]
        assert mask[:, : SIDE // 2].mean() > 0.9 and mask[:, SIDE // 2 :].mean() < 0.1
    scores = maps.quality_map(piqe, flat[0], 64, 16).scores
    assert torch.equal(run(flat, piqe, "threshold", threshold=60.0).args[1][0], (scores > 60).float())


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_the_mask_has_the_share_that_was_asked_for(photos, entropy, share):
    assert run(photos.movedim(1, -1), entropy, share=share).args[1].mean((1, 2)).tolist() == pytest.approx(
        [share] * 4, abs=1e-4
    )


def test_a_picture_that_is_the_same_everywhere_has_no_worst_part(entropy):
    result = run(torch.full((1, 64, 64, 3), 0.5), entropy)
    assert result.args[1].sum() == 0 and "everywhere" in result.args[2] and result.args[0].isfinite().all()


def test_regions_are_even_and_keep_their_edge():
    generator = torch.Generator().manual_seed(0)
    step = torch.zeros(16, 16)
    step[:, 8:] = 1
    noisy = step + 0.3 * torch.randn(16, 16, generator=generator)
    smooth = maps.without_variation(noisy, 1.0)
    assert smooth[:, :8].std() < 0.3 * noisy[:, :8].std() and smooth[:, 8:].mean() - smooth[:, :8].mean() > 0.5
    assert smooth.mean().item() == pytest.approx(noisy.mean().item(), abs=1e-4)
    assert torch.equal(maps.without_variation(noisy, 0.0), noisy)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"window": 300}, "window of 300 pixels is larger than the pictures, 256x256"),
        ({"window": 4}, "piqe needs windows of at least 8 pixels, not 4"),
        ({"window": 16, "stride": 17}, "leave gaps between windows of 16"),
        ({"window": 8, "stride": 1}, "62001 windows of a picture of 256x256, more than 10000"),
    ],
)
def test_windows_that_cannot_be_are_refused(photos, piqe, inputs, message):
    with pytest.raises(ValueError, match=message):
        run(photos.movedim(1, -1), piqe, **inputs)


def test_what_is_no_picture_is_refused(piqe):
    with pytest.raises(ValueError, match="contains NaN"):
        run(torch.full((1, 64, 64, 3), float("nan")), piqe)
    with pytest.raises(ValueError, match="too small for piqe"):
        run(torch.rand(1, 4, 64, 3), piqe)


@pytest.mark.parametrize(("side", "chosen"), [(64, (24, 4)), (256, (64, 16)), (512, (64, 32)), (2048, (256, 128))])
def test_automatic_windows_follow_the_size(entropy, side, chosen):
    assert maps.window_and_stride(torch.zeros(1, side, side + 9, 3), entropy.entry) == chosen


def test_it_can_be_cancelled(photos, entropy):
    comfy.model_management.interrupt_current_processing(True)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        run(photos.movedim(1, -1), entropy)
    assert not comfy.model_management.processing_interrupted()


def test_the_heat_map_shows_worst_red_and_best_blue_with_a_scale(photos, entropy):
    assert coloured(torch.tensor([0.0, 1.0])).tolist() == [pytest.approx(COLOURS[0]), pytest.approx(COLOURS[-1])]
    goodness = torch.linspace(0, 1, 64).expand(64, -1)
    shown = heat_map(torch.full((64, 64, 3), 0.5), goodness, (goodness < 0.25).float(), "metric", "0 worst", "best 1")
    assert shown.shape[1] == 256 and shown.shape[0] > 256
    red, blue = shown[:256, 20], shown[:256, -20]
    assert (red[:, 0] > red[:, 2]).all() and (blue[:, 2] > blue[:, 0]).all()
    assert (shown[128, 60:68] == 1).all(-1).any(), "the border of the mask"
    result = run(photos[:2].movedim(1, -1), entropy)
    assert len(result.args[0]) == 2 and len(result.ui["images"]) == 2
    assert result.args[2].startswith("entropy, windows of 64 pixels every 16\nimage 1: worst ")
