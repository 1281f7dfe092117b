"""What the tools ask of detection."""

from __future__ import annotations

from mmengine.config import Config

from kd_det.class_check import check_class_counts
from kd_det.data_check import raise_on_errors
from kd_det.data_report import merge_reports
from kd_det.evaluator_check import check_evaluators
from kd_det.export_check import check_export
from kd_det.mmcv_ops import provide_ops
from kd_det.probe import dry_run
from kd_det.run_data_check import check_all
from kd_engine.data_warnings import warning_line

__all__ = [
    "STUDENT_ALONE",
    "check_data",
    "check_export",
    "check_test",
    "dry_run",
    "environment",
]

STUDENT_ALONE = "DetInferencer('{config}', '{weights}') in plain mmdet"


def environment() -> list[tuple[str, str]]:
    """Say who serves mmcv's operators."""
    served = provide_ops()
    origin = "mmcv's compiled ones" if served == "compiled" else "torchvision (nothing compiled)"
    return [("operators", origin)]


def check_data(config: Config, images: bool = False) -> list[str]:
    """Check annotations and classes; with ``images`` decode every picture.

    Returns:
        Each source, the notes on it and the warnings.

    Raises:
        ValueError: If anything would harm the training.
    """
    reports = merge_reports(check_all(config, images))
    raise_on_errors(reports)
    check_class_counts(config)
    return [
        line
        for report in reports
        for line in (
            report.source,
            *(f"  {note}" for note in report.notes),
            *map(warning_line, report.warnings),
        )
    ]


def check_test(config: Config, teacher: bool = False) -> None:
    """Check that the evaluator scores the images that the test data has.

    Raises:
        ValueError: If its annotations are of other images.
    """
    raise_on_errors(check_evaluators(config, ("test",), required=("test",)))
