"""Task of classification: what every command needs to know about classifiers."""

from __future__ import annotations

from mmengine.config import Config

from kd_cls.data_check import check_datasets, check_test_data
from kd_cls.distilled import ADAPTER
from kd_cls.teacher_check import check_teacher
from kd_engine.doctor.versions import version_of
from kd_engine.task import Task


class Classification(Task):
    """Image classifiers; see :class:`kd_engine.task.Task`."""

    output = "rows of logits"

    def environment(self) -> list[tuple[str, str]]:
        """Return the libraries of classification and their versions."""
        return [("timm", version_of("timm"))]

    def check_data(self, config: Config, images: bool = False) -> list[str]:
        """Check counts and classes; with ``images`` decode every image."""
        return check_datasets(config, images)

    def check_teacher(self, config: Config) -> list[str]:
        """Compare the classes that trained networks know with the data's."""
        return check_teacher(config)

    def check_test(self, config: Config, teacher: bool = False) -> None:
        """Check that the student, or the teacher, has as many classes as the test data."""
        check_test_data(config, teacher)


TASK = Classification(ADAPTER)
