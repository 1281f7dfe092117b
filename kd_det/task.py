"""Task of detection: what every command needs to know about detectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch import nn

from kd_det.checks.classes import check_class_counts
from kd_det.checks.data import raise_on_errors
from kd_det.checks.evaluator import check_evaluators
from kd_det.checks.report import merge_reports
from kd_det.checks.run import check_all
from kd_det.checks.teacher import check_teacher
from kd_det.detector import ADAPTER
from kd_det.export_check import check_export
from kd_det.metric_names import metric_names
from kd_det.mmcv_ops import provide_ops
from kd_det.outputs import predict
from kd_det.probe import dry_run, random_batch, test_batch
from kd_engine.doctor.data_warnings import warning_line
from kd_engine.evaluate import plain_config
from kd_engine.export_files import python_command
from kd_engine.task import Task


class Detection(Task):
    """mmdet's detectors; see :class:`kd_engine.task.Task`."""

    data_dependent = True  # proposals, and the boxes that NMS compares
    export_defaults = dict(  # without a visualizer mmdet's DetInferencer fails
        visualizer=dict(
            type="DetLocalVisualizer",
            vis_backends=[dict(type="LocalVisBackend")],
            name="visualizer",
        )
    )

    def environment(self) -> list[tuple[str, str]]:
        """Return which library serves mmcv's operators."""
        served = provide_ops()
        origin = (
            "mmcv's compiled ones" if served == "compiled" else "torchvision (nothing compiled)"
        )
        return [("operators", origin)]

    def check_data(self, config: Config, images: bool = False) -> list[str]:
        """Check annotations and classes; with ``images`` decode every image.

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

    def check_teacher(self, config: Config) -> list[str]:
        """Compare the classes that the teacher knows with the data's."""
        return check_teacher(config)

    def check_test(self, config: Config, teacher: bool = False) -> None:
        """Check that the evaluator scores the images that the test data has.

        Raises:
            ValueError: If its annotations are of other images.
        """
        raise_on_errors(check_evaluators(config, ("test",), required=("test",)))

    def dry_run(self, model: nn.Module, size: tuple[int, int] | None = None) -> None:
        """Run a detector on random images of its fixed size, 256 x 320, or another size."""
        dry_run(model, size)

    def test_image(self, config: Config, size: tuple[int, int] | None = None) -> tuple[Any, str]:
        """Return one test image, as a batch, and a text about its origin and size."""
        if size is not None:
            batch, origin = random_batch(1, size), "a random image"
        else:
            batch, origin = test_batch(config, 1)
        height, width = batch["inputs"][0].shape[1:]
        return batch, f"{origin}, {height} x {width}"

    def predict(self, model: nn.Module, image: Any) -> Any:
        """Predict the boxes of an image, as ``kdkit test`` does."""
        return predict(model, image)

    def uncounted(self, model: nn.Module) -> str:
        """Return the deformable convolutions of a compiled mmcv, of which torch sees nothing."""
        if provide_ops() != "compiled":
            return ""
        kinds = {type(module).__name__ for module in model.modules()}
        return ", ".join(sorted(kind for kind in kinds if "DeformConv2d" in kind))

    def check_export(self, config: Config, checkpoint: str, exported: str, plain: str) -> str:
        """Compare the boxes of the exported student with those of the distilled model."""
        return check_export(config, checkpoint, exported, plain)

    def student_alone(self, config: Config, plain: str, weights: str) -> str:
        """Return what an exported detector needs, and a command that predicts with it."""
        return predict_command(config, plain, weights)

    def metric_names(self, metric: Any) -> list[str]:
        """Return the names of the values that a metric of mmdet reports if anything was found."""
        return metric_names(metric)


TASK = Detection(ADAPTER)


def predict_command(config: Config, plain: str, weights: str) -> str:
    """Return how an exported detector is used: what it needs, and a command to copy.

    Args:
        config: The config of the run.
        plain: The exported config.
        weights: The exported weights.
    """
    if not config.get("test_dataloader"):
        return "its config has no test_dataloader, from which DetInferencer takes the pipeline."
    if Path(weights).suffix != ".pth":
        return (
            f"{weights} is for safetensors.torch.load_file; mmdet's DetInferencer reads .pth files "
            "only, so export a .pth to predict with it."
        )
    first, needs = "", "mmdet alone"
    if "kd_" in plain_config(config).pretty_text:
        first, needs = "import kd_det; ", "mmdet, and kdkit for parts of its model"
    elif provide_ops() != "compiled":
        first = "import kd_det; "
        needs = "mmdet, and kd_det of kdkit where mmcv has no compiled operators, as here"
    code = (
        f"{first}from mmdet.apis import DetInferencer; "
        f"DetInferencer({plain!r}, {weights!r})('IMAGE.jpg', out_dir='found', no_save_pred=False)"
    )
    return f"it needs {needs}; to predict:\n{python_command(code)}"
