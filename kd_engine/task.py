"""Base class of a task: what every command needs to know about it, with defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from torch import nn

from kd_engine.adapter import ModelAdapter
from kd_engine.doctor.probe import (
    normalized,
    probe_images,
    random_images,
    run_once,
)
from kd_engine.export_check import compare_export
from kd_engine.export_files import kdkit_command


class Task:
    """Base class of a task, as ``train``, ``test``, ``check`` and ``export`` use it.

    A package makes one and names it in its entry points (:mod:`kd_engine.entry_points`). These
    answers are those of any model that turns images (N, 3, H, W) into rows (N, ...); a task
    overrides what it knows better.

    Args:
        adapter: How its models are fed and compared.
    """

    export_defaults: Mapping[str, Any] = {}  # settings that an exported config needs
    output = "outputs"  # what the model makes of images, in the plural
    data_dependent = False  # whether what a model computes depends on what it finds in an image

    def __init__(self, adapter: ModelAdapter | None = None) -> None:
        self.adapter = adapter or ModelAdapter()

    def environment(self) -> list[tuple[str, str]]:
        """Return names and versions of the libraries that the task needs."""
        return []

    def check_data(self, config: Config, images: bool = False) -> list[str]:
        """Check the data before a training.

        Args:
            config: The config of a run.
            images: Decode every image too.

        Returns:
            Lines about the data.

        Raises:
            ValueError: If anything would harm the training or falsify the score.
        """
        return []

    def check_teacher(self, config: Config) -> list[str]:
        """Check the trained networks of a config.

        Returns:
            Lines about them.

        Raises:
            ValueError: If one does not fit the data.
        """
        return []

    def check_test(self, config: Config, teacher: bool = False) -> None:
        """Check what could falsify a score on the test data.

        Args:
            config: The config of a run.
            teacher: The score is the teacher's, not the student's.

        Raises:
            ValueError: If something does.
        """

    def dry_run(self, model: nn.Module, size: tuple[int, int] | None = None) -> None:
        """Run a model on random images, without gradients; its modes stay as they are.

        Args:
            model: The model.
            size: Height and width in pixels; ``None`` takes what suits the model.
        """
        run_once(model, size or self.adapter.image_size(model))

    def test_image(self, config: Config, size: tuple[int, int] | None = None) -> tuple[Any, str]:
        """Return one test image as :meth:`predict` takes it, and a text about its origin and size.

        Args:
            config: The config of a run.
            size: Height and width in pixels of a random image; None takes the first one of the
                test data, or a random one of that size if the data is absent.
        """
        if size is not None:
            images, origin = random_images(1, size), "a random image"
        else:
            images, origin = probe_images(config, 1)
        return images, f"{origin}, {images.shape[2]} x {images.shape[3]}"

    def predict(self, model: nn.Module, image: Any) -> Any:
        """Run a model on an image of :meth:`test_image`, from its pixels to what it finds."""
        return model(normalized(model, image), mode="tensor")

    def uncounted(self, model: nn.Module) -> str:
        """Return which layers of a model hide their multiply-adds from a counter, or ""."""
        return ""

    def check_export(self, config: Config, checkpoint: str, exported: str, plain: str) -> str:
        """Compare an exported student with the distilled model: see ``compare_export``."""
        return compare_export(config, checkpoint, exported, plain, self.output)

    def student_alone(self, config: Config, plain: str, weights: str) -> str:
        """Return how an exported student is used: what it needs, and a command to copy.

        Args:
            config: The config of the run.
            plain: The exported config.
            weights: The exported weights.
        """
        command = kdkit_command("test", plain, weights)
        return f"it needs kdkit; to score it on its test data:\n{command}"

    def metric_names(self, metric: Any) -> list[str]:
        """Return the values that a metric gives, where it may give none; nothing by default."""
        return []
