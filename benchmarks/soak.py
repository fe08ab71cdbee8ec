"""A long night: prompts of every kind, one after the other, some cancelled; what ComfyUI's process holds must not grow.

    python -m benchmarks.soak --minutes 30
    python -m benchmarks.soak --minutes 30 --control   # graphs without the pack: how much ComfyUI itself grows

Adapters, families, strengths, batch sizes, references, search and guidance change from prompt to prompt. Before,
between and after them a graph without a node of this pack is sampled, which must give the same bits each time. Memory
is what the process still holds after it has given back the free pieces of its heap: the C library keeps those, more of
them the more the sizes of tensors change, and they say nothing of what anybody remembers. Linux only.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import numpy as np
from safetensors import safe_open

import comfyui_runtime
from comfyui_client import Client

from . import soak_graphs

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests"))
WARM = 60  # prompts, after which everything has been loaded once, and the heap has its size
LOOK = 10  # prompts between two looks at the process
CANCELLED = 0.2  # share of prompts
MOST = 100_000  # bytes by which a prompt may let the process grow: ComfyUI's own history takes some kilobytes


def main() -> int:
    """Exit status: 1 where something grew, failed or changed."""
    parser = argparse.ArgumentParser("python -m benchmarks.soak", description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--control", action="store_true", help="only graphs without a node of the pack")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak") as folder:
        paths = {"custom_nodes": str(ROOT / "tests" / "server" / "custom_nodes"), "iqa_adapter": folder}
        (Path(folder) / "paths.yaml").write_text(json.dumps({"soak": paths}))  # JSON is YAML
        write_adapters(Path(folder))
        arguments = ["--extra-model-paths-config", f"{folder}/paths.yaml", "--output-directory", folder]
        with comfyui_runtime.serve(Path(folder) / "comfyui.log", *arguments) as address:
            draw = soak_graphs.control if given.control else soak_graphs.drawn
            night = Night(Client(address, Path(folder) / "comfyui.log"), Random(given.seed), draw)
            night.go_on_until(time.monotonic() + 60 * given.minutes)
    return night.report()


def write_adapters(folder: Path, families: Sequence[str] = soak_graphs.FAMILIES) -> None:
    """Of random weights, one for each family."""
    import models

    for family in families:
        write_adapter(folder / f"{family}.safetensors", models.comfy_model(family))


def write_adapter(path: Path, model) -> None:
    """Of random weights, for this model (``ModelPatcher``)."""
    import models

    from iqa_adapter.adapter.checkpoint import save_adapter
    from iqa_adapter.quality.statistics import cc3m_statistics

    known = cc3m_statistics()
    metrics = tuple(known[name].to_json() for name in ("topiq_nr", "laion_aes"))
    adapter = models.random_adapter(model)
    described = dataclasses.replace(adapter.metadata, metrics=metrics)
    save_adapter(dataclasses.replace(adapter, metadata=described), path)


class Night:
    """Prompts on a server, and what was seen.

    Args:
        client: of the server.
        rng: draws the prompts.
        draw: gives the kind of a prompt, and its graph.
    """

    def __init__(self, client: Client, rng: Random, draw: Callable[[Random], tuple[str, dict]]):
        self.client, self.rng, self.draw = client, rng, draw
        self.kinds: Counter[str] = Counter()
        self.cancelled = 0
        self.held: list[tuple[int, dict]] = []  # number of prompts so far, what the process holds
        self.plain: list[bytes] = []
        self.failures: list[str] = []
        self.history = 0.0  # bytes that ComfyUI keeps of each prompt: its graph, messages and outputs

    def go_on_until(self, end: float) -> None:
        self._sample_plain()
        while time.monotonic() < end:
            self._prompt()
            if sum(self.kinds.values()) % LOOK == 0:
                self._look()
            if sum(self.kinds.values()) % (5 * LOOK) == 0:
                self._sample_plain()
        self._look()
        self._sample_plain()
        kept = self.client.get("/history")
        self.history = _size(kept) / max(1, len(kept))

    def _prompt(self) -> None:
        kind, graph = self.draw(self.rng)
        self.kinds[kind] += 1
        prompt = self.client.queue(graph)
        if self.rng.random() < CANCELLED:
            time.sleep(self.rng.random())
            self.client.interrupt()
        entry = self._end_of(prompt)
        if entry["status"]["status_str"] != "success":
            messages = dict(entry["status"]["messages"])
            if "execution_interrupted" in messages:
                self.cancelled += 1
            else:
                self.failures.append(f"{kind}: {messages['execution_error']['exception_message'][:300]}")

    def _end_of(self, prompt: str) -> dict:
        while prompt not in (history := self.client.get(f"/history/{prompt}")):
            time.sleep(0.05)
        return history[prompt]

    def _look(self) -> None:
        number = sum(self.kinds.values())
        self.held.append((number, self.client.outputs_of(soak_graphs.probe(number))["probe"]["held"][0]))

    def _sample_plain(self) -> None:
        saved = self.client.outputs_of(soak_graphs.plain(f"plain_{len(self.plain)}"))["save"]["latents"][0]
        with safe_open(self.client.log.parent / saved["subfolder"] / saved["filename"], "np") as file:
            self.plain.append(file.get_tensor("latent_tensor").tobytes())

    def report(self) -> int:
        count = sum(self.kinds.values())
        kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(self.kinds.items()))
        print(f"{count} prompts ({kinds}), {self.cancelled} of them cancelled, {len(self.failures)} failed")
        for failure in self.failures[:10]:
            print(f"  {failure}")
        warm = [(number, held) for number, held in self.held if number >= WARM]
        if len(warm) < 10:
            print("too short to say what grows; the last ten looks are taken")
            warm = self.held[-10:]
        numbers = np.array([number for number, _ in warm])
        memory = np.array([held["memory"] for _, held in warm])
        growth, later = (_slope(numbers[from_:], memory[from_:]) for from_ in (0, len(warm) // 2))
        free = max(held["with_free"] - held["memory"] for _, held in warm)
        print(f"memory {memory.min() / 1e6:,.0f} to {memory.max() / 1e6:,.0f} MB after {numbers[0]} prompts, growth "
              f"{growth / 1e3:+,.1f} kB per prompt, in the second half {later / 1e3:+,.1f}; ComfyUI's history keeps "
              f"{self.history / 1e3:,.1f}; free pieces of the heap: up to {free / 1e6:,.0f} MB more")  # fmt: skip
        for name in ("handles", "threads", "models", "patchers"):
            values = [held[name] for _, held in warm]
            print(f"{name}: {values[0]} at first, {values[-1]} at last, {min(values)} to {max(values)}")
        same = len(set(self.plain)) == 1
        print(f"a graph without the pack, sampled {len(self.plain)} times: {'the same bits' if same else 'DIFFERENT'}")
        grew = warm[0][0] >= WARM and growth > MOST
        return int(bool(self.failures) or not same or grew)


def _slope(numbers: np.ndarray, values: np.ndarray) -> float:
    """Of a line through all points; not a number where there are fewer than three."""
    return float(np.polyfit(numbers, values, 1)[0]) if len(numbers) > 2 else float("nan")


def _size(content: object) -> int:
    """Bytes that Python takes for what JSON can say."""
    inside = [*content, *content.values()] if isinstance(content, dict) else []
    inside = content if isinstance(content, list) else inside
    return sys.getsizeof(content) + sum(map(_size, inside))


if __name__ == "__main__":
    sys.exit(main())
