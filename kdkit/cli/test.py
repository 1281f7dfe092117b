"""Evaluate a student, a teacher or any plain model on its test data.

    python tools/test.py configs/hmat_faster_rcnn.py work_dirs/hmat_faster_rcnn/epoch_12.pth
    python tools/test.py configs/bccd/hmat_asckd.py work_dirs/.../epoch_12.pth --out metrics.json
    python tools/test.py configs/bccd/hmat_asckd.py --teacher
    python tools/test.py mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py faster_rcnn.pth

Of a distillation config only the student is built; its teacher need not be there. With --teacher
it is the teacher alone, on the same test data, with the checkpoint that the config names, or with
what its own config loads if that is None.
"""

from __future__ import annotations

if __name__ == "__main__":
    import which_python  # noqa: F401  explains a missing package

import argparse
import os
from collections.abc import Sequence

from mmengine.dist import is_main_process

from kd_core.table import format_table
from kd_engine.entry_points import task_of
from kd_engine.errors import clear_errors
from kd_engine.evaluate import evaluate_model, teacher_of, write_json
from kd_engine.outputs import check_outputs, files_of
from kd_engine.runs import (
    add_config_arguments,
    load_run_config,
    require_datasets,
    start_processes,
)
from kd_engine.terminal import short_terminal
from kd_engine.weights.source import WeightSource
from kd_engine.work_dir.run_checkpoint import checkpoint_file


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    options = _parser().parse_args(arguments)
    os.environ.setdefault("LOCAL_RANK", str(options.local_rank))
    with clear_errors(), short_terminal("loading the config and its packages"):
        check_outputs([options.out], (options.config, options.checkpoint), options.overwrite)
        config = load_run_config(options.config, options.cfg_options, options.work_dir)
        check_outputs([options.out], files_of(config), options.overwrite)
        start_processes(config, options.launcher)
        require_datasets(config, ("test_dataloader",))
        task_of(config).check_test(config, options.teacher)
        model, default = teacher_of(config) if options.teacher else (None, None)
        given = options.checkpoint and checkpoint_file(options.checkpoint, config)
        source = WeightSource.named(given, default)
        if source is None and not options.teacher:
            raise ValueError("a checkpoint is needed: python tools/test.py CONFIG CHECKPOINT")
        metrics = evaluate_model(config, source, model)
        if is_main_process():
            _report(metrics, options.out)


def _report(metrics: dict[str, float], out: str | None) -> None:
    if not metrics:
        said = "no metric gave a value, as where test_evaluator has format_only"
        if out:
            raise ValueError(f"{said}, so that there is nothing to write to {out}. Leave it out.")
        print(said)
    for line in format_table((), [(name, f"{value:.4f}") for name, value in metrics.items()]):
        print(line)
    if out:
        write_json(metrics, out)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_config_arguments(parser)
    parser.add_argument(
        "checkpoint",
        nargs="?",
        help="file, URL or work dir; with --teacher the default is the config's",
    )
    parser.add_argument("--teacher", action="store_true", help="evaluate the teacher instead")
    parser.add_argument("--out", metavar="FILE.json", help="also write the metrics there")
    parser.add_argument("--overwrite", action="store_true", help="replace that file if it is there")
    parser.add_argument("--work-dir", help="folder for logs")
    parser.add_argument(
        "--launcher",
        choices=["none", "pytorch", "slurm", "mpi"],
        default="none",
        help="how the processes of a distributed run were started",
    )
    parser.add_argument("--local-rank", "--local_rank", type=int, default=0, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
