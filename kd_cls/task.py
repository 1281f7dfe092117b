"""What the tools ask of classification."""

from __future__ import annotations

from mmengine.config import Config
from torch import nn

from kd_cls.classifier import image_size_of
from kd_cls.data_check import check_datasets, check_test_data
from kd_cls.teacher_check import check_teacher
from kd_engine.doctor.probe import run_once
from kd_engine.doctor.versions import version_of
from kd_engine.export_check import compare_export
from kd_engine.export_files import tool_command

__all__ = [
    "EXPORT_DEFAULTS",
    "check_data",
    "check_export",
    "check_teacher",
    "check_test",
    "dry_run",
    "environment",
    "student_alone",
]

EXPORT_DEFAULTS: dict[str, object] = {}


def environment() -> list[tuple[str, str]]:
    """List the libraries of classification and their versions."""
    return [("timm", version_of("timm"))]


def check_data(config: Config, images: bool = False) -> list[str]:
    """Check counts and classes; with ``images`` decode every picture.

    Returns:
        Lines about each split.

    Raises:
        ValueError: If anything would harm the training or falsify the score.
    """
    return check_datasets(config, images)


def check_test(config: Config, teacher: bool = False) -> None:
    """Check that the student, or the teacher, has as many classes as the test data.

    Raises:
        ValueError: If it has not.
    """
    check_test_data(config, teacher)


def dry_run(model: nn.Module, size: tuple[int, int] | None = None) -> None:
    """Run a classifier on random images, without gradients; its modes stay as they are.

    Args:
        model: The classifier.
        size: Height and width in pixels; ``None`` takes what the classifier wants, else 32 x 32.
    """
    run_once(model, size or image_size_of(model))


def check_export(config: Config, checkpoint: str, exported: str, plain: str) -> str:
    """Compare the exported student's logits with the distilled model's: see compare_export."""
    return compare_export(config, checkpoint, exported, plain, "rows of logits")


def student_alone(config: Config, plain: str, weights: str) -> str:
    """Say how an exported classifier is used: what it needs, and a command to copy.

    Args:
        config: The config of the run.
        plain: The exported config.
        weights: The exported weights.
    """
    command = tool_command("test", plain, weights)
    return f"it needs kdkit; to score it on its test data:\n{command}"
