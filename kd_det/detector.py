"""An ordinary mmdet detector with a teacher attached."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from mmdet.structures import DetDataSample
from mmengine.logging import print_log
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from torch import Tensor, nn

from kd_core import Distiller, FrozenTeacher, GradientShares, Term
from kd_core.term import layers_of
from kd_engine.build import build_distilled
from kd_engine.data.renormalize import Renormalize


def DistilledDetector(  # noqa: N802  a config names it as a type
    student: Mapping[str, Any],
    teacher: Mapping[str, Any],
    terms: Mapping[str, Mapping[str, Any]],
    gradient_shares: Mapping[str, Any] | None = None,
    dry_run_size: tuple[int, int] = (256, 256),
) -> nn.Module:
    """Build a student detector, a frozen teacher, and attach a distiller.

    What comes back is the student itself, of its own class: it trains, predicts, saves and
    exports as ever, and returns ``loss_<term>`` beside its own losses in training.

    Args:
        student: Model config of any mmdet detector.
        teacher: ``dict(config=, checkpoint=, allow_partial=False, precision=None)``. ``config``
            is a file, an ``mmdet::`` name or a model config; ``checkpoint`` a file or URL;
            ``precision`` "float16" or "bfloat16" runs the teacher's forward in it.
        terms: Name to ``dict(loss=, layers=, teacher_layers=, weight=, schedule=)``.
        gradient_shares: ``dict(layer=, interval=50)`` logs each term's share of the gradient
            norm at one of the student's layers.
        dry_run_size: Height and width in pixels of the images of the dry run.

    Returns:
        The student, with the distiller as its child ``distiller``.

    Raises:
        ValueError: If a layer does not exist or shapes do not fit.
        kd_core.checkpoint.CheckpointError: If the teacher's checkpoint is unsafe, broken or
            does not fit.
    """
    with DefaultScope.overwrite_default_scope(_scope()):
        return build_distilled(
            student,
            teacher,
            terms,
            functools.partial(attach, dry_run_size=dry_run_size),
            gradient_shares,
        )


def attach(
    student: nn.Module,
    teacher: nn.Module,
    terms: Mapping[str, Term],
    *,
    precision: torch.dtype | None = None,
    gradient_shares: GradientShares | None = None,
    dry_run_size: tuple[int, int] = (256, 256),
) -> Distiller:
    """Attach a teacher to a student; both are mmdet detectors that exist already.

    Args:
        student: The detector to train.
        teacher: The trained detector.
        terms: Name to term.
        precision: Autocast dtype of the teacher's forward.
        gradient_shares: Where and how often to log gradient shares.
        dry_run_size: Height and width in pixels of the dry run.

    Returns:
        The distiller.
    """
    used = [layer.module for layer in layers_of(terms, "teacher")]
    forward = DetectorForward(used, _renormalizer(student, teacher))
    distiller = Distiller(FrozenTeacher(teacher, forward, precision), terms, gradient_shares)
    here = [layer.module for layer in layers_of(terms, "student")]
    distiller.attach(student, example=_example(dry_run_size), forward=DetectorForward(here))
    print_log(f"Layers of student and teacher:\n{distiller.shape_table}", "current")
    return distiller


class DetectorForward:
    """Run as little of a detector as the tapped layers need.

    Args:
        paths: Dotted paths of the tapped layers.
        renormalize: What to do with the images first.
    """

    def __init__(self, paths: Iterable[str], renormalize: Renormalize | None = None) -> None:
        roots = {path.split(".")[0] for path in paths}
        self.backbone_only = roots == {"backbone"}
        self.features_only = roots <= {"backbone", "neck"}
        self.renormalize = renormalize

    def __call__(
        self,
        model: nn.Module,
        inputs: Tensor,
        data_samples: Sequence[DetDataSample] | None = None,
        mode: str = "loss",
    ) -> Any:
        """Run the detector on a batch.

        Args:
            model: The detector.
            inputs: Images (N, 3, H, W), preprocessed for the student.
            data_samples: Their samples.
            mode: The student's mode; a detector whose head is tapped always runs as "tensor".

        Returns:
            Whatever the part that ran returns.
        """
        detector: Any = model
        if self.renormalize is not None:
            inputs = self.renormalize(inputs, data_samples)
        if self.backbone_only:
            return detector.backbone(inputs)
        if self.features_only:
            return detector.extract_feat(inputs)
        return detector(inputs, data_samples, mode="tensor")


def _scope() -> str | None:
    """Return the scope to build in: mmdet, unless a Runner has set one."""
    return "mmdet" if DefaultScope.get_current_instance() is None else None


def _renormalizer(student: nn.Module, teacher: nn.Module) -> Renormalize | None:
    renormalize = Renormalize(_preprocessor(student, "student"), _preprocessor(teacher, "teacher"))
    return renormalize if renormalize.needed else None


def _preprocessor(model: nn.Module, owner: str) -> nn.Module:
    found = getattr(model, "data_preprocessor", None)
    if not isinstance(found, nn.Module):
        raise ValueError(
            f"the {owner} ({type(model).__name__}) has no data_preprocessor, so it is no mmdet "
            "detector. Use kd_core.Distiller for other models."
        )
    return found


def _example(size: tuple[int, int]) -> tuple[Tensor, list[DetDataSample]]:
    height, width = size
    meta = {
        "img_shape": size,
        "ori_shape": size,
        "pad_shape": size,
        "batch_input_shape": size,
        "scale_factor": (1.0, 1.0),
        "img_id": 0,
    }
    samples = []
    for _ in range(2):
        sample = DetDataSample(metainfo=meta)
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[0.0, 0.0, width / 2, height / 2]]), labels=torch.zeros(1).long()
        )
        samples.append(sample)
    return torch.randn(2, 3, height, width), samples
