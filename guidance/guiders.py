"""A guider of ComfyUI from what is connected."""

from __future__ import annotations

from comfy.model_patcher import ModelPatcher
from comfy.samplers import CFGGuider


def guider_of(
    model: ModelPatcher | None, positive: list | None, negative: list | None, cfg: float, guider: CFGGuider | None
) -> CFGGuider:
    """The given guider, or one of a model and its conditionings.

    Raises:
        ValueError: both are connected, or something is missing.
    """
    if guider is not None:
        given = {"model": model, "positive": positive, "negative": negative}
        if too_many := [name for name, value in given.items() if value is not None]:
            raise ValueError(
                f"A guider is connected, and {' and '.join(too_many)} beside it, which it has itself; take one away."
            )
        return guider
    if model is None or positive is None:
        raise ValueError("Connect a model and a positive conditioning, or a guider.")
    if negative is None and cfg != 1:
        raise ValueError(f"A cfg of {cfg:g} needs a negative conditioning; connect one, or set cfg to 1.")
    made = CFGGuider(model)
    made.inner_set_conds({"positive": positive} | ({} if negative is None else {"negative": negative}))
    made.set_cfg(cfg)
    return made
