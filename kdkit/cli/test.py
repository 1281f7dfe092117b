"""Evaluate a student, a teacher or any plain model on its test data.

    kdkit test configs/hmat_faster_rcnn.py work_dirs/hmat_faster_rcnn/epoch_12.pth
    kdkit test configs/det/hmat_asckd+bccd work_dirs/.../epoch_12.pth --out metrics.json
    kdkit test configs/det/hmat_asckd+bccd --teacher
    kdkit test mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py faster_rcnn.pth

Of a distillation config only the student is built; its teacher need not be there. With --teacher
the teacher alone is evaluated, on the same test data, with the checkpoint that the config names,
or with the weights that its own config loads if that is None.
"""

from __future__ import annotations

import os

import click

from kd_core.packages import quick_imports
from kdkit.cli.command import (
    CHECKPOINT,
    CONFIG,
    checkpoint_argument,
    config_argument,
    launcher_options,
    overwrite_option,
    subcommand,
)


@subcommand(__doc__, {**CONFIG, **CHECKPOINT})
@config_argument
@checkpoint_argument
@click.option("--teacher", is_flag=True, help="Evaluate the teacher instead.")
@click.option("--out", metavar="FILE.json", type=click.Path(), help="Also write the metrics there.")
@overwrite_option("that file if it is there")
@click.option("--work-dir", type=click.Path(), help="Folder for logs.")
@launcher_options
def command(
    config: str,
    cfg_options: tuple[str, ...],
    checkpoint: str | None,
    teacher: bool,
    out: str | None,
    overwrite: bool,
    work_dir: str | None,
    launcher: str,
    local_rank: int,
) -> None:
    """Evaluate."""
    with quick_imports():
        from mmengine.dist import is_main_process

        from kd_engine.config.load import load_run_config, parse_options
        from kd_engine.data.required import require_datasets
        from kd_engine.entry_points import task_of
        from kd_engine.errors import clear_errors
        from kd_engine.evaluate import evaluate_model, teacher_of
        from kd_engine.outputs import check_outputs, files_of
        from kd_engine.run.distributed import set_up_launcher
        from kd_engine.terminal import short_terminal
        from kd_engine.weights.source import WeightSource
        from kd_engine.work_dir.run_checkpoint import checkpoint_file

    os.environ.setdefault("LOCAL_RANK", str(local_rank))
    with clear_errors(), short_terminal("loading the config and its packages"):
        check_outputs([out], (config, checkpoint), overwrite)
        read = load_run_config(config, parse_options(cfg_options), work_dir)
        check_outputs([out], files_of(read), overwrite)
        set_up_launcher(read, launcher)
        require_datasets(read, ("test_dataloader",))
        task_of(read).check_test(read, teacher)
        model, default = teacher_of(read) if teacher else (None, None)
        given = checkpoint and checkpoint_file(checkpoint, read)
        source = WeightSource.named(given, default)
        if source is None and not teacher:
            raise ValueError("a checkpoint is needed: kdkit test CONFIG CHECKPOINT")
        metrics = evaluate_model(read, source, model)
        if is_main_process():
            _report(metrics, out)


def _report(metrics: dict[str, float], out: str | None) -> None:
    from kd_core.table import format_table
    from kd_engine.evaluate import write_json

    if not metrics:
        said = "no metric gave a value, as where test_evaluator has format_only"
        if out:
            raise ValueError(f"{said}, so that there is nothing to write to {out}. Leave it out.")
        print(said)
    for line in format_table((), [(name, f"{value:.4f}") for name, value in metrics.items()]):
        print(line)
    if out:
        write_json(metrics, out)
