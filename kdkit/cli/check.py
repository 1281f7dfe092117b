"""Check everything that a training run needs.

    kdkit check configs/hmat_faster_rcnn.py
    kdkit check configs/det/hmat_asckd+bccd --images --gradients neck
    kdkit check --zoo --only retinanet dino

It says what is wrong and how to fix it. Sections: environment; config (the shape table of student
and teacher, and what the student could inherit); weights (of the teacher, strictly, and the
student's own); data (annotations and classes; with --images every image is decoded); one training
step on one real batch, with the value of each loss (with --gradients LAYER also its share of the
gradient at that layer of the student); one prediction, as the first validation makes it.
The exit code is 1 if anything is wrong. Nothing is trained and nothing is written.

With --zoo, instead of a config, it tries the installed mmdet: each family of detectors, of random
weights, is distilled by itself with HMAT, ASCKD and PKD on two small images, in a process of its
own, and the table (family, config, trains, distils, predicts, reason where not) is written to --out
after each. What is in that table already is not run again.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from kdkit.cli.command import (
    CONFIG,
    ConfigName,
    ManyOption,
    exclusive,
    options_of_config,
    subcommand,
)


@subcommand(__doc__, CONFIG)
@click.argument("config", type=ConfigName(), required=False)
@options_of_config
@click.option("--images", is_flag=True, help="Decode every image.")
@click.option("--gradients", metavar="LAYER", help="Show each loss's share of the gradient there.")
@click.option("--zoo", is_flag=True, help="Try the families of the installed mmdet.")
@click.option(
    "--only", cls=ManyOption, multiple=True, metavar="NAME...", help="With --zoo: these families."
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="With --zoo: file of the table (default: work_dirs/zoo.md).",
)
@click.option("--again", is_flag=True, help="With --zoo: run also what the table has.")
def command(
    config: str | None,
    cfg_options: tuple[str, ...],
    images: bool,
    gradients: str | None,
    zoo: bool,
    only: tuple[str, ...],
    out: Path | None,
    again: bool,
) -> None:
    """Check."""
    of_zoo = {"--only": only, "--out": out, "--again": again}
    if zoo:
        exclusive({"--zoo": zoo, "CONFIG": config or cfg_options or images or gradients})
        _zoo(only, out or Path("work_dirs/zoo.md"), again)
        return
    if config is None or any(of_zoo.values()):
        given = [name for name, value in of_zoo.items() if value]
        raise click.UsageError(
            f"{', '.join(given)} belongs to --zoo." if given else "Missing argument 'CONFIG'."
        )
    try:
        # kd_engine refuses two distributions of mmdet
        from kd_engine.doctor.versions import check_opencv

        check_opencv()  # mmengine imports it at once
        from kd_engine.terminal import short_terminal
    except ModuleNotFoundError:
        raise  # the group names the extra
    except (RuntimeError, ImportError) as error:
        print(f"== environment\nwrong: {error}")
        sys.exit(1)
    with short_terminal("checking"):
        code = _check(config, cfg_options, images, gradients)
    sys.exit(code)


def _zoo(only: tuple[str, ...], out: Path, again: bool) -> None:
    from kd_engine.errors import clear_errors

    with clear_errors():
        from kd_det.zoo.run import run_zoo

        run_zoo(only, out, again, partial(print, flush=True))
        print(f"{out}: the table")


def _check(name: str, cfg_options: tuple[str, ...], images: bool, gradients: str | None) -> int:
    """Print all sections, and return the exit code."""
    from kd_engine.config.load import load_run_config, parse_options
    from kd_engine.doctor.sections import Sections

    sections = Sections()
    config: Any = None
    with sections.section("environment"):
        _environment()
    if sections.can("config", "environment"):
        with sections.section("config"):
            config = load_run_config(name, parse_options(cfg_options))
            _parts(config)
            _work_dir(config, name)
            _shapes(config)
    if config is None:
        return 1
    model, warnings = None, []
    if sections.can("weights", "config"):
        with sections.section("weights"):
            model = _weights(config)
    with sections.section("data"):
        warnings = _data(config, images)
    if sections.can("one training step", "config", "weights", "data"):
        with sections.section("one training step"):
            _step(model, config, gradients)
    if sections.can("one prediction", "config", "weights", "one training step"):
        with sections.section("one prediction"):
            _prediction(model, config)
    print(_verdict(sections.failed, len(warnings)))
    return 1 if sections.failed else 0


def _environment() -> None:
    from kd_engine.doctor.versions import check_opencv, version_rows

    for name, value in [*version_rows(), ("OpenCV", check_opencv())]:
        print(f"{name:24}  {value}")


def _parts(config: Any) -> None:
    from kd_engine.config.parts import check_parts, require_training

    require_training(config)
    check_parts(config)


def _work_dir(config: Any, name: str) -> None:
    """Print the work dir, and what it already holds."""
    from kd_engine.work_dir.earlier_run import earlier_run

    earlier = earlier_run(config)
    print(f"{'work dir':24}  {config.work_dir}, which holds {earlier.describe(name)}", end="")
    print(": train with --resume, --overwrite or --work-dir" if earlier.checkpoints else "")


def _shapes(config: Any) -> None:
    """Build the model as training would, but with a random teacher: this is about layers."""
    from mmengine.logging import MMLogger

    from kd_engine.build import is_distilled, without_weight_files
    from kd_engine.distilled import shape_text
    from kd_engine.doctor.inherit_proposal import inherit_proposal
    from kd_engine.entry_points import task_of
    from kd_engine.evaluate import build_model

    for name, value in task_of(config).environment():
        print(f"{name:24}  {value}")
    MMLogger.get_instance("check", log_level="ERROR")
    built = build_model(config, without_weight_files(config.model))
    if is_distilled(config.model):
        print("\n".join([shape_text(built.distiller), *inherit_proposal(built, config)]))
    else:
        print(f"plain {type(built).__name__}, no teacher")


def _weights(config: Any) -> Any:
    """Build the model with its teacher's and its own initial weights."""
    from kd_engine.evaluate import build_model
    from kd_engine.run.prerequisites import references_of, require_trained
    from kd_engine.weights.initial import load_initial_weights

    require_trained(config)
    model = build_model(config, config.model)
    for name, reference in references_of(config.model):
        named = reference["checkpoint"]
        print(f"{name}: {named or 'no checkpoint, what its config does not load is random'}")
    for line in load_initial_weights(model, config) or ["as it is built"]:
        print(f"student starts from {line}")
    return model


