"""An evaluation at work: what makes a picture, which pictures are missing, and the ones that are there."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import comfy.model_management
import numpy as np
import torch
from tqdm import tqdm

from ..guidance.gradient import HALVINGS, apply_gradient_guidance
from ..iqa_models.loading import IQAModel, load_iqa_model
from ..training.memory import memory_errors
from ..training.processes import in_main, is_main, share
from .adapters import AdapterUnderTest
from .base import Base, Embedded, pictures_at_once
from .cells import BASE, Cell, Condition, Kept, Levels, Store, digest_of
from .measures import Measure, find_measure
from .plan import Plan
from .prompts import Prompt, read_prompts
from .scores import ScoreCache

SEEDS_APART = 1000  # seeds of one prompt lie within these, so that more prompts or seeds leave the others as they are


class Session:
    """What experiments are given: the plan, its models, pictures and scores.

    Args:
        plan: see :class:`.plan.Plan`.
        folder: of the plan's file, beside which prompts may lie.
        work: keeps pictures and scores; may be shared by plans, processes and machines.
        embedded: base models beside those of files.
        counts_only: for an estimate: sets of references are counted and not made.

    Raises:
        FileNotFoundError, ValueError: something that the plan names is missing or wrong; before anything is sampled.
    """

    def __init__(self, plan: Plan, folder: Path, work: Path, embedded: Embedded, counts_only: bool = False):
        self.plan, self.work = plan, work
        self.prompts: list[Prompt] = read_prompts(plan.prompts, plan.prompt_count, folder)
        self.adapters = {name: AdapterUnderTest(name, choice) for name, choice in plan.adapters.items()}
        self.store = Store(work / "pictures", counts_only)
        self.notes: list[str] = []
        self._scores = ScoreCache(work / "scores")
        self._measures: dict[str, Measure] = {}
        self._embedded = embedded
        self._digests: dict[Cell, str] = {}
        self.guides = _Guides()

    @cached_property
    def base(self) -> Base:
        with memory_errors("loading the base model", "free some"):
            return Base(self.plan.base, self.plan.sampling, self._embedded)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of pictures; the base model is asked only where the plan does not say it."""
        chosen = self.plan.sampling
        return (chosen.height, chosen.width) if chosen.height and chosen.width else self.base.size

    # What there is to measure

    def cells(
        self, condition: Condition = BASE, request: Levels | None = None, prompts: int = 0, seeds: int = 0
    ) -> list[Cell]:
        """A picture of every prompt and seed, prompt by prompt.

        Args:
            prompts, seeds: take only the first so many; 0 takes the plan's.
        """
        count, each = prompts or len(self.prompts), seeds or self.plan.seeds
        return [Cell(p, SEEDS_APART * p + s, condition, request) for p in range(count) for s in range(each)]

    def level(self, adapter: AdapterUnderTest, quality: float, **changes) -> list[Cell]:
        """Every prompt and seed at a requested percentile.

        Args:
            adapter: a score adapter.
            changes: of the condition, see :class:`.cells.Condition`; ``prompts`` and ``seeds`` as in :meth:`cells`.
        """
        counts = {name: changes.pop(name) for name in ("prompts", "seeds") if name in changes}
        aesthetics = quality if self.plan.aesthetics == "same" else self.plan.aesthetics
        condition = Condition(**{"adapter": adapter.name, "strength": adapter.strength} | changes)
        return self.cells(condition, Levels(quality, aesthetics), **counts)

    def following(self, adapter: AdapterUnderTest, references: Sequence[Kept]) -> list[Cell]:
        """Pictures with the quality of references, one for each; prompts and seeds as in :meth:`cells`."""
        condition = Condition(adapter=adapter.name, strength=adapter.strength)
        cells = self.cells()
        return [
            Cell(cells[i % len(cells)].prompt, cells[i % len(cells)].seed, condition, reference)
            for i, reference in enumerate(references)
        ]

    @property
    def score_adapters(self) -> list[AdapterUnderTest]:
        return [adapter for adapter in self.adapters.values() if not adapter.is_reference]

    @property
    def reference_adapters(self) -> list[AdapterUnderTest]:
        return [adapter for adapter in self.adapters.values() if adapter.is_reference]

    # Pictures

    def identity(self, cell: Cell) -> dict:
        """All that makes a picture, in JSON form."""
        condition, facts = cell.condition, {}
        if condition.adapter:
            adapter = self.adapters[condition.adapter]
            asked = cell.request.digest if isinstance(cell.request, Kept) else adapter.z_scores(cell.request)
            facts["adapter"] = {
                "digest": adapter.digest,
                "request": asked,
                **{name: getattr(condition, name) for name in ("strength", "start", "end", "negative", "tokens")},
                **({"negative_strength": condition.negative_strength} if condition.negative != "zero" else {}),
            }
        if condition.guide:
            weights = [file.sha256() for file in self.guides[condition.guide].files]
            guided = {"model": [condition.guide, *weights], "scale": condition.scale, "halvings": HALVINGS}
            facts["guidance"] = guided
        sampling = self.plan.sampling.model_dump(mode="json", exclude={"batch", "width", "height"})
        return {
            "base": self.base.digest, "size": list(self.base.size), "sampling": sampling,
            "prompt": self.prompts[cell.prompt].text, "seed": cell.seed, **facts,
        }  # fmt: skip

    def digest(self, cell: Cell | Kept) -> str:
        if isinstance(cell, Kept):
            return cell.digest
        if cell not in self._digests:
            self._digests[cell] = digest_of(self.identity(cell))
        return self._digests[cell]

    def draw(self, cells: Sequence[Cell]) -> None:
        """Sample this process's share of the pictures that are not there yet, which the main process lists for all."""
        missing = in_main(lambda: [cell for cell in dict.fromkeys(cells) if self.digest(cell) not in self.store])
        alike: dict[tuple, list[Cell]] = {}
        for cell in missing:
            alike.setdefault((cell.condition, self.base.length(self.prompts[cell.prompt].text)), []).append(cell)
        size = pictures_at_once(self.plan.sampling)
        batches = [group[i : i + size] for group in alike.values() for i in range(0, len(group), size)]
        mine = share(batches)
        with tqdm(total=sum(map(len, mine)), desc="sampling", unit="picture", disable=not is_main()) as bar:
            for batch in mine:
                self._draw_batch(batch)
                bar.update(len(batch))

    def _draw_batch(self, cells: list[Cell]) -> None:
        cells = [cell for cell in cells if self.digest(cell) not in self.store]  # another command was quicker
        if not cells:
            return
        model, condition = self.base.models.model, cells[0].condition
        padded = cells + cells[-1:] * self._padding(len(cells))
        if condition.adapter:
            requests = [self.store.read(c.request.digest) if isinstance(c.request, Kept) else c.request for c in padded]
            model = self.adapters[condition.adapter].apply(model, requests, condition)
        if condition.guide:
            guide = self.guides[condition.guide]
            model = apply_gradient_guidance(model, self.base.models.vae, guide, condition.scale)
        with memory_errors("sampling", "lower sampling.batch in the plan"):
            pictures = self.base.sample(model, [self.prompts[c.prompt].text for c in padded], [c.seed for c in padded])
        for cell, picture in zip(cells, pictures, strict=False):
            self.store.write(self.digest(cell), picture, {**self.identity(cell), "made with": made_with()})

    def _padding(self, count: int) -> int:
        """A GPU's kernels depend on how many pictures a batch has, so that all have the same number; a processor
        computes every picture alike."""
        on_processor = comfy.model_management.get_torch_device().type == "cpu"
        return 0 if on_processor else pictures_at_once(self.plan.sampling) - count

    # Scores

    def measure(self, name: str) -> Measure:
        if name not in self._measures:
            self._measures[name] = find_measure(name, self.plan.resize)
        return self._measures[name]

    def score(self, wanted: Sequence[tuple[Sequence[Cell | Kept], Sequence[str]]]) -> None:
        """Measure this process's share of the pictures that have no score yet."""
        by_measure: dict[str, dict[str, None]] = {}
        for cells, names in wanted:
            for name in names:
                by_measure.setdefault(name, {}).update(dict.fromkeys(map(self.digest, cells)))
        for name, digests in by_measure.items():
            self._scores.measure(self.measure(name), list(digests), self.store, self.notes.append)

    def values(self, cells: Sequence[Cell | Kept], name: str) -> np.ndarray:
        """What :meth:`score` measured of pictures: ``[N]``, or ``[N, D]`` of a measure that gives vectors."""
        return self._scores.values(self.measure(name), [self.digest(cell) for cell in cells])

    def by_prompt(self, cells: Sequence[Cell | Kept], name: str, prompts: int) -> np.ndarray:
        """The same as ``[prompts, pictures of each, ...]``; the cells must be ordered as :meth:`cells` does."""
        values = self.values(cells, name)
        return values.reshape(prompts, -1, *values.shape[1:])

    def others_have_written(self) -> None:
        """Other processes have measured, too."""
        self._scores.forget()


class _Guides(dict):
    """IQA models that guide, by name, loaded when they are first asked for."""

    def __missing__(self, name: str) -> IQAModel:
        self[name] = load_iqa_model(name)
        return self[name]


def made_with() -> dict[str, str]:
    """What else can change a picture's last digits."""
    import comfyui_version

    device = comfy.model_management.get_torch_device()
    name = comfy.model_management.get_torch_device_name(device) if device.type != "cpu" else platform.machine()
    return {"ComfyUI": comfyui_version.__version__, "torch": torch.__version__, "device": name}
