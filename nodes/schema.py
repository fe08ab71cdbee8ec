"""What all nodes of the pack share: socket types, and schema features that differ between ComfyUI versions."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from functools import cache

import folder_paths
from comfy_api.latest import io
from torch import Tensor

from ..printable import fault, shown

CATEGORY = "IQA-Adapter"
FURTHER = 2, 3, 4  # numbers of the metrics beside the first, in ids

IQAAdapterType = io.Custom("IQA_ADAPTER")  # adapter.adapter.Adapter
IQAModelType = io.Custom("IQA_MODEL")  # iqa_models.loading.IQAModel
IQAScoresType = io.Custom("IQA_SCORES")  # iqa_models.scoring.Scores
IQAFeaturesType = io.Custom("IQA_FEATURES")  # iqa_models.features.Features
IQARecordType = io.Custom("IQA_GUIDANCE_RECORD")  # guidance.record.Record
IQACalibrationType = io.Custom("IQA_CALIBRATION")  # quality.calibration.Calibration
IQAEmbedsType = io.Custom("IQA_EMBEDS")  # adapter.tokens.QualityTokens

_SCHEMA_FIELDS = {field.name for field in dataclasses.fields(io.Schema)}


def schema(*, category: str = "", search_aliases: list[str], **fields) -> io.Schema:
    """A node's schema below our category.

    Where ComfyUI does not know search aliases (0.3.75), they stand in the first input's options, for web/search.js.
    """
    if "search_aliases" in _SCHEMA_FIELDS:
        fields["search_aliases"] = search_aliases
    else:
        _add_option(fields["inputs"][0], "search_aliases", search_aliases)
    return io.Schema(category=f"{CATEGORY}/{category}".rstrip("/"), **fields)


def advanced(socket: io.Input) -> io.Input:
    """Mark an input as one that newcomers do not need; the front end folds it away."""
    return _add_option(socket, "advanced", True)


def _add_option(socket: io.Input, key: str, value: object) -> io.Input:
    """Options of an input reach the front end as they are."""
    socket.extra_dict = {**(socket.extra_dict or {}), key: value}
    return socket


def fixed_seed(most: int, tooltip: str) -> io.Int.Input:
    """A seed that stays as it is; the last of all widgets of its node, for ComfyUI before 0.3.76 has no control for it.

    Optional inputs with widgets stand behind required ones, wherever the schema has them.
    """
    kept = getattr(io, "ControlAfterGenerate", None)
    return io.Int.Input(
        "seed", default=0, min=0, max=most, control_after_generate=kept.fixed if kept else False, tooltip=tooltip
    )


def resize_input(tooltip: str, options: Sequence[str], default: str) -> io.Combo.Input:
    """How pictures are scaled before an IQA model sees them; workflows store it as ``protocol``."""
    return io.Combo.Input("protocol", display_name="resize", options=list(options), default=default, tooltip=tooltip)


def further_metrics(prefix: str, tooltip: str) -> list[io.Input]:
    """Optional IQA models beside the first: the second to the fourth.

    Args:
        prefix: of the inputs' ids, before their number.
    """
    return [IQAModelType.Input(f"{prefix}_{number}", optional=True, tooltip=tooltip) for number in FURTHER]


def metric_weights(least: float, tooltip: str) -> list[io.Input]:
    """A weight for each of the four metrics, ``weight`` to ``weight_4``.

    Args:
        least: lowest value; the highest is 10.
        tooltip: with ``{metric}`` for the id of the metric's input.
    """
    names = {"weight": "iqa_model", **{f"weight_{number}": f"iqa_model_{number}" for number in FURTHER}}
    return [
        advanced(
            io.Float.Input(
                name, default=1.0, min=least, max=10.0, step=0.05, optional=True, tooltip=tooltip.format(metric=metric)
            )
        )
        for name, metric in names.items()
    ]


def strength_input() -> io.Float.Input:
    return io.Float.Input(
        "strength",
        default=1.0,
        min=-2.0,
        max=3.0,
        step=0.05,
        tooltip="Weight of the quality attention, -2 to 3. 1 is as trained, 0 switches it off, negative values push "
        "away from the request.",
    )


def single(values: list, name: str) -> object:
    """The value of an input that nodes with lists of pictures want once; such nodes get all inputs as lists.

    Raises:
        ValueError: there are several.
    """
    if len(values) > 1:
        raise ValueError(f"{name} was given {len(values)} times; connect one, which holds for all pictures.")
    return values[0]


def pictures(images: list[Tensor]) -> list[Tensor]:
    """Every picture ``[height, width, channels]`` of a list of IMAGEs, in order."""
    return [picture for batch in images for picture in batch]


def latents_one_by_one(latents: Sequence[dict]) -> list[dict]:
    """A LATENT for every latent of a list of LATENTs, in order."""
    return [{"samples": samples[None]} for latent in latents for samples in latent["samples"]]


def files_in(folder: str) -> list[str]:
    """Names of the files in a model folder, without those that nobody could print, log or send."""
    names = folder_paths.get_filename_list(folder)
    reasons = {name: fault(name) for name in names}
    for name, reason in reasons.items():
        if reason:
            _say_once(f"{shown(name)} in models/{folder}/ is left out, since {reason}. Rename it.")
    return [name for name in names if not reasons[name]]


@cache
def _say_once(message: str) -> None:
    logging.warning(message)


def listed(folder: str, name: str) -> bool | str:
    """Answer of ``validate_inputs`` to a file name: True, or that the model folder lacks it, and what it has."""
    found = files_in(folder)
    if name in found:
        return True
    return f"There is no {shown(name)} in models/{folder}/; found there: {', '.join(map(shown, found)) or 'nothing'}."
