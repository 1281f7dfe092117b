"""Box offsets of regions: the student's follow the teacher's in regions of the foreground."""

from __future__ import annotations

import torch
from torch import Tensor

from kd_core.checks import check_indices, check_positive
from kd_core.losses.base import DistillationLoss
from kd_core.losses.soft_target import class_doubts


class RegionBoxLoss(DistillationLoss):
    """Absolute difference of the box offsets that two ROI heads predict for the same regions.

        loss = loss_weight * mean over foreground regions of sum over 4 of |student - teacher|
        of heads with boxes for each class: those of the region's own class; 0 without foreground

    After Chen et al., "Learning Efficient Object Detection Models with Knowledge Distillation",
    NIPS 2017, which regresses the student's boxes to the teacher's. Status: ours; their bounded
    loss also takes the ground truth. Both heads must have the same box coder. In a config the
    labels are what the student's own loss gets:
    ``inputs=dict(labels="roi_head.bbox_head.loss_cls.input[1]")``.

    Args:
        classes: Number of classes without the background, whose label it is; ``None`` takes it from
            boxes for each class.
        loss_weight: Factor on the returned loss.

    Raises:
        ValueError: If ``loss_weight`` is negative or not finite, or ``classes`` is not above 0.

    Example:
        >>> import torch
        >>> labels = torch.tensor([0, 2])  # the second is background
        >>> RegionBoxLoss()(torch.zeros(2, 8), torch.ones(2, 8), labels).item()
        4.0
    """

    requires = ("labels",)
    takes = ("shares",)
    scores_apart = True  # what doubts takes is no output that it compares

    def __init__(self, classes: int | None = None, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        if classes is not None:
            check_positive(classes=classes)
        self.classes = classes

    def forward(
        self, student: Tensor, teacher: Tensor, labels: Tensor, shares: Tensor | None = None
    ) -> Tensor:
        """Compare the offsets of the boxes.

        Args:
            student: Offsets (R, 4), or (R, 4 * classes).
            teacher: The same, either form; no gradient flows into them.
            labels: Class of each region, integers (R,); the background's is the number of classes.
            shares: Factor (R,) on each region's difference, of several teachers; the divisor stays.

        Returns:
            Scalar loss in float32.

        Raises:
            ValueError: If the offsets are not of these forms or of the same regions, the number of
                classes is unknown, or a label is out of range.
        """
        classes = self._count(student, teacher)
        check_indices("labels", labels, len(student), classes + 1)
        inside = labels < classes
        chosen = labels.clamp(max=classes - 1)
        own, target = (_of_class(one, chosen) for one in (student, teacher.detach()))
        parts = (own - target).abs().sum(dim=1) * inside
        total = (parts if shares is None else shares * parts).sum()
        return self.loss_weight * total / inside.sum().clamp(min=1)

    def doubts(self, scores: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return how unsure a teacher's class scores (R, classes + 1) are of each region."""
        return class_doubts(scores, labels)

    def _count(self, student: Tensor, teacher: Tensor) -> int:
        """Return the number of classes."""
        for one in (student, teacher):
            if one.dim() != 2 or one.shape[1] % 4 or len(one) != len(student):
                raise ValueError(
                    "student and teacher must be a batch of box offsets (R, 4) or (R, 4 * classes) "
                    f"of the same regions, but student is {tuple(student.shape)} and teacher is "
                    f"{tuple(teacher.shape)}."
                )
        counts = {one.shape[1] // 4 for one in (student, teacher)} - {1}
        counts |= {self.classes} if self.classes is not None else set()
        if len(counts) != 1:
            raise ValueError(
                "the number of classes must be one, but student is "
                f"{tuple(student.shape)}, teacher is {tuple(teacher.shape)} and classes is "
                f"{self.classes}. Set classes for heads with one box for all classes."
            )
        return int(counts.pop())


def _of_class(boxes: Tensor, labels: Tensor) -> Tensor:
    """Pick the offsets (R, 4) of each region's class."""
    of_classes = boxes.float().reshape(len(boxes), -1, 4)  # (R, classes or 1, 4)
    number = labels if of_classes.shape[1] > 1 else torch.zeros_like(labels)
    return of_classes[torch.arange(len(boxes), device=boxes.device), number.long()]
