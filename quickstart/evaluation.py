"""What the quickstart's adapters do, measured on held-out prompts and seeds.

Every cell of pictures is kept in the work folder and taken from there when the same weights are evaluated again.
"""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from ..adapter.checkpoint import Adapter, load_adapter
from ..adapter.projection import QualityTokens, embed_features, embed_quality
from ..iqa_models.targets import Metric, sliders
from .adapters import REFERENCE, SCORE
from .attributes import CLASSES, AttributeReader, labels, load_reader
from .captions import prompt
from .colourfulness import colourfulness
from .distortions import KINDS, distort
from .generation import CFG, SAMPLER, SCHEDULER, STEPS, Generator
from .iqa import features, load_iqa, quality
from .measures import UNTRAINED, gain, untrained_measures
from .model import load_quickstart
from .rendering import render_pictures
from .scenes import HELD_OUT_SEEDS, HELD_OUT_THINGS, SEEN_THINGS, Scene, sample_scene

LEVELS = (1, 25, 50, 75, 99)
COLOUR_LEVELS = (1, 99)
SEEDS_PER_PROMPT = 8
SEVERITIES = (0.4, 1.0)
CARD = Path(__file__).parent / "MODEL_CARD.md"
BEGIN, END = "<!-- evaluation -->", "<!-- end of evaluation -->"
ATTRIBUTES = tuple(CLASSES)[:5]


@dataclass
class World:
    """What is evaluated, and on what."""

    weights: Path
    pictures: int
    work: Path

    def __post_init__(self):
        count = self.pictures // SEEDS_PER_PROMPT
        first = HELD_OUT_SEEDS.start + 50_000
        distinct = [sample_scene(first + i, HELD_OUT_THINGS, two_objects=0) for i in range(count)]
        self.scenes = [scene for scene in distinct for _ in range(SEEDS_PER_PROMPT)]
        self.clean, self.other_clean = (self._clean_scenes(HELD_OUT_SEEDS.start + i * 10**6) for i in (1, 2))
        self.generate = Generator(*load_quickstart(self.weights))
        self.iqa, _ = load_iqa(self.weights)
        self.reader, _ = load_reader(self.weights)

    def cell(self, name: str, tokens: QualityTokens | None = None, strength: float = 1.0) -> torch.Tensor:
        """Pictures of every prompt and seed under one quality, ``[N, 3, 64, 64]``."""
        key = hashlib.sha256((self.weights / "base.safetensors").read_bytes())
        key.update(f"{STEPS} {CFG} {SAMPLER} {SCHEDULER}".encode())
        if tokens is not None:
            key.update(tokens.keys_values.numpy().tobytes() + str(strength).encode())
        file = self.work / f"{name}_{self.pictures}_{key.hexdigest()[:12]}.pt"
        if not file.exists():
            self.work.mkdir(parents=True, exist_ok=True)
            prompts = [prompt(scene) for scene in self.scenes]
            pictures = self.generate(prompts, range(len(prompts)), tokens, strength, name)
            temporary = file.with_suffix(".part")
            torch.save(pictures.half(), temporary)
            temporary.replace(file)
        return torch.load(file, weights_only=True).float()

    def _clean_scenes(self, first: int) -> torch.Tensor:
        """A clean scene of every prompt and seed, ``[N, 3, 64, 64]``."""
        return render_pictures([replace(scene, seed=first + i) for i, scene in enumerate(self.scenes)])

    def measures(self, pictures: torch.Tensor) -> dict[str, float]:
        """Measures that nothing was trained on: how near the pictures come to clean scenes."""
        return untrained_measures(pictures, self.clean, SEEDS_PER_PROMPT)

    def read_as_asked(self, pictures: torch.Tensor) -> dict[str, float]:
        """Share of pictures in which the reader finds the prompt's attribute."""
        return _agreement(_read(self.reader, pictures), _truth(self.scenes))


