"""Find weights of terms, from the gradients on a few batches of the training data.

    kdkit calibrate configs/det/hmat_asckd+bccd
    kdkit calibrate my_student.py --share 0.2 --batches 16
    kdkit calibrate my_student.py --cfg-options load_from=work_dirs/my_student/epoch_3.pth

For each term it prints its share of the gradient with the config's weight (its norm over the sum of
its own and the task's, at the layers that the term compares); the weight at which that is the
wanted share; and lines to copy into the config. Schedules are left out. Nothing is trained and
nothing is written.

A random student has other gradients than one that has learned something: weight="auto" follows
them all through the training.
"""

from __future__ import annotations

from typing import Any

import click

from kd_core.packages import quick_imports
from kdkit.cli.command import CONFIG, config_argument, subcommand


@subcommand(__doc__, CONFIG)
@config_argument
@click.option(
    "--share",
    type=float,
    help="Wanted share of the gradient of each term, between 0 and 1 (default: 0.75).",
)
@click.option(
    "--batches", type=click.IntRange(min=1), default=8, help="Number of batches (default: 8)."
)
def command(config: str, cfg_options: tuple[str, ...], share: float | None, batches: int) -> None:
    """Calibrate."""
    with quick_imports():
        from mmengine.logging import MMLogger

        from kd_core import AutoWeight
        from kd_engine.config.load import load_run_config, parse_options
        from kd_engine.config.parts import check_parts, require_training
        from kd_engine.data.required import require_datasets
        from kd_engine.doctor.calibrate import calibrate, calibration_text
        from kd_engine.errors import clear_errors
        from kd_engine.run.prerequisites import require_trained
        from kd_engine.terminal import short_terminal

    with clear_errors(), short_terminal("measuring gradients"):
        wanted = AutoWeight() if share is None else AutoWeight(share)
        MMLogger.get_instance("calibrate", log_level="ERROR")
        read = load_run_config(config, parse_options(cfg_options))
        require_training(read)
        check_parts(read)
        require_datasets(read)
        require_trained(read)
        found = calibrate(read, wanted.share, batches, _build)
        print(calibration_text(found))


def _build(config: Any, model: Any) -> Any:
    """Build the model with its teacher's and its own initial weights, as a training does."""
    from kd_engine.evaluate import build_model
    from kd_engine.weights.initial import load_initial_weights

    built = build_model(config, model)
    load_initial_weights(built, config)
    return built
