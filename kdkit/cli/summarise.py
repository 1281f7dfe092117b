"""Tabulate finished runs: mean and deviation over their seeds.

Train each seed N with --work-dir work_dirs/det/hmat+bccd/seedN --cfg-options
randomness.seed=N, then:

    kdkit summarise work_dirs/det/student+bccd work_dirs/det/hmat+bccd
"""

from __future__ import annotations

from pathlib import Path

import click

from kdkit.cli.command import ManyOption, subcommand


@subcommand(__doc__, {"RUN...": "A work dir, or a folder of seed<N>."})
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option(
    "--metrics",
    cls=ManyOption,
    multiple=True,
    metavar="NAME...",
    default=("coco/bbox_mAP", "coco/bbox_mAP_50"),
    show_default=True,
    help="Columns.",
)
def command(runs: tuple[Path, ...], metrics: tuple[str, ...]) -> None:
    """Tabulate."""
    from kd_engine.doctor.summary import summary_table
    from kd_engine.errors import clear_errors

    with clear_errors():
        print(summary_table(runs, metrics))
