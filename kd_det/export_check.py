"""Check of an exported detector: plain mmdet predicts what the distilled model predicts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch import Tensor, nn

from kd_det.outputs import of_every_score, predictions, raw_outputs, require_same
from kd_det.probe import test_batch
from kd_engine.export_check import models_to_compare


def check_export(config: Config, checkpoint: str, exported: str, plain: str) -> str:
    """Compare the predictions of an exported student with those of the distilled model.

    The first is built from the exported config alone, and torch loads the exported weights into
    it strictly. The second is the student of the training checkpoint with a distiller attached;
    its teacher takes no part in a prediction, so a copy of the student stands in for it. Both
    keep boxes of every score, so that there are boxes to compare; where there are none, the
    outputs of the heads are compared, as for a detector with which mmdet itself cannot predict.

    Args:
        config: The config of the run.
        checkpoint: The run's checkpoint.
        exported: The exported weights.
        plain: The exported config.

    Returns:
        A sentence that names what was compared.

    Raises:
        kd_core.checkpoint.CheckpointError: If the checkpoint does not fit the student.
        RuntimeError: If the exported weights do not fit the plain model.
        ValueError: If the predictions differ, or one of the two fails to predict.
    """
    alone, distilled = models_to_compare(config, checkpoint, exported, plain, of_every_score)
    batch, source = test_batch(config)
    (found, fault), (other, other_fault) = (_predicted(one, batch) for one in (alone, distilled))
    if fault != other_fault:
        raise ValueError(
            "plain mmdet must predict what the distilled model predicts, but one of them fails: "
            f"{fault or other_fault}."
        )
    require_same(found, other)
    same = f"predicts the same {_counted(found)} as the distilled model"
    if not any(tensor.numel() for tensor in found.values()):
        number = require_same(raw_outputs(alone, batch), raw_outputs(distilled, batch), "output")
        reason = (
            f"from which mmdet fails to predict ({fault})," if fault else "of which no box comes,"
        )
        same = f"outputs the same {number:,} numbers as the distilled model, {reason}"
    return (
        f"plain {type(alone).__name__} loads {Path(exported).name} strictly and {same} on {source}"
    )


def _predicted(model: nn.Module, batch: Mapping[str, Any]) -> tuple[dict[str, Tensor], str]:
    """Return what a detector predicts, or why it cannot: mmdet's own SSD fails there."""
    try:
        return predictions(model, batch), ""
    except Exception as error:
        return {}, f"{type(error).__name__}: {error}"


def _counted(found: Mapping[str, Tensor]) -> str:
    """Return a number of boxes in words, or of what else was predicted."""
    boxes = [len(tensor) for place, tensor in found.items() if place.endswith(".bboxes")]
    if boxes:
        return f"{sum(boxes)} boxes"
    return f"{len(found)} maps"
