"""List the layers that the terms of a config can select.

    kdkit layers configs/hmat_faster_rcnn.py
    kdkit layers configs/hmat_faster_rcnn.py --teacher --depth 2
    kdkit layers mmdet::atss/atss_r50_fpn_1x_coco.py --match neck

Each line is a selector, the module's class, and the shape of its output in a dry run on two random
images. A module that returns several maps is shown as neck[0], neck[1], ...; neck[1:4] selects
three of them. A layer that runs several times in one forward cannot be selected.
"""

from __future__ import annotations

import click

from kd_core.packages import quick_imports
from kdkit.cli.command import CONFIG, config_argument, subcommand


@subcommand(__doc__, CONFIG)
@config_argument
@click.option("--teacher", is_flag=True, help="List the teacher's layers.")
@click.option("--depth", type=int, help="Show names of at most so many parts.")
@click.option("--match", default="", metavar="TEXT", help="Show only what contains it.")
@click.option(
    "--size",
    nargs=2,
    type=int,
    metavar="HEIGHT WIDTH",
    help="Pixels of the random images (default: 256 320 of a detector; of an embedder or "
    "classifier what it wants, or 128 128 and 32 32).",
)
def command(
    config: str,
    cfg_options: tuple[str, ...],
    teacher: bool,
    depth: int | None,
    match: str,
    size: tuple[int, int] | None,
) -> None:
    """List layers."""
    with quick_imports():
        from kd_engine.build import student_config, without_initial_weights
        from kd_engine.config.load import load_run_config, parse_options
        from kd_engine.doctor.layer_table import layer_rows, layer_table
        from kd_engine.entry_points import task_of
        from kd_engine.errors import clear_errors
        from kd_engine.evaluate import build_model, teacher_of
        from kd_engine.terminal import short_terminal

    with clear_errors(), short_terminal("loading the config and its packages"):
        read = load_run_config(config, parse_options(cfg_options))
        dry_run = task_of(read).dry_run
        model = teacher_of(read)[0] if teacher else student_config(read.model)
        sizes = [] if size is None else [size]
        plain = build_model(read, without_initial_weights(model))
        rows = layer_rows(plain, lambda built: dry_run(built, *sizes))
        print(layer_table(rows, depth, match))
