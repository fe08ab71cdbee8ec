"""Distortions at any size, their combinations, and the node that gives them."""

import pytest
import torch
import torch.nn.functional as F

from iqa_adapter.nodes.distort import IQADistortImages
from iqa_adapter.pictures import blocks
from iqa_adapter.pictures.distortions import KINDS, distort
from iqa_adapter.pictures.looks import LOOKS, degrade
from iqa_adapter.pictures.photos import photo

DRAWN_ALIKE = 0.35  # difference of the two sizes, as a share of what the distortion changes


@pytest.fixture(scope="module")
def large():
    return photo("astronaut", 512)


@pytest.fixture(scope="module")
def small(large):
    return F.interpolate(large, (64, 64), mode="area")


def seeded():
    return torch.Generator().manual_seed(3)


@pytest.mark.parametrize("severity", [0.3, 0.7])
@pytest.mark.parametrize("kind", sorted({*KINDS} - {"clean", "jpeg", "pixelation"}))
def test_small_and_large_pictures_look_alike(large, small, kind, severity):
    of_large = F.interpolate(distort(large, kind, severity, seeded()), (64, 64), mode="area")
    of_small = distort(small, kind, severity, seeded())
    assert (of_large - of_small).abs().mean() < DRAWN_ALIKE * (of_small - small).abs().mean()


@pytest.mark.parametrize("severity", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("kind", ["jpeg", "pixelation"])
def test_blocks_lose_as_much_of_small_and_large_pictures(large, small, kind, severity):
    """Where the blocks' borders or a rounding differ, pictures need not; so much is lost all the same."""
    of_large = F.interpolate(distort(large, kind, severity, seeded()), (64, 64), mode="area")
    lost = (distort(small, kind, severity, seeded()) - small).abs().mean().item()
    assert (of_large - small).abs().mean().item() == pytest.approx(lost, rel=0.2)


def test_blocks_of_eight_pixels_lose_what_jpeg_loses(small):
    for quality in (90, 40, 10):
        generator = seeded()
        severity = 1 - ((quality - 4) / 91) ** (1 / 1.5)
        saved = distort(small, "jpeg", severity, generator)[0]
        own = blocks.compress(small[0], quality, 8, 0.0).clamp(0, 1)
        assert (own - saved).abs().mean() * 255 < 2
        assert (own - small[0]).abs().mean() == pytest.approx((saved - small[0]).abs().mean().item(), rel=0.05)


def test_a_little_jpeg_keeps_the_detail_of_a_large_picture(large):
    changed = distort(large, "jpeg", 0.02, seeded()) - large
    assert changed.abs().mean() < 0.02


@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize("size", [(9, 33), (130, 70), (400, 31)])
def test_any_size(kind, size):
    image = torch.rand(2, 3, *size, generator=seeded())
    made = distort(image, kind, torch.tensor([0.1, 1.0]), seeded())
    assert made.shape == image.shape and made.isfinite().all() and made.min() >= 0 and made.max() <= 1


@pytest.mark.parametrize("look", LOOKS)
def test_every_look_grows_with_severity_and_starts_at_nothing(small, look):
    assert torch.equal(degrade(small, look, 0.0, [1]), small)
    slight, strong = ((degrade(small, look, severity, [1]) - small).abs().mean() for severity in (0.2, 0.9))
    assert 0 < slight < strong


def run(images, kind="blur", severity=0.5, seed=0, mask=None):
    return IQADistortImages.execute(images, kind, severity, seed, mask).args[0]


def test_a_picture_of_a_batch_is_as_it_would_be_alone(small):
    batch = small.repeat(3, 1, 1, 1).movedim(1, -1)
    made = run(batch, "film grain", seed=5)
    assert torch.equal(made[2:], run(batch[:1], "film grain", seed=7)) and not torch.equal(made[0], made[1])


@pytest.mark.parametrize("kind", KINDS)
def test_however_a_picture_lies_in_memory(small, kind):
    """ComfyUI's pictures are rows of colours; of several, kornia 0.8.2 blurs only what lies as planes."""
    planes = small.repeat(2, 1, 1, 1)
    rows = planes.contiguous(memory_format=torch.channels_last)
    assert torch.equal(distort(rows, kind, 0.3, seeded()), distort(planes, kind, 0.3, seeded()))


def test_only_under_the_mask(small):
    image, mask = small.movedim(1, -1), torch.zeros(1, 64, 64)
    mask[:, :, :32] = 1
    made, whole = run(image, mask=mask), run(image)
    assert torch.equal(made[:, :, 32:], image[:, :, 32:]) and torch.equal(made[:, :, :32], whole[:, :, :32])


def test_grey_and_transparent_pictures_stay_what_they_are(small):
    grey = small.mean(1)[..., None]
    assert run(grey).shape == grey.shape
    alpha = torch.rand(1, 64, 64, 1, generator=seeded())
    made = run(torch.cat([small.movedim(1, -1), alpha], -1))
    assert torch.equal(made[..., 3:], alpha) and torch.equal(made[..., :3], run(small.movedim(1, -1)))


def test_what_is_no_picture_is_refused(small):
    with pytest.raises(ValueError, match="contains NaN"):
        run(small.movedim(1, -1) * float("nan"))
    with pytest.raises(ValueError, match=r"pictures of 0\.\.\.255"):
        run(small.movedim(1, -1) * 255)