def evaluate(world: World) -> str:
    """All tables in Markdown."""
    base, prompts = world.cell("base"), world.pictures // SEEDS_PER_PROMPT
    lines = [
        f"{world.pictures} pictures per cell: {prompts} prompts of held-out combinations × {SEEDS_PER_PROMPT} seeds; "
        f"{STEPS} steps of {SAMPLER} ({SCHEDULER}), guidance {CFG:g}.",
        "",
        "### Base model",
        "",
        f"- Attributes read as asked: {_words(world.read_as_asked(base))}.",
        "",
        *evaluate_score(world, base),
        "",
        *evaluate_reference(world, base),
    ]
    return "\n".join(lines)


def evaluate_score(world: World, base: torch.Tensor) -> list[str]:
    """The score adapter's table."""
    adapter = load_adapter(world.weights / SCORE.file)
    metrics = [Metric.from_json(metric) for metric in adapter.metadata.metrics]

    def at(quality_level: float, aesthetics: float) -> QualityTokens:
        row = torch.tensor([sliders(metrics, quality_level, aesthetics)])
        return embed_quality(adapter, row.expand(len(world.scenes), -1))

    cells = {level: world.cell(f"quality_{level}", at(level, 50), SCORE.strength) for level in LEVELS}
    colours = {level: world.cell(f"colour_{level}", at(50, level), SCORE.strength) for level in COLOUR_LEVELS}
    rows = {"clean scenes": world.other_clean, "base": base, **{f"{level} %": cells[level] for level in LEVELS}}
    measured = {name: quality(world.iqa, pictures) for name, pictures in rows.items()}
    untrained = {name: world.measures(pictures) for name, pictures in rows.items()}
    title = f"### Score adapter, strength {SCORE.strength:g}"
    lines = [title, "", "| requested | measured quality | " + " | ".join(UNTRAINED) + " | mean gain |"]
    lines += ["| --- " * (len(UNTRAINED) + 3) + "|"]
    for name, figures in untrained.items():
        improvement = np.mean([gain(figures[measure], untrained["base"][measure]) for measure in UNTRAINED])
        shown = " | ".join(f"{figure:.3f}" for figure in figures.values())
        lines.append(f"| {name} | {measured[name].mean():.3f} | {shown} | {improvement:+.1%} |")
    levels = [measured[f"{level} %"] for level in LEVELS]
    means = [values.mean().item() for values in levels]
    single = spearmanr(np.repeat(LEVELS, len(world.scenes)), torch.cat(levels)).statistic
    rising = all(lower < higher for lower, higher in itertools.pairwise(means))
    colourful = {level: colourfulness(pictures).mean().item() for level, pictures in colours.items()}
    varied = _diversity(world, cells[99]) / _diversity(world, base)
    lines += [
        "",
        f"- Spearman's ρ of request and measured quality: {spearmanr(LEVELS, means).statistic:.2f} on "
        f"level means ({'rising at every step' if rising else 'not rising at every step'}), {single:.2f} on single "
        "pictures.",
        f"- Colourfulness at {' and '.join(f'{level} %' for level in COLOUR_LEVELS)} of its own axis: "
        f"{' and '.join(f'{value:.1f}' for value in colourful.values())}; base {colourfulness(base).mean():.1f}.",
        f"- Diversity over seeds at 99 % relative to the base model: {varied:.3f}.",
        f"- Attributes read as asked at 99 %: {_words(world.read_as_asked(cells[99]))}.",
    ]
    return lines


