"""Make data, train a teacher and its student with and without it, and say whether it helped.

    kdkit demo

The student is trained alone, alone for as long as distilling takes, and distilled. Everything goes
to work_dirs/demo: results.md and results.json (the table and the verdict), curves.png (the
training), detections.png (what the models see), and a folder for each model. What is there already
is used again; an interrupted training resumes from its last whole checkpoint.
"""

from __future__ import annotations

import contextlib
import io
import time
from pathlib import Path

import click

from kd_core.packages import quick_imports
from kdkit.cli.command import subcommand


@subcommand(__doc__, {})
@click.option(
    "--work-dir",
    type=click.Path(path_type=Path),
    default=Path("work_dirs/demo"),
    show_default=True,
    help="Folder of all files.",
)
@click.option("--train-images", default=480, show_default=True, help="Images to train on.")
@click.option("--val-images", default=96, show_default=True, help="Images to measure on.")
@click.option(
    "--epochs",
    type=click.IntRange(1),
    help="Epochs of the student, the others in proportion (default: the configs').",
)
@click.option("--seed", default=0, show_default=True, help="Seed of all trainings.")
def command(
    work_dir: Path, train_images: int, val_images: int, epochs: int | None, seed: int
) -> None:
    """Run the demo."""
    start = time.monotonic()
    print("demo: four small detectors, about five minutes on two free cores", flush=True)
    with contextlib.redirect_stdout(io.StringIO()), quick_imports():  # mmdet's banners
        import kd_det  # noqa: F401  before mmdet
        from kd_engine.errors import clear_errors
        from kd_engine.weights.checkpoint import use_safe_checkpoints
        from kdkit.demo.runs import DemoOptions
        from kdkit.demo.stages import run_demo

    with clear_errors("interrupted; the same command resumes from the last checkpoint"):
        use_safe_checkpoints()
        run_demo(DemoOptions(work_dir.resolve(), train_images, val_images, epochs, seed))
    print(f"\nfinished after {time.monotonic() - start:.0f} s; files are in {work_dir}")
