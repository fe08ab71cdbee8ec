"""The size in which a model is trained where nobody chose one."""

import models
import pytest
import training_models
from comfy.model_base import ModelType

from iqa_adapter.quickstart.model import load_quickstart
from iqa_adapter.training.own_size import own_size


def sd2(model_type):
    """A UNet with SD2's context, which predicts ``model_type``."""
    patcher = training_models.tiny_model()
    patcher.model.model_config.unet_config = patcher.model.model_config.unet_config | {"context_dim": 1024}
    patcher.model.model_type = model_type
    return patcher


@pytest.mark.parametrize(
    ("make", "resolution", "step"),
    [
        (lambda: models.comfy_model("SD1.5"), 512, 64),
        (lambda: models.comfy_model("SDXL"), 1024, 64),
        (lambda: models.comfy_model("SSD-1B"), 1024, 64),
        (lambda: sd2(ModelType.EPS), 512, 64),
        (lambda: sd2(ModelType.V_PREDICTION), 768, 64),
        (lambda: training_models.tiny_model(ModelType.V_PREDICTION), 512, 64),
        (lambda: load_quickstart()[0], 64, 8),
    ],
)
def test_it_is_the_models_own(make, resolution, step):
    assert own_size(make()) == {"resolution": resolution, "bucket_step": step}