def evaluate_reference(world: World, base: torch.Tensor) -> list[str]:
    """The reference adapter's table. References are other held-out scenes with one distortion each."""
    adapter = load_adapter(world.weights / REFERENCE.file)
    first = HELD_OUT_SEEDS.start + 60_000
    others = [sample_scene(first + i, SEEN_THINGS, two_objects=0) for i in range(len(world.scenes))]
    pictures_of_others = render_pictures(others)
    generator = torch.Generator().manual_seed(17)
    severity = torch.empty(len(others)).uniform_(*SEVERITIES, generator=generator)
    shuffled = torch.randperm(len(others), generator=generator)

    lines = [f"### Reference adapter, strength {REFERENCE.strength:g}", ""]
    lines += ["| reference | recognised | in references | severity ρ | in references | measured quality |"]
    lines += ["| --- " * 6 + "|"]
    table, asked, own, chance = [], [], [], []
    for index, kind in enumerate(KINDS):
        references = distort(pictures_of_others, kind, severity, generator)
        cell = world.cell(f"reference_{kind}", _follow(adapter, world, references), REFERENCE.strength)
        row = [figure for each in (cell, references) for figure in _recognised(world.reader, each, index, severity)]
        hits, rho, of_references, rho_of_references = row
        shown = f"{hits:.2f} | {of_references:.2f} | {rho:.2f} | {rho_of_references:.2f}".replace("nan", "")
        lines.append(f"| {kind.replace('_', ' ')} | {shown} | {quality(world.iqa, cell).mean():.3f} |")
        table.append(row)
        read = _read(world.reader, cell)
        asked.append(_mean(_agreement(read, _truth(world.scenes))))
        own.append(_mean(_agreement(read, _truth(others))))
        chance.append(_mean(_agreement(read, _truth(others)[shuffled])))
    means = np.nanmean(table, 0)
    lines += [
        "",
        f"- Mean over all kinds: distortion recognised {means[0]:.2f} (in the references themselves {means[2]:.2f}), "
        f"severity ρ {means[1]:.2f} ({means[3]:.2f}).",
        f"- Prompt's attributes read as asked: {np.mean(asked):.3f}; "
        f"base model {_mean(world.read_as_asked(base)):.3f}.",
        f"- Reference's own attributes read: {np.mean(own):.3f}; "
        f"those of a random other reference {np.mean(chance):.3f}.",
    ]
    return lines


@torch.no_grad()
def _recognised(
    reader: AttributeReader, pictures: torch.Tensor, kind: int, severity: torch.Tensor
) -> tuple[float, float]:
    """How often the reader names the kind, and Spearman's ρ of its severity with the true one (NaN for clean)."""
    seen = reader(pictures)
    hits = (seen["distortion"].argmax(1) == kind).float().mean().item()
    return hits, spearmanr(severity, seen["severity"]).statistic if kind else np.nan


def _follow(adapter: Adapter, world: World, references: torch.Tensor) -> QualityTokens:
    return embed_features(adapter, features(world.iqa, references))


def _truth(scenes: list[Scene]) -> torch.Tensor:
    return torch.tensor([labels(scene) for scene in scenes])


@torch.no_grad()
def _read(reader: AttributeReader, pictures: torch.Tensor) -> torch.Tensor:
    """Class indices ``[N, 5]``."""
    logits = reader(pictures)
    return torch.stack([logits[name].argmax(1) for name in ATTRIBUTES], 1)


def _agreement(read: torch.Tensor, truth: torch.Tensor) -> dict[str, float]:
    return dict(zip(ATTRIBUTES, (read == truth).float().mean(0).tolist(), strict=True))


def _mean(shares: dict[str, float]) -> float:
    return float(np.mean(list(shares.values())))


@torch.no_grad()
def _diversity(world: World, pictures: torch.Tensor) -> float:
    """Mean distance of two pictures of the same prompt, in features of the attribute reader."""
    groups = world.reader.features(pictures).unflatten(0, (-1, SEEDS_PER_PROMPT))
    return torch.stack([torch.pdist(group).mean() for group in groups]).mean().item()


def _words(shares: dict[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {share:.2f}" for name, share in shares.items())


def write_into_card(text: str) -> None:
    """Replace what stands between the card's markers."""
    card = CARD.read_text()
    before, rest = card.split(BEGIN)
    after = rest.split(END)[1]
    temporary = CARD.with_suffix(".part")
    temporary.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
    temporary.replace(CARD)
