"""How near measured quality comes to what was asked for with a calibration, and without: on the quickstart.

python -m benchmarks.calibration [--fit 64] [--pictures 64]
python -m benchmarks.calibration --keep calibration.jsonl   # goes on where it was ended
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

from iqa_adapter.evaluation import calibration


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fit", type=int, default=64, help="pictures at each level of the fit (default: %(default)s)")
    parser.add_argument("--pictures", type=int, default=64, help="for each asked value (default: %(default)s)")
    parser.add_argument("--keep", type=Path, help="JSON lines of measured pictures, with which a run goes on")
    options = parser.parse_args()
    models = Kept(options.keep)
    curve = calibration.fit(models, options.fit)
    checks = calibration.check(models, curve, options.pictures)
    print(
        f"{options.pictures} pictures each, of prompts and seeds that the fit never saw; fitted on {options.fit} "
        f"pictures at each of {len(calibration.LEVELS)} levels; strength {calibration.SCORE.strength:g}.\n"
    )
    print("\n".join(calibration.table(checks).markdown()))


class Kept(calibration.Quickstart):
    """Measures what has not been measured before, and keeps it.

    Args:
        file: JSON lines; None keeps nothing. They know nothing of changed code: begin another file after such a change.
    """

    def __init__(self, file: Path | None):
        super().__init__()
        self._file = file
        lines = file.read_text(encoding="utf-8").splitlines() if file is not None and file.is_file() else ()
        self._known = {json.dumps(line["asked"]): line["scores"] for line in map(json.loads, lines)}

    def measured(self, prompts: list[str], seeds: list[int], quality_level: float, targets: str = "") -> Tensor:
        asked = [seeds[0], len(seeds), quality_level, targets]
        if (known := self._known.get(json.dumps(asked))) is not None:
            return torch.tensor(known)
        scores = super().measured(prompts, seeds, quality_level, targets)
        print(f"{len(seeds)} pictures at {targets or f'{quality_level:.4g} %'}: {scores.mean():.3f}", flush=True)
        if self._file is not None:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"asked": asked, "scores": scores.tolist()}) + "\n")
        return scores


if __name__ == "__main__":
    main()
