"""Parsers of evaluations: plans, prompts, votes, and numbers that were measured before."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from types import SimpleNamespace

from iqa_adapter.evaluation.cells import Kept, Store, digest_of
from iqa_adapter.evaluation.evaluate import kinds
from iqa_adapter.evaluation.plan import QUICKSTART_PLAN, read_plan
from iqa_adapter.evaluation.prompts import read_prompts
from iqa_adapter.evaluation.scores import ScoreCache
from iqa_adapter.evaluation.votes import counted, read_lines

from . import good
from .mutations import json_text, lines
from .parsers import Parser, is_json, is_text, is_yaml

PLAN = QUICKSTART_PLAN.read_text(encoding="utf-8")
PLANS = (
    PLAN,
    PLAN.partition("experiments:")[0] + "experiments: [response, gain, preference, content, transfer, features]\n",
)
PARTI = "Prompt\tCategory\na red cat\tAnimals\na blue dog\tAnimals"
GENEVAL = [{"tag": "single_object", "prompt": "a cat"}, {"tag": "colors", "prompt": "a red dog"}]
VOTE = {"voter": "Ann", "left": "0" * 64, "right": "1" * 64, "choice": "left"}
VOTES = [VOTE, VOTE | {"choice": "tie"}, VOTE | {"voter": "Bob"}]
NAMED = {"0" * 64: "high", "1" * 64: "low"}
NUMBERS = [["0" * 64, 0.5], ["1" * 64, None], ["2" * 64, 1.5]]
VECTORS = [["0" * 64, [0.5, 1.0]], ["1" * 64, None], ["2" * 64, [1.5, None]]]
EMPTY = [["0" * 64, []], *NUMBERS[1:]]
JSON_LINES = ("[" * 20_000, "{}", "1", "null", '{"prompt": "\\ud800"}', '["a", 1, 2]', '["a", [1]]', "[[], 1]")
LISTED = {"none": ["0" * 64], "blur": ["1" * 64]}
SET = {"source": "scenes"}
MEASURE = SimpleNamespace(name="sharpness", identity="sharpness")


def plan_file(rng: Random) -> bytes:
    return good.yaml_file(rng, rng.choice(PLANS))


def json_lines(rng: Random, entries: list) -> bytes:
    """Lines of JSON, one of them with other fields, or others."""
    if rng.random() < 0.4:
        return lines(rng, "\n".join(map(json.dumps, entries)), JSON_LINES)
    changed = rng.randrange(len(entries))
    found = [json_text(rng, entry) if i == changed else json.dumps(entry).encode() for i, entry in enumerate(entries)]
    return b"\n".join(found) + b"\n"


def read_whole_plan(path: Path) -> None:
    """With the settings of its experiments."""
    plan = read_plan(path)
    kinds(plan, path.name)
    _ = plan.digest


def read_listed(path: Path) -> None:
    Store(path.parents[1]).listed(SET, list(LISTED), 1, lambda: {group: [Kept("2" * 64)] for group in LISTED})


def read_numbers(path: Path) -> None:
    cache = ScoreCache(path.parent)
    cache.values(MEASURE, list(cache._read(MEASURE)))


MEASURED = f"{ScoreCache(Path())._stem(MEASURE)}.0.jsonl"
EVALUATIONS = [
    Parser("evaluation plan", "mine.yaml", plan_file, read_whole_plan, is_yaml),
    Parser("prompts", "prompts.txt", lambda rng: lines(rng, "a cat\n# none\na red dog"),
           lambda path: read_prompts(str(path)), is_text),
    Parser("prompts of PartiPrompts", "prompts.tsv", lambda rng: lines(rng, PARTI, ("\t" * 5000, '"', "a" * 140_000)),
           lambda path: read_prompts(str(path)), is_text),
    Parser("prompts of GenEval", "prompts.jsonl", lambda rng: json_lines(rng, GENEVAL),
           lambda path: read_prompts(str(path)), is_text),
    Parser("votes", "votes.jsonl", lambda rng: json_lines(rng, VOTES),
           lambda path: counted(read_lines(path), NAMED), is_text, never_raises=True),
    Parser("list of a set of pictures", f"sets/{digest_of(SET)}.json", lambda rng: json_text(rng, LISTED), read_listed,
           is_json, never_raises=True),
    Parser("measured numbers", MEASURED, lambda rng: json_lines(rng, rng.choice((NUMBERS, VECTORS, EMPTY))),
           read_numbers, is_text, never_raises=True),
]  # fmt: skip
