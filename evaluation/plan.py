"""What is evaluated: a YAML file of a base model, adapters, IQA models that measure, prompts, seeds and experiments.

Every mistake in it is one sentence that names the setting, what it must be and what it is, before anything is loaded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..files import shown
from ..training.checked_settings import parse_mapping, short

PLANS = Path(__file__).parent / "plans"
QUICKSTART_PLAN = PLANS / "quickstart.yaml"

Percent = Annotated[float, Field(ge=0, le=100)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Side = Annotated[int, Field(ge=0, le=16384, multiple_of=8)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.+-]{0,59}$")]


class Settings(BaseModel):
    """Base of all parts of a plan: unknown settings are mistakes, numbers must be finite, nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Sampling(Settings):
    """How every picture is sampled, by the names of ComfyUI's KSampler.

    Attributes:
        name, scheduler, steps, cfg: as in the node.
        negative_prompt: text of the unconditional side.
        width, height: pixels; 0 takes the model's own.
        batch: pictures that are sampled at once, or one, where the sampler adds noise at every step.
    """

    name: str = "dpmpp_2m"
    scheduler: str = "karras"
    steps: Annotated[int, Field(ge=1, le=1000)] = 25
    cfg: Annotated[float, Field(ge=0, le=100)] = 5.0
    negative_prompt: str = ""
    width: Side = 0
    height: Side = 0
    batch: Annotated[int, Field(ge=1, le=1024)] = 8


class AdapterChoice(Settings):
    """An adapter under evaluation.

    Attributes:
        file: name in ComfyUI's models/iqa_adapter, a path, or ``quickstart_score`` and ``quickstart_reference``.
        strength: lambda with which it is applied.
        metrics: of a file that does not say them (the authors' files), in training order.
    """

    file: str
    strength: Annotated[float, Field(ge=-10, le=10)] = 1.0
    metrics: tuple[str, ...] = ()


class Plan(Settings):
    """An evaluation.

    Attributes:
        base: checkpoint (name in ComfyUI's models/checkpoints, or a path), or ``quickstart``.
        adapters: by the names that tables use.
        metrics: measures of every picture: IQA models of the catalogue, ``sharpness``, ``contrast``, ``noise``,
            ``blockiness``, and ``clean/…`` of one of these: how near a prompt's pictures come to clean scenes (only
            with ``prompts: held-out``).
        resize: how pictures are scaled before IQA models see them; empty for what the catalogue says of each.
        prompts: text file (a prompt a line), PartiPrompts ``.tsv``, GenEval ``.jsonl``, or ``held-out``: the
            quickstart's scenes that no training saw.
        prompt_count: takes so many of them, evenly spread; 0 takes all.
        seeds: pictures of each prompt.
        levels: requested percentiles, rising.
        aesthetics: percentile requested of aesthetic metrics while quality varies; ``same``: as the quality.
        aesthetic_levels: percentiles of aesthetic metrics that are requested with a quality of 50.
        sampling: see :class:`Sampling`.
        experiments: settings of each experiment by its name; a list of names takes their defaults.
    """

    base: str
    adapters: dict[Name, AdapterChoice] = Field(min_length=1)
    metrics: tuple[str, ...] = Field(min_length=1)
    resize: Literal["", "as is", "512", "64"] = ""
    prompts: str
    prompt_count: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    seeds: Annotated[int, Field(ge=1, le=1000)] = 4
    levels: tuple[Percent, ...] = (1, 25, 50, 75, 99)
    aesthetics: Percent | Literal["same"] = "same"
    aesthetic_levels: tuple[Percent, ...] = ()
    sampling: Sampling = Sampling()
    experiments: dict[str, dict[str, Any]] = Field(min_length=1)

    @field_validator("experiments", mode="before")
    @classmethod
    def _names_alone(cls, given: object) -> object:
        if isinstance(given, list):
            if wrong := [name for name in given if not isinstance(name, str)]:
                raise ValueError(
                    f"must be names of experiments, or settings by name; {shown(repr(wrong[0]))} is no name"
                )
            return {name: {} for name in given}
        return {name: options or {} for name, options in given.items()} if isinstance(given, Mapping) else given

    @model_validator(mode="after")
    def _consistent(self) -> Plan:
        if list(self.levels) != sorted(set(self.levels)) or len(self.levels) < 2:
            raise ValueError("levels must be two percentiles or more, rising")
        for name, given in (("metrics", self.metrics), ("aesthetic_levels", self.aesthetic_levels)):
            if len(set(given)) != len(given):
                raise ValueError(f"{name} must differ from each other")
        return self

    @property
    def best(self) -> float:
        return self.levels[-1]

    @property
    def digest(self) -> str:
        """Of all settings, the same however the file is written."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


def read_plan(file: Path) -> Plan:
    """A plan from its YAML file.

    Raises:
        FileNotFoundError: there is none.
        ValueError: a setting is unknown, missing, or not what it must be.
    """
    if not file.is_file():
        there = ", ".join(sorted(path.stem for path in PLANS.glob("*.yaml")))
        raise FileNotFoundError(f"There is no plan {shown(file)}; those that come with this pack are {there}.")
    return checked(Plan, parse_mapping(file.read_bytes(), file.name), file.name)


def checked(kind: type[Settings], given: object, origin: str) -> Any:
    """Settings of a kind from what YAML gave.

    Raises:
        ValueError: one sentence; ``origin`` names the place.
    """
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise ValueError(f"{origin}: {_sentence(error, kind)}") from error


def _sentence(error: ValidationError, kind: type[Settings]) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(shown(part) for part in first["loc"] if not str(part).startswith("literal["))
    if first["type"] == "extra_forbidden":
        siblings = kind
        for part in first["loc"][:-1]:
            field = siblings.model_fields.get(str(part)) if hasattr(siblings, "model_fields") else None
            siblings = field.annotation if field else siblings
        known = f"; known are {', '.join(siblings.model_fields)}" if hasattr(siblings, "model_fields") else ""
        return f"unknown setting {where}{known}."
    if first["type"] == "missing":
        return f"{where} is missing."
    if first["type"] == "value_error":
        return f"{first['ctx']['error']}."
    message = first["msg"].removeprefix("Input ").removesuffix(".")
    return f"{where} {message}, not {short(first['input'])}."
