"""Check everything that a training run needs, and say what is wrong and how to mend it.

    python tools/check.py configs/hmat_faster_rcnn.py
    python tools/check.py configs/bccd/hmat_asckd.py --images --gradients neck

Sections: environment; config (the shape table of student and teacher); weights (of the teacher,
strictly, and the student's own); data (annotations and classes; with --images every picture is
decoded); one training step on one real batch, with the value of each loss (with --gradients LAYER
also its share of the gradient at that layer of the student). The exit code is 1 if anything is
wrong. Nothing is trained and nothing is written.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Sequence
from typing import Any


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        from kd_engine.sections import Sections  # it is kd_engine that refuses two distributions
    except (RuntimeError, ImportError) as error:
        print(f"== environment\nwrong: {error}")
        return 1
    sections = Sections()
    with sections.section("environment"):
        _environment()
    config: Any = None
    if sections.can("config", "environment"):
        with sections.section("config"):
            config = _config(options)
    if config is None:
        return 1
    model = None
    if sections.can("weights", "config"):
        with sections.section("weights"):
            model = _weights(config)
    with sections.section("data"):
        _data(config, options.images)
    if sections.can("one training step", "config", "weights", "data"):
        with sections.section("one training step"):
            _step(model, config, options.gradients)
    print("everything is ok" if not sections.failed else f"wrong: {', '.join(sections.failed)}")
    return 1 if sections.failed else 0


def _environment() -> None:
    from kd_det.mmcv_ops import provide_ops
    from kd_engine.versions import check_opencv, version_rows

    rows = [*version_rows(), ("OpenCV", check_opencv())]
    served = provide_ops()
    origin = "mmcv's compiled ones" if served == "compiled" else "torchvision (nothing compiled)"
    for name, value in [*rows, ("operators", origin)]:
        print(f"{name:22}  {value}")


def _config(options: argparse.Namespace) -> Any:
    """Build the model as training would, but with a random teacher: this is about layers."""
    from mmengine.logging import MMLogger
    from mmengine.registry import MODELS

    from kd_engine.runs import load_run_config
    from kd_engine.student import is_distilled

    MMLogger.get_instance("check", log_level="ERROR")
    config = load_run_config(options.config, options.cfg_options)
    model = copy.deepcopy(config.model)
    if is_distilled(model):
        model.teacher.checkpoint = None
        print(MODELS.build(model).distiller.shape_table)
    else:
        print(f"plain {type(MODELS.build(model)).__name__}, no teacher")
    return config


def _weights(config: Any) -> Any:
    """Build the model with its teacher's and its own initial weights."""
    from mmengine.registry import MODELS

    from kd_engine.student import is_distilled

    model = MODELS.build(copy.deepcopy(config.model))
    if is_distilled(config.model):
        checkpoint = config.model.teacher.checkpoint
        print(f"teacher: {checkpoint or 'no checkpoint, random weights'}")
    model.init_weights()
    print("student: initial weights")
    return model


def _data(config: Any, images: bool) -> None:
    from kd_det.data_check import check_dataset_config, raise_on_errors
    from kd_engine.runs import dataset_configs, require_datasets

    require_datasets(config)
    reports = {}
    for dataset in dataset_configs(config).values():
        for report in check_dataset_config(dataset, decode=images):
            reports[report.source] = report
    for report in reports.values():
        print(report.source)
        for note in report.notes:
            print(f"  {note}")
    raise_on_errors(list(reports.values()))


def _step(model: Any, config: Any, layer: str | None) -> None:
    from kd_det.one_step import one_step

    print(one_step(model, config, layer))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="config file, or mmdet::<name> of an installed one")
    parser.add_argument(
        "--cfg-options", nargs="+", metavar="KEY=VALUE", help="change settings of the config"
    )
    parser.add_argument("--images", action="store_true", help="decode every picture")
    parser.add_argument(
        "--gradients", metavar="LAYER", help="show each loss's share of the gradient there"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
