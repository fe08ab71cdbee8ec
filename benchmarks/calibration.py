"""How near measured quality comes to what was asked for with a calibration, and without: on the quickstart.

python -m benchmarks.calibration [--fit 64] [--pictures 64]
"""

from __future__ import annotations

import argparse

from iqa_adapter.evaluation.calibration import report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fit", type=int, default=64, help="pictures at each level of the fit (default: %(default)s)")
    parser.add_argument("--pictures", type=int, default=64, help="for each asked value (default: %(default)s)")
    options = parser.parse_args()
    print(report(options.fit, options.pictures))


if __name__ == "__main__":
    main()
