"""Train a model, distilled or plain.

    kdkit train configs/hmat_faster_rcnn.py
    kdkit train configs/det/hmat+bccd --resume
    kdkit train configs/det/hmat+bccd --overwrite
    kdkit train configs/retrieval/rkd+digits --with-teacher
    kdkit train configs/cls/ckd_mkt+digits --with-teacher
    torchrun --nproc_per_node 2 -m kdkit train CONFIG --launcher pytorch

Checkpoints and logs go to work_dirs/<folder>/<config>, or where --work-dir says. That work dir
serves one run at a time. If it holds the checkpoints of an earlier run, --resume continues that
one and --overwrite removes its checkpoints and logs, when the new training begins.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from kd_core.packages import quick_imports
from kdkit.cli.command import (
    CONFIG,
    PROGRAM,
    config_argument,
    exclusive,
    launcher_options,
    subcommand,
)

if TYPE_CHECKING:
    from mmengine.config import Config

    from kd_engine.run.runner import Runner


@subcommand(__doc__, CONFIG)
@config_argument
@click.option("--work-dir", type=click.Path(), help="Folder for checkpoints and logs.")
@click.option(
    "--resume",
    is_flag=False,
    flag_value="auto",
    metavar="[CHECKPOINT]",
    help="Resume from a checkpoint, or from the last whole one of a work dir (default: its).",
)
@click.option(
    "--overwrite",
    is_flag=True,
    help="Remove the checkpoints and logs of an earlier run in the work dir when training begins "
    "(never those of a teacher that --with-teacher trains).",
)
@click.option(
    "--with-teacher",
    is_flag=True,
    help="Train first what the config needs and is missing: its teacher, its first phase.",
)
@click.option("--amp", is_flag=True, help="Train in mixed precision.")
@launcher_options
def command(
    config: str,
    cfg_options: tuple[str, ...],
    work_dir: str | None,
    resume: str | None,
    overwrite: bool,
    with_teacher: bool,
    amp: bool,
    launcher: str,
    local_rank: int,
) -> None:
    """Train."""
    exclusive({"--resume": resume, "--overwrite": overwrite})

    from kd_engine.config.load import load_run_config, parse_options
    from kd_engine.errors import clear_errors
    from kd_engine.run.child import end_with_parent
    from kd_engine.run.malloc import keep_freed_memory
    from kd_engine.terminal import short_terminal

    os.environ.setdefault("LOCAL_RANK", str(local_rank))
    end_with_parent()
    keep_freed_memory()
    interrupted = "interrupted; --resume continues from the last whole checkpoint"
    with clear_errors(interrupted), short_terminal("loading the config and its packages"):
        read = load_run_config(config, parse_options(cfg_options), work_dir)
        with quick_imports():
            from mmengine.dist import is_main_process

            from kd_engine.run.distributed import set_up_launcher
            from kd_engine.work_dir.earlier_run import earlier_run
            from kd_engine.work_dir.lock import hold_work_dir

        set_up_launcher(read, launcher)
        with hold_work_dir(read.work_dir, launcher) as lock:
            earlier = earlier_run(read)
            if overwrite:
                earlier.require_unneeded(_files_read(read))
            elif not (resume or read.get("resume")):
                earlier.require_none(config)
            lock.sign(config)
            runner = _prepare(read, resume, with_teacher, amp)
            if runner is None:
                return
            if overwrite and is_main_process():
                earlier.remove(runner.log_dir)
            lock.sign(config, begins=True)
            runner.train()


def _prepare(config: Config, resume: str | None, with_teacher: bool, amp: bool) -> Runner | None:
    """Check everything, train what is missing if that is wanted, and build the runner.

    Returns:
        The runner, or None if the run that resumes is finished.
    """
    with quick_imports():
        from kd_engine.config.parts import check_parts, require_training
        from kd_engine.data.required import require_datasets
        from kd_engine.doctor.data_warnings import show_warnings
        from kd_engine.entry_points import task_of
        from kd_engine.resume.start import read_start
        from kd_engine.run.distributed import share_statistics, use_mixed_precision
        from kd_engine.run.finite_loss import FiniteLossHook
        from kd_engine.run.prerequisites import require_trained, settle_work_dirs, train_missing
        from kd_engine.run.runner import Runner
        from kd_engine.terminal import set_status
        from kd_engine.weights.initial import (
            check_inherit,
            check_initial_weights,
            start_from_initial_weights,
        )

    share_statistics(config)
    require_training(config)
    check_parts(config)
    require_datasets(config)
    show_warnings(task_of(config).check_data(config))
    if amp:
        use_mixed_precision(config)
    settle_work_dirs(config, unfinished=not with_teacher)
    start = read_start(config, resume)
    if start.is_done:
        return None
    if not config.resume:
        check_initial_weights(config)
    if with_teacher:
        check_inherit(config)
        set_status("")  # the trainings say themselves what they are doing
        train_missing(config, [*PROGRAM, "train"])
        set_status("loading what was trained before")
    require_trained(config)
    show_warnings(task_of(config).check_teacher(config))
    runner: Runner = Runner.from_cfg(config)
    runner.register_hook(FiniteLossHook())
    start.register_hooks(runner)
    start_from_initial_weights(runner, config)
    return runner


def _files_read(config: Config) -> Iterator[str]:
    from kd_engine.run.prerequisites import references_of

    references = (reference["checkpoint"] for _, reference in references_of(config.model))
    yield from (str(path) for path in (config.get("load_from"), *references) if path)
