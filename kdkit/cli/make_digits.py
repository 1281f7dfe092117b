"""Make the built-in detection set: handwritten digits on textured backgrounds.

Writes COCO JSON and Pascal VOC over the same pictures. The same parameters give the same files;
a set that is there already is left as it is. Nothing is downloaded.

    python tools/make_digits.py --out data/digits
"""

from __future__ import annotations

if __name__ == "__main__":
    import which_python  # noqa: F401  explains a missing package

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from kd_engine.data.digit_scenes import SceneOptions
from kd_engine.data.digits import make_detection_set
from kd_engine.errors import clear_errors


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    options = _parser().parse_args(arguments)
    start = time.perf_counter()
    with clear_errors():
        made = make_detection_set(
            options.out,
            options.train,
            options.val,
            options.seed,
            SceneOptions(
                options.size,
                options.max_digits,
                options.min_side,
                options.max_side,
                options.occlusion,
            ),
            options.overwrite,
        )
    if made:
        seconds = time.perf_counter() - start
        print(f"made {options.train} + {options.val} images in {options.out} ({seconds:.1f} s)")
    else:
        print(f"{options.out} is there already, made with the same parameters: nothing to do")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--out", type=Path, default=Path("data/digits"), help="folder to make (%(default)s)")
    add("--train", type=int, default=600, help="training images (%(default)s)")
    add("--val", type=int, default=150, help="validation images (%(default)s)")
    add("--size", type=int, default=160, help="width and height in pixels (%(default)s)")
    add("--max-digits", type=int, default=6, help="most digits on an image (%(default)s)")
    add("--min-side", type=int, default=16, help="smallest digit in pixels (%(default)s)")
    add("--max-side", type=int, default=64, help="largest digit in pixels (%(default)s)")
    add("--occlusion", type=float, default=0.2, help="share of covered digits (%(default)s)")
    add("--seed", type=int, default=0, help="decides everything that is random (%(default)s)")
    add("--overwrite", action="store_true", help="replace a set made with other parameters")
    return parser


if __name__ == "__main__":
    sys.exit(main())
