"""Whether Quality Map finds what is bad, and whether drawing that part anew mends it.

python -m benchmarks.quality_map [--pictures 32] [--side 256] [--scenes 32]
python -m benchmarks.quality_map --keep map.jsonl   # goes on where it was ended
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.pairs import each_pair
from iqa_adapter.evaluation.quality_map import (
    DEGRADED,
    Inpainting,
    WorstHalf,
    crops,
    table_of_halves,
    table_of_mended,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=32, help="photographs (default: %(default)s)")
    parser.add_argument("--side", type=int, default=256, help="of them in pixels (default: %(default)s)")
    parser.add_argument("--scenes", type=int, default=32, help="to be drawn anew (default: %(default)s)")
    parser.add_argument("--keep", type=Path, help="JSON lines of finished pictures, with which a run goes on")
    options = parser.parse_args()
    pictures, worst = crops(options.pictures, options.side), WorstHalf()
    halves = each_pair(
        options.pictures,
        lambda numbers: [worst.overlaps(pictures[number], number) for number in numbers],
        options.keep,
        {"what": "halves", "side": options.side},
    )
    print(f"\nHalves found in {options.pictures} photographs of {options.side} pixels: mean intersection over union ")
    print("(share with 0.8 or more).\n")
    print("\n".join(table_of_halves(halves, worst.names).markdown()), flush=True)
    if options.scenes:
        inpainting = Inpainting()
        mended = each_pair(
            options.scenes,
            lambda numbers: [
                {kind: inpainting.mend(number, kind).numbers() for kind in DEGRADED} for number in numbers
            ],
            options.keep,
            {"what": "scenes"},
        )
        print(f"\nA half of {options.scenes} quickstart scenes, found by the map and drawn anew at quality 99; its ")
        print("quickstart_iqa.\n")
        print("\n".join(table_of_mended(mended).markdown()))


if __name__ == "__main__":
    main()
