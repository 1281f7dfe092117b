"""Measure what a student and its teacher cost: size, multiply-adds, latency.

    kdkit cost configs/det/hmat_asckd+bccd
    kdkit cost configs/det/hmat_asckd+bccd work_dirs/det/hmat_asckd+bccd --json cost.json
    kdkit cost mmdet::atss/atss_r50_fpn_1x_coco.py --size 800 1333 --device cpu cuda

Parameters, stored bytes, multiply-adds (MACs) of one image, and the median latency of one image,
measured in turns; then how much smaller the student is. A plain config has one model. The image is
the first of the test data, or a random one of its size if that is absent.

A teacher has its checkpoint's weights if they are here; a student those of CHECKPOINT, otherwise
random ones. Only detectors cost more or less with other weights: by the number of their boxes.
"""

from __future__ import annotations

import click

from kd_core.packages import quick_imports
from kdkit.cli.command import (
    CONFIG,
    ManyOption,
    checkpoint_argument,
    config_argument,
    overwrite_option,
    subcommand,
)


@subcommand(__doc__, {**CONFIG, "CHECKPOINT": "File, URL or work dir of the student."})
@config_argument
@checkpoint_argument
@click.option(
    "--device",
    "devices",
    cls=ManyOption,
    multiple=True,
    metavar="NAME...",
    help="Where latency is measured: cpu, cuda, cuda:1 (default: the CPU, and a GPU if there is "
    "one).",
)
@click.option("--threads", type=click.IntRange(1), help="Threads on the CPU (default: torch's).")
@click.option("--rounds", type=click.IntRange(1), default=50, show_default=True,
              help="Timed predictions of each model.")  # fmt: skip
@click.option(
    "--size",
    nargs=2,
    type=click.IntRange(1),
    metavar="HEIGHT WIDTH",
    help="Pixels of a random image, in the place of one of the test data.",
)
@click.option(
    "--json", "out", metavar="FILE.json", type=click.Path(), help="Also write them there."
)
@overwrite_option("that file if it is there")
def command(
    config: str,
    cfg_options: tuple[str, ...],
    checkpoint: str | None,
    devices: tuple[str, ...],
    threads: int | None,
    rounds: int,
    size: tuple[int, int] | None,
    out: str | None,
    overwrite: bool,
) -> None:
    """Measure."""
    with quick_imports():
        import torch

        from kd_engine.config.load import load_run_config, parse_options
        from kd_engine.cost.latency import devices_of
        from kd_engine.cost.measure import candidates_of, measure
        from kd_engine.cost.table import as_json, compression_lines, cost_lines
        from kd_engine.entry_points import task_of
        from kd_engine.errors import clear_errors
        from kd_engine.evaluate import write_json
        from kd_engine.outputs import check_outputs, files_of
        from kd_engine.terminal import short_terminal
        from kd_engine.work_dir.run_checkpoint import checkpoint_file

    with clear_errors(), short_terminal("loading the config and its packages"):
        check_outputs([out], (config, checkpoint), overwrite)
        places = devices_of(devices)
        read = load_run_config(config, parse_options(cfg_options))
        check_outputs([out], files_of(read), overwrite)
        if threads:
            torch.set_num_threads(threads)
        source = checkpoint and checkpoint_file(checkpoint, read)
        measured = measure(candidates_of(read, source), task_of(read), places, size, rounds)
        print("\n".join(cost_lines(measured)))
        if {"teacher", "student"} <= set(measured.models):
            print("\n".join(compression_lines(measured, "teacher", "student")))
        if out:
            write_json(as_json(measured), out)
