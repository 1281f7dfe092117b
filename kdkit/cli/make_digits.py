"""Make the built-in detection set of handwritten digits.

The digits lie on textured backgrounds. Writes COCO JSON and Pascal VOC over the same images. The
same parameters give the same files; a set that is there already is left as it is. Nothing is
downloaded.

    kdkit make-digits --out data/digits
"""

from __future__ import annotations

from pathlib import Path

import click

from kdkit.cli.command import overwrite_option, subcommand


@subcommand(__doc__, {})
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("data/digits"),
    show_default=True,
    help="Folder to make.",
)
@click.option("--train", default=600, show_default=True, help="Training images.")
@click.option("--val", default=150, show_default=True, help="Validation images.")
@click.option("--size", default=160, show_default=True, help="Width and height in pixels.")
@click.option("--max-digits", default=6, show_default=True, help="Most digits on an image.")
@click.option("--min-side", default=16, show_default=True, help="Smallest digit in pixels.")
@click.option("--max-side", default=64, show_default=True, help="Largest digit in pixels.")
@click.option("--occlusion", default=0.2, show_default=True, help="Share of covered digits.")
@click.option("--seed", default=0, show_default=True, help="Decides everything that is random.")
@overwrite_option("a set made with other parameters")
def command(
    out: Path,
    train: int,
    val: int,
    size: int,
    max_digits: int,
    min_side: int,
    max_side: int,
    occlusion: float,
    seed: int,
    overwrite: bool,
) -> None:
    """Make the digits."""
    import time

    from kd_engine.errors import clear_errors
    from kdkit.demo.digit_scenes import SceneOptions
    from kdkit.demo.digit_set import make_detection_set

    start = time.perf_counter()
    with clear_errors():
        scene = SceneOptions(size, max_digits, min_side, max_side, occlusion)
        made = make_detection_set(out, train, val, seed, scene, overwrite)
    if made:
        print(f"made {train} + {val} images in {out} ({time.perf_counter() - start:.1f} s)")
    else:
        print(f"{out} is there already, made with the same parameters: nothing to do")
