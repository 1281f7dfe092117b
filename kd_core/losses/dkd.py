"""DKD: the target class and the other classes are distilled apart."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kd_core.checks import check_indices, check_logits, check_positive, check_weights
from kd_core.losses.base import DistillationLoss
from kd_core.losses.soft_target import class_doubts


class DKDLoss(DistillationLoss):
    """Soft targets in two parts: target class against the rest, and the rest among themselves.

        p = softmax(teacher / t), q = softmax(student / t), y = label
        target = mean over N of KL of (p_y, 1 - p_y) from (q_y, 1 - q_y)
        others = mean over N of KL of p from q, both without y and scaled to sum 1
        loss   = loss_weight * t^2 * (target_weight * target + others_weight * others)

    Zhao, Cui, Song, Qiu and Liang, "Decoupled Knowledge Distillation", CVPR 2022,
    https://arxiv.org/abs/2203.08679. Status: the authors' code (mdistiller). With weights 1 and,
    for each sample, 1 - p_y it would be SoftTargetLoss. The authors warm it up over 20 epochs
    (``LinearWarmup``), and choose ``others_weight`` from 1 to 10 by the teacher's confidence.

    Args:
        target_weight: Factor on the target part; the authors' alpha.
        others_weight: Factor on the part of the other classes; the authors' beta.
        temperature: Divisor t of both logits, above 0.
        loss_weight: Factor on the returned loss.

    Raises:
        ValueError: If a weight is negative or not finite, or ``temperature`` is not above 0 and
            finite.

    Example:
        >>> import torch
        >>> labels = torch.tensor([3, 7])
        >>> DKDLoss()(torch.zeros(2, 10), torch.ones(2, 10), labels).item()
        0.0
    """

    requires = ("labels",)
    takes = ("shares",)

    def __init__(
        self,
        target_weight: float = 1.0,
        others_weight: float = 8.0,
        temperature: float = 4.0,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight)
        check_weights(target_weight=target_weight, others_weight=others_weight)
        check_positive(temperature=temperature)
        self.target_weight = target_weight
        self.others_weight = others_weight
        self.temperature = temperature

    def forward(
        self, student: Tensor, teacher: Tensor, labels: Tensor, shares: Tensor | None = None
    ) -> Tensor:
        """Compare the class scores of a batch.

        Args:
            student: Logits (N, classes).
            teacher: Logits (N, classes); no gradient flows into them.
            labels: Class of each sample, integers (N,).
            shares: Factor (N,) on each sample's divergences, of several teachers.

        Returns:
            Scalar loss in float32.

        Raises:
            ValueError: If logits are not 2-D or differ in shape, if there is only one class, or
                if the labels are not N of these classes.
        """
        check_logits(student, teacher)
        classes = student.shape[1]
        if classes < 2:
            raise ValueError(
                "student and teacher must be logits of two or more classes, but they are "
                f"{tuple(student.shape)}."
            )
        check_indices("labels", labels, len(student), classes)
        is_target = F.one_hot(labels.long(), classes).bool()
        student_parts = _parts(student / self.temperature, is_target)
        teacher_parts = _parts(teacher.detach() / self.temperature, is_target)
        target, others = (
            F.kl_div(one, other, reduction="none", log_target=True).sum(dim=1)
            for one, other in zip(student_parts, teacher_parts, strict=True)
        )
        parts = self.target_weight * target + self.others_weight * others  # (N,)
        mean = (parts if shares is None else shares * parts).mean()
        return self.loss_weight * self.temperature**2 * mean

    def doubts(self, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return how unsure a teacher is of each sample, as of soft targets."""
        return class_doubts(teacher, labels)


def _parts(logits: Tensor, is_target: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities (N, 2) of target and rest, and (N, classes - 1) within the rest."""
    logs = torch.log_softmax(logits.float(), dim=1)
    others = logs[~is_target].reshape(len(logs), -1)  # (N, classes - 1)
    rest = torch.logsumexp(others, dim=1)
    return torch.stack((logs[is_target], rest), dim=1), torch.log_softmax(others, dim=1)
