"""The size of pictures that a model is made for."""

from __future__ import annotations

from comfy.model_base import SDXL, ModelType, SDXLRefiner
from comfy.model_patcher import ModelPatcher

from ..adapter.transformer_families import FAMILIES as TRANSFORMERS

SD2_CONTEXT = 1024  # width of its text embeddings


def own_resolution(model: ModelPatcher) -> int:
    """Side in pixels: 1024 for SDXL, its relatives and transformers, 768 for SD2 that predicts v, 512 for SD1.5 and
    other SD2; what a model says of itself, as the quickstart does, comes first."""
    base = model.model
    config = base.model_config
    if own := getattr(config, "training_resolution", 0):
        return own
    if isinstance(base, (SDXL, SDXLRefiner)):
        return 1024
    if isinstance(base.diffusion_model, tuple(TRANSFORMERS)):
        return 1024
    predicts_v = base.model_type is ModelType.V_PREDICTION
    return 768 if predicts_v and config.unet_config.get("context_dim") == SD2_CONTEXT else 512


def own_size(model: ModelPatcher) -> dict[str, int]:
    """Settings of the size where nobody chose one."""
    side = own_resolution(model)
    return {"resolution": side, "bucket_step": min(64, side // 8)}
