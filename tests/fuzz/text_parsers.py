"""Texts of nodes, which come with the graphs of strangers: lists of numbers, targets, thresholds, names, folders."""

from __future__ import annotations

from pathlib import Path
from random import Random
from types import SimpleNamespace

from iqa_adapter.adapter.layer_strengths import layer_multipliers
from iqa_adapter.nodes.adapter_files import description_of_bare
from iqa_adapter.nodes.allowed_folders import allowed_folder
from iqa_adapter.quality import calibration, entries, schedule, statistics, sweep, targets, thresholds
from iqa_adapter.training.names import check_name, check_prefix

from .mutations import TEXTS, raw
from .parsers import Parser

METRICS = [statistics.cc3m_statistics()[name] for name in ("topiq_nr", "laion_aes")]
MEASURED = calibration.ResponseOfMetric("topiq_nr", (1.0, 50.0, 99.0), (0.2, 0.5, 0.7), (0.1,) * 3, 12, "512")
CALIBRATION = calibration.Calibration("0" * 64, "1" * 64, "SDXL", 1.0, sweep.QUALITY, (MEASURED,))
SITES = [SimpleNamespace(kind=kind, group=f"{kind}.{n}") for kind in ("input", "middle", "output") for n in range(9)]
LONG = 60_000  # characters; more than people write, and less than what takes long by its length alone
PARTS = (*TEXTS, "1" * LONG, "1" * LONG + "x", "." * LONG, "=" * LONG, " " * LONG + "x", "1," * (LONG // 2), "9" * 400,
         "1e99", "-1e99", "1e400", "+-1", "p101", "p-1", "0x10", "1_0", "\u0661", "²", "inf", "NaN", "1.", ".5",
         "-.5e1z")  # fmt: skip
SEPARATORS = (",", ";", "\n", "=", ":", " ", "\t", "\r", "/", "\\", ".", "..")


def text(rng: Random, good: str) -> bytes:
    """A good one with other words and separators, or bytes."""
    words = [part for part in good.replace("=", " = ").replace(",", " , ").split(" ") if part]
    for _ in range(rng.choice((1, 1, 2, 4))):
        place, what = rng.randrange(len(words)), rng.randrange(5)
        if what < 2:
            words[place] = rng.choice(PARTS)
        elif what == 2:
            words[place] += rng.choice((*PARTS, *SEPARATORS))
        elif what == 3:
            words.insert(place, rng.choice((*SEPARATORS, words[place])))
        elif len(words) > 1:
            del words[place]
    joined = "".join(words).encode("utf-8", "surrogatepass")
    return raw(rng, joined) if rng.random() < 0.1 else joined


def read_targets(given: str) -> None:
    targets.measured_targets(given)
    targets.requested(METRICS, 50.0, 50.0, given, known=("musiq",), calibration=CALIBRATION)


def read_sweep(given: str) -> None:
    rows = sweep.axis("quality", given, "rows", METRICS)
    sweep.Sweep(tuple(METRICS), rows, sweep.axis("strength", given, "columns", METRICS), 50.0, 50.0)


def read_keyframes(given: str) -> None:
    if keys := schedule.keyframes(given, "keyframes", 0, 100):
        schedule.over_frames(keys, schedule.last_frame(keys) + 1, schedule.SMOOTH)


def read_names(given: str) -> None:
    check_prefix(given)
    check_name(given)


def parser(name: str, good: str, read, *named: str) -> Parser:
    """Of a text; it is read from a file only so that it is as the others are.

    Args:
        named: what every message names.
    """
    return Parser(
        f"text of {name}",
        "some.txt",
        lambda rng: text(rng, good),
        lambda path: read(Path(path).read_bytes().decode("utf-8", "surrogateescape")),
        lambda data: len(data) > 1,  # no look comes first
        named=named,
    )


TEXTS_OF_NODES = [
    parser("targets", "topiq_nr=0.7, laion_aes=p95, topiq_nr=+1.5z, topiq_nr=measured 0.5", read_targets,
           "Target", "target", "metric", "percentile", "out of reach", "topiq_nr", "laion_aes"),
    parser("thresholds", "topiq_nr=0.6, laion_aes=p80, 0.4",
           lambda given: thresholds.parse_thresholds(given, ("topiq_nr", "laion_aes"),
                                                     statistics.cc3m_statistics(), "512"),
           "Threshold", "metric", "percentile", "topiq_nr", "laion_aes"),
    parser("sweeps", "1, 25, 50, 99", read_sweep, "rows", "columns", "combinations"),
    parser("keyframes", "0: 1, 16: 99, 20: 50", read_keyframes, "keyframes"),
    parser("layer multipliers", "input=1, output.3=0.5, middle=0.2",
           lambda given: layer_multipliers(SITES, "custom", given), "ayer"),
    parser("weights", "1, 0.5, 2", lambda given: entries.numbers(given, "weights"), "weights"),
    parser("metrics", "topiq_nr, laion_aes", description_of_bare, "metric"),
    parser("names", "my_table", read_names, "name"),
    parser("folders", "/data/photos/of, mine", allowed_folder, "older"),
]  # fmt: skip
