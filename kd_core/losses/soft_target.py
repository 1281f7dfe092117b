"""Soft targets: the student's class probabilities follow the teacher's."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kd_core.checks import check_indices, check_logits, check_positive
from kd_core.losses.base import DistillationLoss


class SoftTargetLoss(DistillationLoss):
    """Divergence of the student's softened class probabilities from the teacher's.

        loss = loss_weight * t^2 * mean over N of sum over classes of p log(p / q)
        p = softmax(teacher / t), q = softmax(student / t)

    Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", NIPS workshop 2014,
    https://arxiv.org/abs/1503.02531. Status: the published formula, with the factor t^2 and the
    mean over the batch of the code in common use (RepDistiller). mmdet's own
    ``KnowledgeDistillationKLDivLoss`` also divides by the number of classes.

    Args:
        temperature: Divisor t of both logits, above 0.
        loss_weight: Factor on the returned loss.

    Raises:
        ValueError: If ``loss_weight`` is negative or not finite, or ``temperature`` is not above 0
            and finite.

    Example:
        >>> import torch
        >>> SoftTargetLoss()(torch.zeros(2, 10), torch.ones(2, 10)).item()
        0.0
    """

    takes = ("shares",)

    def __init__(self, temperature: float = 4.0, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        check_positive(temperature=temperature)
        self.temperature = temperature

    def forward(self, student: Tensor, teacher: Tensor, shares: Tensor | None = None) -> Tensor:
        """Compare the class scores of a batch.

        Args:
            student: Logits (N, classes).
            teacher: Logits (N, classes); no gradient flows into them.
            shares: Factor (N,) on each sample's divergence, of several teachers.

        Returns:
            Scalar loss in float32.

        Raises:
            ValueError: If either is not 2-D, or if the shapes differ.
        """
        parts = soft_divergences(student, teacher, self.temperature)
        return self.loss_weight * (parts if shares is None else shares * parts).mean()

    def doubts(self, teacher: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return how unsure a teacher is of each sample: :func:`class_doubts`."""
        return class_doubts(teacher, labels)


def soft_divergences(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return the divergence of each sample, t^2 * sum over classes of p log(p / q).

    Args:
        student: Logits (N, classes).
        teacher: Logits (N, classes); no gradient flows into them.
        temperature: Divisor t of both.

    Returns:
        Divergences (N,) in float32.

    Raises:
        ValueError: If either is not 2-D, or if the shapes differ.
    """
    check_logits(student, teacher)
    student_log = torch.log_softmax(student.float() / temperature, dim=1)
    teacher_log = torch.log_softmax(teacher.detach().float() / temperature, dim=1)
    divergence = F.kl_div(student_log, teacher_log, reduction="none", log_target=True)
    return temperature**2 * divergence.sum(dim=1)


def class_doubts(logits: Tensor, labels: Tensor | None = None) -> Tensor:
    """Return how unsure logits of a softmax are of each sample.

    Args:
        logits: Class scores (N, classes).
        labels: Class of each sample, integers (N,): the cross-entropy; ``None`` for the entropy.

    Returns:
        Doubts (N,) in float32, without gradient.

    Raises:
        ValueError: If the labels are not N of these classes.
    """
    scores = logits.detach().float()
    if labels is None:
        logs = scores.log_softmax(1)
        return -(logs.exp() * logs).sum(1)
    if len(scores):
        check_indices("labels", labels, *scores.shape)
    return F.cross_entropy(scores, labels.long(), reduction="none")
