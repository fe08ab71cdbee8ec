"""The base model by name: one that is embedded in the pack, or a checkpoint that ComfyUI loads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import comfy.sd
import folder_paths

from .encoder import Models
from .memory import TrainingOutOfMemory, memory_errors


def checkpoint_file(checkpoint: str, embedded: Mapping[str, Callable[[], tuple]]) -> Path:
    """Where a checkpoint is, by its name in models/checkpoints or by its path.

    Raises:
        FileNotFoundError: there is none.
    """
    path = Path(folder_paths.get_full_path("checkpoints", checkpoint) or checkpoint)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no checkpoint {checkpoint} in models/checkpoints/ nor at that path; embedded is "
            f"{', '.join(embedded)}."
        )
    return path


def load_models(checkpoint: str, embedded: Mapping[str, Callable[[], tuple]]) -> Models:
    """UNet, text encoder and VAE.

    Args:
        checkpoint: name or path, or a key of ``embedded``.
        embedded: models beside those of files, by name.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: ComfyUI cannot load it, or it lacks a part.
        TrainingOutOfMemory: it does not fit.
    """
    if checkpoint in embedded:
        return Models(*embedded[checkpoint]())
    path = str(checkpoint_file(checkpoint, embedded))
    embeddings = folder_paths.get_folder_paths("embeddings")
    try:
        with memory_errors("loading the checkpoint", "free some"):
            model, clip, vae, *_ = comfy.sd.load_checkpoint_guess_config(path, embedding_directory=embeddings)
    except TrainingOutOfMemory:
        raise
    except Exception as error:  # ComfyUI names no common class for what a wrong file can raise
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ValueError(
            f"{path} is no checkpoint that ComfyUI can load ({reason}). A whole one is needed, with UNet, text encoder "
            "and VAE: of SD1.5, SD2, SDXL or a relative."
        ) from error
    vae = vae if getattr(vae, "first_stage_model", None) is not None else None  # ComfyUI gives an empty one
    missing = [name for name, part in (("UNet", model), ("text encoder", clip), ("VAE", vae)) if part is None]
    if missing:
        raise ValueError(f"{path} has no {' and no '.join(missing)}; a whole checkpoint is needed.")
    return Models(model, clip, vae)
