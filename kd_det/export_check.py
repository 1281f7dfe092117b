"""Check of an exported detector: plain mmdet predicts what the distilled model predicts."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from kd_det.probe import test_batch
from kd_engine.export_check import models_to_compare

_CLOSE = 1e-4  # pixels, scores; on a CPU the two are equal


def check_export(config: Config, checkpoint: str, exported: str, plain: str) -> str:
    """Compare the predictions of an exported student with those of the distilled model.

    The first is built from the exported config alone, and torch loads the exported weights into
    it strictly. The second is the student of the training checkpoint with a distiller attached;
    its teacher takes no part in a prediction, so a copy of the student stands in for it. Both
    keep boxes of every score, so that there are boxes to compare.

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
        ValueError: If the predictions differ, or there is none.
    """
    alone, distilled = models_to_compare(config, checkpoint, exported, plain, _of_every_score)
    batch, source = test_batch(config)
    boxes = _compare(_predict(alone, batch), _predict(distilled, batch))
    return (
        f"plain {type(alone).__name__} loads {Path(exported).name} strictly and predicts the same "
        f"{boxes} boxes as the distilled model on {source}"
    )


def _of_every_score(model: Mapping[str, Any]) -> dict[str, Any]:
    """Let a model keep boxes of every score."""
    if not model.get("test_cfg"):
        return dict(model)
    return {**model, "test_cfg": _without_threshold(model["test_cfg"])}


def _without_threshold(content: Any) -> Any:
    if not isinstance(content, Mapping):
        return content
    return {
        key: 0.0 if key == "score_thr" else _without_threshold(value)
        for key, value in content.items()
    }


def _predict(model: nn.Module, batch: dict[str, Any]) -> list[dict[str, Tensor]]:
    detector: Any = model
    with torch.no_grad():
        samples = detector.test_step(copy.deepcopy(batch))
    return [
        {key: getattr(sample.pred_instances, key) for key in ("bboxes", "scores", "labels")}
        for sample in samples
    ]


def _compare(plain: list[dict[str, Tensor]], distilled: list[dict[str, Tensor]]) -> int:
    for number, (one, other) in enumerate(zip(plain, distilled, strict=True)):
        for key in one:
            if one[key].shape != other[key].shape:
                raise ValueError(
                    f"plain mmdet must predict what the distilled model predicts, but on image "
                    f"{number} it finds {len(one[key])} boxes instead of {len(other[key])}."
                )
            difference = (one[key].double() - other[key].double()).abs()
            if difference.numel() and float(difference.max()) > _CLOSE:
                raise ValueError(
                    f"plain mmdet must predict what the distilled model predicts, but on image "
                    f"{number} {key} differ by up to {float(difference.max()):.3g}."
                )
    boxes = sum(len(one["scores"]) for one in plain)
    if not boxes:
        raise ValueError("there is no box to compare: the model predicts none, even of score 0.")
    return boxes
