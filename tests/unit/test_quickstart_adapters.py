"""The adapters of the quickstart: what percentiles mean, references that share only quality, training that resumes."""

import shutil

import pytest
import torch

from iqa_adapter.adapter.checkpoint import load_adapter
from iqa_adapter.pictures.distortions import KINDS
from iqa_adapter.quickstart.making import adapters, procedural
from iqa_adapter.quickstart.model import WEIGHTS


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quickstart")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(procedural, "CHUNK", 160)
        procedural.make_scene_cache(folder / "scenes", 160)
        procedural.make_leaves_cache(folder / "leaves", 80)
        for name in ("base", "iqa"):
            shutil.copy(WEIGHTS / f"{name}.safetensors", folder)
        yield folder


@pytest.mark.parametrize("clean_share", [0.5, 0.8])
def test_percentiles_do_not_follow_the_share_of_clean_pictures(work, clean_share):
    scenes = adapters.MixedScenes(work, clean_share)
    mask = scenes.like_base_training()
    assert mask[torch.from_numpy(scenes.kinds > 0)].all()
    kept = torch.from_numpy(scenes.kinds == 0)[mask].float().mean().item()
    assert kept == pytest.approx(adapters.CLEAN_SHARE, abs=1 / mask.sum().item())


def test_other_pictures_are_distorted_alike(work):
    scenes = adapters.MixedScenes(work, 1 / 8)
    flat = torch.full_like(scenes.clean, 0.5)
    noisy = [(scenes.distort(flat) - flat).flatten(1).std(1), (scenes.images - scenes.clean).flatten(1).std(1)]
    noise = scenes.kinds == KINDS.index("white_noise")
    assert torch.corrcoef(torch.stack([each[noise] for each in noisy]))[0, 1] > 0.95
    assert (noisy[0][scenes.kinds == 0] == 0).all()


def test_score_adapter_goes_on_from_where_it_stopped(work):
    adapters.train_adapter(adapters.SCORE_TRAINING, work, 1)
    file = adapters.train_adapter(adapters.SCORE_TRAINING, work, 2)
    losses = (work / "score_adapter" / "loss.jsonl").read_text().splitlines()
    assert len(losses) == 2
    quality, colour = load_adapter(file).metadata.metrics
    for metric in (quality, colour):
        values = list(metric.percentiles.values())
        assert values == sorted(values) and values[0] < values[-1]
