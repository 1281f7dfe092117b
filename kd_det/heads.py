"""Heads of mmdet's detectors: how they are run for a teacher and in a dry run."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from mmcv.ops import MaskedConv2d
from mmdet.models.detectors import SingleStageDetector, TwoStageDetector
from mmdet.models.detectors.base_detr import DetectionTransformer
from torch import Tensor, nn

from kd_core.layers import LayerPath

_PARTS = {  # of a ROI head: those that run on the boxes of one extractor
    "bbox_roi_extractor": "bbox",
    "shared_head": "bbox",
    "bbox_head": "bbox",
    "mask_roi_extractor": "mask",
    "mask_head": "mask",
}


def run_heads(model: Any, roots: frozenset[str], images: Tensor, samples: Any, boxes: Any) -> Any:
    """Run a detector with its heads, but no more of it than the selected layers need.

    mmdet's own ``mode="tensor"`` calls ``forward`` of a head, which runs none of its hooks.

    Args:
        model: The detector.
        roots: First parts of the paths of the layers that are read.
        images: Images (N, 3, H, W), preprocessed for the detector.
        samples: Their samples.
        boxes: Kind of a ROI head's part, and stage, to boxes (R, 5) with the number of their image
            first, on which it runs; ``None`` to run it on the detector's own proposals.
    """
    forward = getattr(type(model), "_forward", None)
    if forward is DetectionTransformer._forward and isinstance(model, DetectionTransformer):
        inputs = model.forward_transformer(model.extract_feat(images), samples)
        return model.bbox_head(**inputs)
    if forward is SingleStageDetector._forward:
        return model.bbox_head(model.extract_feat(images))
    if forward is not TwoStageDetector._forward or ("roi_head" in roots and boxes is None):
        return model(images, samples, mode="tensor")
    features = model.extract_feat(images)
    found = [model.rpn_head(features)] if "rpn_head" in roots else []
    for part, of_images in (boxes or {}).items():
        found.append(_run_part(model.roi_head, part, features, of_images))
    return found


def takes_batches(model: nn.Module) -> bool:
    """Return whether a detector in eval mode runs its head on several images at once.

    Guided Anchoring does not: mmcv's masked convolution takes a single image.
    """
    return not any(isinstance(module, MaskedConv2d) for module in model.modules())


def followed_boxes(
    student: nn.Module, teacher: nn.Module, layers: Iterable[LayerPath]
) -> dict[str, LayerPath]:
    """Return what gives the boxes of the student's ROI head, for each part of the teacher's.

    Args:
        student: The student.
        teacher: The teacher, whose ROI head runs on the student's boxes.
        layers: The teacher's layers that are read.

    Raises:
        ValueError: If the student has no ROI head, the teacher's needs more than boxes, or the
            student has a cascade and the teacher has not.
    """
    paths = [path.module.split(".") for path in layers if path.module.startswith("roi_head.")]
    if not paths:
        return {}
    kinds = {side: getattr(model, "roi_head", None) for side, model in (("student", student),
             ("teacher", teacher))}  # fmt: skip
    _require_roi_heads(kinds["student"], kinds["teacher"])
    return {part: path for names in paths for part, path in _boxes_of(names, kinds)}


def _boxes_of(names: list[str], heads: Mapping[str, Any]) -> Iterable[tuple[str, LayerPath]]:
    part = _PARTS.get(names[1])
    if part is None:
        raise ValueError(
            f"a teacher's ROI head is read at one of {', '.join(_PARTS)}, but a term reads "
            f"{'.'.join(names)!r}, which does not run on boxes alone."
        )
    stage = f".{names[2]}" if _is_cascade(heads["teacher"]) and len(names) > 2 else ""
    own = stage if _is_cascade(heads["student"]) else ""
    yield part + stage, LayerPath.parse(f"roi_head.{part}_roi_extractor{own}.input[1]")


def _require_roi_heads(student: Any, teacher: Any) -> None:
    if student is None or teacher is None:
        raise ValueError(
            "a term reads the teacher's roi_head, which runs on the boxes of the student's, so "
            "both must have one, but "
            f"the {'student' if student is None else 'teacher'} has none. "
            "Compare layers of backbone and neck, or heads of one kind."
        )
    if tuple(inspect.signature(teacher._bbox_forward).parameters) not in (
        ("x", "rois"),
        ("stage", "x", "rois"),
    ):
        raise ValueError(
            "a teacher's ROI head must need features and boxes alone, but "
            f"{type(teacher).__name__} needs more. Compare layers of backbone and neck."
        )
    if _is_cascade(student) and not _is_cascade(teacher):
        raise ValueError(
            "a student with a cascade needs a teacher with one, stage for stage, but the "
            f"teacher's ROI head is a {type(teacher).__name__}."
        )


def _is_cascade(roi_head: Any) -> bool:
    return isinstance(roi_head.bbox_head, nn.ModuleList)


def _run_part(roi_head: Any, part: str, features: Any, boxes: Any) -> Any:
    kind, _, stage = part.partition(".")
    first = boxes if isinstance(boxes, Tensor) else boxes[0]  # an extractor may serve the masks too
    before = [int(stage)] if stage else []
    return getattr(roi_head, f"_{kind}_forward")(*before, features, first)
