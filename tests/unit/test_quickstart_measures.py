"""The quickstart's own measures: colourfulness, full-reference target, photographs, attribute labels."""

import numpy as np
import pytest
import torch

from iqa_adapter.iqa_models import colourfulness
from iqa_adapter.nodes.quickstart import IQAQuickstartPicture as node
from iqa_adapter.pictures import photos
from iqa_adapter.pictures.distortions import distort, distort_randomly
from iqa_adapter.quickstart import reader as attributes
from iqa_adapter.quickstart import world as scenes
from iqa_adapter.quickstart.making import iqa


def test_colourfulness_of_grey_is_zero_and_grows_with_saturation():
    grey = torch.rand(1, 1, 16, 16).expand(1, 3, 16, 16)
    colour = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    mixed = torch.cat([torch.lerp(grey, colour, share) for share in (0.0, 0.3, 0.6, 1.0)])
    values = colourfulness.colourfulness(mixed)
    assert values[0] == pytest.approx(0, abs=1e-4)
    assert (values.diff() > 0).all()


def test_colourfulness_agrees_with_the_formula_written_out():
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3))
    r, g, b = (image[..., i].astype(float) for i in range(3))
    rg, yb = r - g, 0.5 * (r + g) - b
    expected = np.sqrt(rg.std() ** 2 + yb.std() ** 2) + 0.3 * np.sqrt(rg.mean() ** 2 + yb.mean() ** 2)
    tensor = torch.from_numpy(image).movedim(-1, 0)[None].double() / 255
    assert colourfulness.colourfulness(tensor).item() == pytest.approx(expected, rel=1e-9)


def test_quality_target_is_one_for_the_clean_picture_and_falls_with_severity():
    clean, target = iqa.render_seeds(range(6)), iqa.QualityTarget()
    assert torch.allclose(target(clean, clean), torch.ones(6), atol=1e-4)
    means = [target(distort(clean, "gaussian_blur", s), clean).mean() for s in (0.2, 0.6, 1.0)]
    assert 1 > means[0] > means[1] > means[2]


def test_photographs_are_at_hand_without_a_network():
    crops = photos.photo_crops(crops=2)
    assert crops.shape == (2 * len(photos.photo_files()), 3, 64, 64)
    assert crops.min() >= 0 and crops.max() <= 1
    assert torch.equal(crops, photos.photo_crops(crops=2))


def test_labels_name_the_attributes_of_a_scene():
    scene = scenes.sample_scene(3, two_objects=0)
    thing = scene.things[0]
    names = [classes[i] for classes, i in zip(attributes.CLASSES.values(), attributes.labels(scene), strict=False)]
    assert names == [thing.colour, thing.shape, thing.surface, scene.background_colour, scene.texture]


def test_random_distortions_keep_their_share_of_clean_pictures():
    images = torch.rand(400, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    pictures, kinds, severity = distort_randomly(images, 0.35, torch.Generator().manual_seed(1))
    assert (kinds == 0).float().mean().item() == pytest.approx(0.35, abs=0.07)
    assert torch.equal(pictures[kinds == 0], images[kinds == 0]) and (severity[kinds == 0] == 0).all()
    assert len(kinds.unique()) == 8


def test_picture_node_shows_every_picture_distorted():
    for name in (*photos.SHOWN, node.SCENE):
        clean = node.execute(name, "clean", 1.0, 0).args[0]
        blurred = node.execute(name, "motion_blur", 0.8, 0).args[0]
        assert clean.shape == blurred.shape == (1, 64, 64, 3)
        assert blurred.diff(dim=1).abs().mean() < clean.diff(dim=1).abs().mean()
    assert torch.equal(node.execute("cat", "jpeg", 0.0, 0).args[0], node.execute("cat", "clean", 0.0, 0).args[0])
