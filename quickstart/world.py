"""What the quickstart draws: scenes, the sentences that describe them, and the words of these sentences.

A scene is one or two objects (colour × shape × surface) on a background (colour × texture). It is fully determined by
its attributes and its seed: attributes are *what* is there, the seed decides where, how large and in which exact tones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

COLOURS = {
    "red": (0.86, 0.13, 0.12),
    "orange": (0.96, 0.52, 0.08),
    "yellow": (0.97, 0.86, 0.16),
    "green": (0.15, 0.66, 0.24),
    "blue": (0.14, 0.30, 0.86),
    "purple": (0.52, 0.18, 0.70),
    "pink": (0.97, 0.56, 0.74),
    "white": (0.95, 0.95, 0.94),
}
SHAPES = ("circle", "square", "triangle", "star", "ring", "cross", "heart", "moon")
SURFACES = ("plain", "striped", "dotted", "checked")
BACKGROUND_COLOURS = {
    "gray": (0.50, 0.50, 0.50),
    "brown": (0.45, 0.29, 0.16),
    "teal": (0.10, 0.48, 0.48),
    "beige": (0.80, 0.72, 0.56),
    "navy": (0.11, 0.15, 0.36),
    "olive": (0.45, 0.47, 0.16),
}
TEXTURES = ("leaves", "gradient", "stripes", "fabric")

TRAINING_SEEDS = range(2**30)
HELD_OUT_SEEDS = range(2**30, 2**31)
TWO_OBJECTS = 0.25  # share of scenes with two objects


@dataclass(frozen=True)
class Thing:
    """One object of a scene."""

    colour: str
    shape: str
    surface: str

    @property
    def held_out(self) -> bool:
        """Whether training never shows this combination.

        A Latin square: every shape with every surface lacks exactly one of the eight colours, so that each single
        attribute and each pair of attributes is still seen in training.
        """
        colour, shape = list(COLOURS).index(self.colour), SHAPES.index(self.shape)
        return (colour + shape + 2 * SURFACES.index(self.surface)) % len(COLOURS) == 0


@dataclass(frozen=True)
class Scene:
    """What a picture shows. ``things`` are ordered from left to right."""

    things: tuple[Thing, ...]
    background_colour: str
    texture: str
    seed: int


THINGS = tuple(Thing(colour, shape, surface) for colour in COLOURS for shape in SHAPES for surface in SURFACES)
SEEN_THINGS = tuple(thing for thing in THINGS if not thing.held_out)
HELD_OUT_THINGS = tuple(thing for thing in THINGS if thing.held_out)


def sample_scene(seed: int, things: tuple[Thing, ...] = SEEN_THINGS, two_objects: float = TWO_OBJECTS) -> Scene:
    """The scene of a seed.

    Args:
        seed: from ``TRAINING_SEEDS`` or ``HELD_OUT_SEEDS``.
        things: combinations to draw objects from; ``HELD_OUT_THINGS`` for evaluation.
        two_objects: probability of two objects.
    """
    rng = np.random.default_rng([seed, 0])
    count = 2 if rng.random() < two_objects else 1
    return Scene(
        things=tuple(things[i] for i in rng.choice(len(things), count, replace=False)),
        background_colour=str(rng.choice(list(BACKGROUND_COLOURS))),
        texture=str(rng.choice(TEXTURES)),
        seed=seed,
    )


# Captions

OPENINGS = ("", "", "", "a picture of ", "an image of ", "there is ", "we see ")
BACKGROUNDS = {
    "leaves": ("{} leaves", "a pile of {} leaves", "many {} leaves"),
    "gradient": ("a {} gradient", "a smooth {} gradient", "a {} background with a gradient"),
    "stripes": ("{} stripes", "a background of {} stripes", "a {} background with stripes"),
    "fabric": ("{} fabric", "a piece of {} fabric", "woven {} cloth"),
}
RELATIONS = ("on", "in front of", "over")
WORDS = tuple(
    sorted(
        {*COLOURS, *SHAPES, *SURFACES, *BACKGROUND_COLOURS, "a", "an", "and", "left", "right", "of", "to", "the"}
        | {word for opening in OPENINGS for word in opening.split()}
        | {word for phrases in BACKGROUNDS.values() for phrase in phrases for word in phrase.split() if word != "{}"}
        | {word for relation in RELATIONS for word in relation.split()}
    )
)


def words(text: str) -> list[str]:
    """What the model reads of a text: its words in lower case, without digits and punctuation."""
    return re.findall(r"[a-z]+", text.lower())


def unknown_words(text: str) -> list[str]:
    """Words of a text that no caption contains, so that the model never learnt them; each once."""
    return [word for word in dict.fromkeys(words(text)) if word not in WORDS]


def caption(scene: Scene, variant: int) -> str:
    """One of many sentences for a scene; the same scene and variant always give the same sentence."""
    rng = np.random.default_rng([scene.seed, 1, variant])
    subject = _pair(scene.things, rng) if len(scene.things) == 2 else _thing(scene.things[0], rng)
    sentence = rng.choice(OPENINGS) + subject
    if rng.random() < 0.9:
        background = str(rng.choice(BACKGROUNDS[scene.texture])).format(scene.background_colour)
        sentence += f" {rng.choice(RELATIONS)} {background}"
    return sentence


def prompt(scene: Scene) -> str:
    """The sentence of a scene that names every attribute; for evaluation."""
    subject = " and ".join(f"a {thing.surface} {thing.colour} {thing.shape}" for thing in scene.things)
    return f"{subject} on {BACKGROUNDS[scene.texture][0].format(scene.background_colour)}"


def _pair(things: tuple[Thing, ...], rng: np.random.Generator) -> str:
    left, right = (_thing(thing, rng) for thing in things)
    form = rng.integers(4)
    return (
        f"{left} and {right}",
        f"{right} and {left}",
        f"{left} to the left of {right}",
        f"{right} to the right of {left}",
    )[form]


def _thing(thing: Thing, rng: np.random.Generator) -> str:
    surface_said = rng.random() < (0.5 if thing.surface == "plain" else 0.9)
    adjectives = [thing.surface, thing.colour] if surface_said else [thing.colour]
    if rng.random() < 0.3:
        adjectives.reverse()
    article = "an" if adjectives[0][0] in "aeiou" else "a"
    return " ".join([article, *adjectives, thing.shape])
