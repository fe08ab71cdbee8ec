"""Whether Quality Map finds what is bad, and whether drawing that part anew mends it.

python -m benchmarks.quality_map [--pictures 32] [--side 256] [--scenes 32]
"""

from __future__ import annotations

import argparse

from iqa_adapter.evaluation.quality_map import report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=32, help="photographs (default: %(default)s)")
    parser.add_argument("--side", type=int, default=256, help="of them in pixels (default: %(default)s)")
    parser.add_argument("--scenes", type=int, default=32, help="to be drawn anew (default: %(default)s)")
    options = parser.parse_args()
    print(report(options.pictures, options.side, options.scenes))


if __name__ == "__main__":
    main()
