"""Train a model, distilled or plain.

    python tools/train.py configs/hmat_faster_rcnn.py
    python tools/train.py configs/bccd/hmat.py --resume
    python tools/train.py configs/bccd/hmat.py --overwrite
    python tools/train.py configs/retrieval/digits/rkd.py --with-teacher
    python tools/train.py configs/cls/ckd_mkt_resnet8_resnet20_6e_digits.py --with-teacher
    torchrun --nproc_per_node 2 tools/train.py CONFIG --launcher pytorch

Checkpoints and logs go to work_dirs/<folder>/<config>, or where --work-dir says. That work dir
serves one run at a time. If it holds the checkpoints of an earlier run, --resume continues that
one and --overwrite removes its checkpoints and logs, when the new training begins.
"""

from __future__ import annotations

if __name__ == "__main__":
    import which_python  # noqa: F401  explains a missing package

import argparse
import os
from collections.abc import Iterator, Sequence

from mmengine.config import Config
from mmengine.dist import is_main_process

from kd_engine.config.parts import check_parts, require_training
from kd_engine.doctor.data_warnings import show_warnings
from kd_engine.entry_points import task_of
from kd_engine.errors import clear_errors
from kd_engine.resume.start import read_start
from kd_engine.run.child import end_with_parent
from kd_engine.run.finite_loss import FiniteLossHook
from kd_engine.run.malloc import keep_freed_memory
from kd_engine.run.prerequisites import (
    references_of,
    require_trained,
    settle_work_dirs,
    train_missing,
)
from kd_engine.run.runner import Runner
from kd_engine.runs import (
    add_config_arguments,
    load_run_config,
    require_datasets,
    share_statistics,
    start_processes,
    use_mixed_precision,
)
from kd_engine.terminal import short_terminal, tell
from kd_engine.weights.initial import check_initial_weights, start_from_initial_weights
from kd_engine.work_dir.earlier_run import earlier_run
from kd_engine.work_dir.lock import hold_work_dir


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    options = _parser().parse_args(arguments)
    os.environ.setdefault("LOCAL_RANK", str(options.local_rank))
    end_with_parent()
    keep_freed_memory()
    interrupted = "interrupted; --resume goes on from the last whole checkpoint"
    with clear_errors(interrupted), short_terminal("loading the config and its packages"):
        config = load_run_config(options.config, options.cfg_options, options.work_dir)
        start_processes(config, options.launcher)
        with hold_work_dir(config.work_dir, options.launcher) as lock:
            earlier = earlier_run(config)
            if options.overwrite:
                earlier.require_unneeded(_files_read(config))
            elif not (options.resume or config.get("resume")):
                earlier.require_none(options.config)
            lock.sign(options.config)
            runner = _prepare(config, options)
            if runner is None:
                return
            if options.overwrite and is_main_process():
                earlier.remove(runner.log_dir)
            lock.sign(options.config, begins=True)
            runner.train()


def _prepare(config: Config, options: argparse.Namespace) -> Runner | None:
    """Check everything, train what is missing if that is wanted, and build the runner.

    Returns:
        The runner, or None if the run that resumes is finished.
    """
    share_statistics(config)
    require_training(config)
    check_parts(config)
    require_datasets(config)
    show_warnings(task_of(config).check_data(config))
    if options.amp:
        use_mixed_precision(config)
    settle_work_dirs(config, unfinished=not options.with_teacher)
    start = read_start(config, options.resume)
    if start.is_done:
        return None
    if not config.resume:
        check_initial_weights(config)
    if options.with_teacher:
        tell("")  # the trainings say themselves what they are doing
        train_missing(config, __file__)
        tell("loading what was trained before")
    require_trained(config)
    show_warnings(task_of(config).check_teacher(config))
    runner = Runner.from_cfg(config)
    runner.register_hook(FiniteLossHook())
    start.register_hooks(runner)
    start_from_initial_weights(runner, config)
    return runner


def _files_read(config: Config) -> Iterator[str]:
    references = (reference["checkpoint"] for _, reference in references_of(config.model))
    yield from (str(path) for path in (config.get("load_from"), *references) if path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_config_arguments(parser)
    parser.add_argument("--work-dir", help="folder for checkpoints and logs")
    earlier = parser.add_mutually_exclusive_group()
    earlier.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="CHECKPOINT",
        help="resume from a checkpoint, or from the last whole one of a work dir (default: its)",
    )
    earlier.add_argument(
        "--overwrite",
        action="store_true",
        help="remove the checkpoints and logs of an earlier run in the work dir when training "
        "begins (never those of a teacher that --with-teacher trains)",
    )
    parser.add_argument(
        "--with-teacher",
        action="store_true",
        help="train first what the config needs and is missing: its teacher, its first phase",
    )
    parser.add_argument("--amp", action="store_true", help="train in mixed precision")
    parser.add_argument(
        "--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none",
        help="how the processes of a distributed run were started",
    )  # fmt: skip
    parser.add_argument("--local-rank", "--local_rank", type=int, default=0, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
