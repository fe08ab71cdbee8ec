"""What arithmetic with references does, on the quickstart: several pictures, weights, differences, negatives.

python -m benchmarks.references [--pictures 8]
"""

from __future__ import annotations

import argparse

from iqa_adapter.evaluation.reference_arithmetic import measured, table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=8, help="of each request (default: %(default)s)")
    options = parser.parse_args()
    print("\n".join(table(measured(options.pictures)).markdown()))


if __name__ == "__main__":
    main()
