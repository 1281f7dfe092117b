"""Check of an exported detector: plain mmdet predicts what the distilled model predicts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mmengine.config import Config
from torch import Tensor

from kd_det.outputs import of_every_score, predictions, raw_outputs, require_same
from kd_det.probe import test_batch
from kd_engine.export_check import models_to_compare


def check_export(config: Config, checkpoint: str, exported: str, plain: str) -> str:
    """Compare the predictions of an exported student with those of the distilled model.

    The first is built from the exported config alone, and torch loads the exported weights into
    it strictly. The second is the student of the training checkpoint with a distiller attached;
    its teacher takes no part in a prediction, so a copy of the student stands in for it. Both
    keep boxes of every score, so that there are boxes to compare; where there are none, the
    outputs of the heads are compared.

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
        ValueError: If the predictions differ.
    """
    alone, distilled = models_to_compare(config, checkpoint, exported, plain, of_every_score)
    batch, source = test_batch(config)
    found = predictions(alone, batch)
    require_same(found, predictions(distilled, batch))
    same = f"predicts the same {_counted(found)} as the distilled model"
    if not any(tensor.numel() for tensor in found.values()):
        ours, theirs = raw_outputs(alone, batch), raw_outputs(distilled, batch)
        number = require_same(ours, theirs, "output")
        same = f"outputs the same {number:,} numbers as the distilled model, of which no box comes,"
    return (
        f"plain {type(alone).__name__} loads {Path(exported).name} strictly and {same} on {source}"
    )


def _counted(found: Mapping[str, Tensor]) -> str:
    """Return a number of boxes in words, or of what else was predicted."""
    boxes = [len(tensor) for place, tensor in found.items() if place.endswith(".bboxes")]
    if boxes:
        return f"{sum(boxes)} boxes"
    return f"{len(found)} maps"
