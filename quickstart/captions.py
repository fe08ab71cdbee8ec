"""Scenes in natural sentences, and the vocabulary of these sentences."""

from __future__ import annotations

import re

import numpy as np

from .world import BACKGROUND_COLOURS, COLOURS, SHAPES, SURFACES, Scene, Thing

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
    """What the model reads of a text: its words in small letters, without figures and marks."""
    return re.findall(r"[a-z]+", text.lower())


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
    """The plain sentence of a scene, which names every attribute; for evaluation."""
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
