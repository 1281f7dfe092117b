"""Tabulate finished runs, with mean and deviation over their seeds.

Train each seed N with --work-dir work_dirs/bccd/hmat/seedN --cfg-options randomness.seed=N, then:

    python tools/summarise.py work_dirs/bccd/student work_dirs/bccd/hmat
"""

from __future__ import annotations

if __name__ == "__main__":
    import which_python  # noqa: F401  explains a missing package

import argparse
from collections.abc import Sequence
from pathlib import Path

from kd_engine.doctor.summary import summary_table
from kd_engine.errors import clear_errors


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, help="a work dir, or a folder of seed<N>")
    parser.add_argument(
        "--metrics",
        nargs="+",
        default=["coco/bbox_mAP", "coco/bbox_mAP_50"],
        help="columns (%(default)s)",
    )
    options = parser.parse_args(arguments)
    with clear_errors():
        print(summary_table(options.runs, options.metrics))


if __name__ == "__main__":
    main()
