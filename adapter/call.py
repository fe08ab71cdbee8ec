"""What is known of a sampling run, and of one call of ComfyUI's batch function in it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from .application import Application
from .sampling_range import in_range
from .shared import Shared

RUN, CALL = "iqa_adapter_run", "iqa_adapter_call"  # keys of transformer_options
QUALITY = "iqa_quality"  # key of a conditioning: QualityTokens of its own, one for each of several adapters
NEGATIVE_WORDS = ("neg", "empty", "uncond", "null")  # in names that guiders give to what guidance moves away from
log = logging.getLogger(__name__)


@dataclass(eq=False)
class Run(Shared):
    """One sampling run.

    Attributes:
        names: by uuid of a conditioning, the guider's name for it.
        images: pictures in the batch, or None where nobody told.
        picture: the latent of this step, ``[images, C, H, W]``.
        wanted: applications in whose range a step was.
        fired: by application, the numbers of the sites that attended.
        memory: tables, rows and masks on the device, by what they depend on; they live as long as the run.
        views: K', V' of the sites, by the part of a table that they show.
        levels: noise levels by schedule and percent, which the schedule would fetch from the device.
    """

    names: dict = field(default_factory=dict)
    images: int | None = None
    picture: Tensor | None = None
    wanted: set[Application] = field(default_factory=set)
    fired: dict[Application, set[int]] = field(default_factory=dict)
    memory: dict = field(default_factory=dict)
    views: dict = field(default_factory=dict)
    levels: dict = field(default_factory=dict)

    def is_positive(self, position: int, conds: list | None, uuid: object = None) -> bool:
        """Whether guidance moves towards a list of conditionings.

        By the name of its first: ComfyUI appends copies of other lists' conditionings (areas). By that of ``uuid``
        where the list is not known. Position 0 is positive where the guider gave no names.
        """
        name = self.names.get(conds[0].get("uuid") if conds else uuid)
        return position == 0 if name is None else not any(word in name for word in NEGATIVE_WORDS)

    def let_go(self) -> None:
        """Of everything large, at the end; another pack may keep the options of its last forward."""
        self.picture = None
        for kept in (self.memory, self.views, self.levels):
            kept.clear()

    def report(self) -> None:
        """Say what stayed without effect.

        In a part of the sampling, a node that skips steps (EasyCache) may rightly have left out all of them.

        Raises:
            RuntimeError: an adapter should have acted in every step, and not one of its sites ran.
        """
        for application in self.wanted:
            fired = self.fired.get(application, set())
            silent = [application.sites[number].name for number in application.active_sites if number not in fired]
            if not fired and application.always:
                raise RuntimeError(
                    f"{application.name} had no effect: none of its {len(silent)} attention layers ran in this "
                    "sampling. Another node replaces them or the whole model; take it out, or put Apply IQA-Adapter "
                    "behind it."
                )
            if silent:
                log.warning("%s did not act at %s: other nodes leave these layers out.", application.name, silent)


@dataclass(frozen=True, eq=False)
class Call(Shared):
    """One call of ComfyUI's batch function, or one forward outside of any.

    Attributes:
        run: of which it is part.
        timestep: noise level of every picture, ``[N]``; they are the same.
        percent_to_sigma: of the schedule that samples.
        conds: lists of conditionings it was called with.
        latent: what it was called with, ``[N, C, h, w]``.
        tiles: in a forward, ``[M, C, h, w]`` that it sees in place of ``latent`` where its size is another.
        memory: what was worked out for it.
    """

    run: Run
    timestep: Tensor
    percent_to_sigma: Callable[[float], float]
    conds: list
    latent: Tensor
    tiles: Tensor | None = None
    memory: dict = field(default_factory=dict, init=False)

    @property
    def picture(self) -> Tensor:
        """The whole latent, ``[images, C, H, W]``."""
        return self.latent if self.run.picture is None else self.run.picture

    def conditioning(self, position: int, uuid) -> dict:
        """The conditioning ``uuid`` of the list at ``position``; empty where another pack made its own."""
        conds = self.conds[position] if position < len(self.conds) else None
        return next((cond for cond in conds or () if cond.get("uuid") == uuid), {})

    def is_positive(self, position: int, uuid: object) -> bool:
        return self.run.is_positive(position, self.conds[position] if position < len(self.conds) else None, uuid)

    @cached_property
    def sigma(self) -> float:
        """Noise level; it is fetched from the device, which waits for everything that runs there."""
        return float(self.timestep.flatten()[0])

    def in_range(self, application: Application) -> bool:
        """Whether the noise level lies in an application's part of the sampling."""
        if application.always:
            return True
        return in_range(self.sigma, application.start_percent, application.end_percent, self._level)

    def _level(self, percent: float) -> float:
        """Noise level at a part of the sampling."""
        key = (self.percent_to_sigma, percent)
        if key not in self.run.levels:
            self.run.levels[key] = self.percent_to_sigma(percent)
        return self.run.levels[key]
