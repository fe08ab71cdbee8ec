"""Select Best Images: thresholds, latents that go with the pictures, and a metric that is set aside."""

import pytest
import torch
from comfy_execution.graph_utils import ExecutionBlocker

from iqa_adapter.iqa_models.scoring import Scores
from iqa_adapter.nodes.scoring import IQASelectBest

SCORES = Scores(("entropy", "piqe"), torch.tensor([[1.0, 20], [4.0, 60], [3.0, 40], [2.0, 30]]), "as is")
IMAGES = torch.arange(4.0).view(4, 1, 1, 1).expand(-1, 8, 8, 3) / 4


def select(count=2, metric="", latent=(), thresholds="", check="", images=IMAGES):
    return IQASelectBest.execute([images], [SCORES], [count], [metric], list(latent), [thresholds], [check]).args


def test_only_what_reaches_every_threshold_is_kept():
    (kept,), places, _, summary = select(3, thresholds="3; piqe=50")  # a bare number is of the first metric
    assert places == [2] and torch.equal(kept, IMAGES[[2]])
    assert summary.startswith("1 of 4 pictures kept, 1 are good enough")
    with pytest.raises(ValueError, match="None of 4 pictures reaches entropy=9; the best has entropy 4. Lower the"):
        select(thresholds="entropy=9")


def test_latents_go_with_their_pictures_in_a_batch_or_a_list():
    batch = {"samples": torch.arange(4.0).view(4, 1, 1, 1).expand(-1, 4, 2, 2)}
    ((latent),) = select(latent=[batch])[2]
    assert latent["samples"][:, 0, 0, 0].tolist() == [1, 2]
    wide = {"samples": torch.zeros(1, 4, 2, 3)}
    pieces = [{"samples": batch["samples"][:1]}, wide, {"samples": batch["samples"][2:]}]
    assert [each["samples"].shape[3] for each in select(latent=pieces)[2]] == [3, 2]
    assert isinstance(select()[2][0], ExecutionBlocker)
    with pytest.raises(ValueError, match="scores are of 4 images, but 3 latents"):
        select(latent=[{"samples": batch["samples"][:3]}])


def test_the_summary_warns_where_the_metric_set_aside_falls():
    assert "Careful: the kept pictures are better in entropy and worse in piqe" in select(check="piqe")[3]
    assert "Careful" not in select(4, check="piqe")[3]  # all of them are no better than average
    with pytest.raises(ValueError, match="entropy decides, so that it cannot be set aside"):
        select(check="entropy")