def _data(config: Any, images: bool) -> list[str]:
    """Print a summary of the data, and return the number of warnings in it."""
    from kd_engine.data.required import require_datasets
    from kd_engine.doctor.data_warnings import warnings_among
    from kd_engine.entry_points import task_of

    require_datasets(config)
    lines = task_of(config).check_data(config, images) + task_of(config).check_teacher(config)
    print("\n".join(lines))
    return warnings_among(lines)


def _prediction(model: Any, config: Any) -> None:
    """Predict as the first validation will."""
    import torch

    from kd_core.teacher import eval_mode
    from kd_engine.entry_points import task_of

    if not config.get("test_dataloader"):
        print("the config has no test_dataloader")
        return
    task = task_of(config)
    image, origin = task.test_image(config)
    with torch.no_grad(), eval_mode(model):
        task.predict(model, image)
    print(f"the model predicts on {origin}")


def _verdict(failed: list[str], warnings: int) -> str:
    if failed:
        return f"wrong: {', '.join(failed)}"
    if warnings:
        return f"nothing is wrong, but read the {warnings} warning(s) about the data above"
    return "everything is ok"


def _step(model: Any, config: Any, layer: str | None) -> None:
    from kd_engine.doctor.one_step import one_step

    print(one_step(model, config, layer))
