"""DIST: the student's probabilities correlate with the teacher's, by sample and by class."""

from __future__ import annotations

import torch
from torch import Tensor

from kd_core.checks import check_choice, check_logits, check_positive, check_weights
from kd_core.losses.base import RelationLoss
from kd_core.relations.gather import gather_pair

_EPSILONS = {"code": 1e-8, "paper": 0.0}
_SMALLEST = 1e-30
_FLAT = 1e-6  # a row that varies by less, relative to its length, is constant up to rounding


class DISTLoss(RelationLoss):
    """One minus the correlation of class probabilities, within samples and within classes.

        p = softmax(teacher / t), q = softmax(student / t)                  (N, classes)
        inter = mean over samples of 1 - corr(q, p over the classes)
        intra = mean over classes of 1 - corr(q, p over the samples)
        corr(a, b) = <a', b'> / (||a'|| * ||b'|| + epsilon), a' = a - mean of a
        loss = loss_weight * t^2 * (inter_weight * inter + intra_weight * intra)

    Huang, You, Wang, Qian and Xu, "Knowledge Distillation from A Stronger Teacher", NeurIPS 2022,
    https://arxiv.org/abs/2205.10536. Status: the authors' code, as in mmrazor (``form='code'``,
    epsilon 1e-8), and the published formula (``form='paper'``, epsilon 0). The epsilon mutes
    classes that a batch hardly varies in, and leaves the loss a little above 0 for equal logits.
    In both forms a row that is constant up to rounding (a batch of one, equal logits) has
    correlation 0 and gets no gradient, where the code gives it one of the order of 1e8. The
    authors take weights 1 and 1 with t = 1 on ImageNet, 2 and 2 with t = 4 on CIFAR-100.

    Args:
        inter_weight: Factor on the relation of classes within each sample; the authors' beta.
        intra_weight: Factor on the relation of samples within each class; the authors' gamma.
        temperature: Divisor t of both logits, above 0.
        form: 'code' or 'paper'.
        loss_weight: Factor on the returned loss.
        gather: Relate the samples of all ranks (:mod:`kd_core.relations.gather`). Without it,
            each rank relates its own batch: training with several GPUs is training with smaller
            batches.

    Raises:
        ValueError: If a weight is negative or not finite, or ``temperature`` is not above 0 and
            finite, or ``form`` is unknown.

    Example:
        >>> import torch
        >>> logits = torch.eye(4)
        >>> round(DISTLoss()(logits + 3, logits).item(), 5)
        0.0
    """

    def __init__(
        self,
        inter_weight: float = 1.0,
        intra_weight: float = 1.0,
        temperature: float = 1.0,
        form: str = "code",
        loss_weight: float = 1.0,
        gather: bool = False,
    ) -> None:
        super().__init__(loss_weight, gather)
        check_weights(inter_weight=inter_weight, intra_weight=intra_weight)
        check_positive(temperature=temperature)
        check_choice("form", form, _EPSILONS)
        self.epsilon = _EPSILONS[form]
        self.inter_weight = inter_weight
        self.intra_weight = intra_weight
        self.temperature = temperature

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compare the class scores of a batch.

        Args:
            student: Logits (N, classes).
            teacher: Logits (N, classes); no gradient flows into them.

        Returns:
            Scalar loss in float32.

        Raises:
            ValueError: If either is not 2-D, or if the shapes differ.
        """
        check_logits(student, teacher)
        student, teacher = gather_pair(student, teacher, self.gather)
        one = torch.softmax(student.float() / self.temperature, dim=1)
        other = torch.softmax(teacher.detach().float() / self.temperature, dim=1)
        inter = 1 - _correlations(one, other, self.epsilon).mean()
        intra = 1 - _correlations(one.t(), other.t(), self.epsilon).mean()
        parts = self.inter_weight * inter + self.intra_weight * intra
        return self.loss_weight * self.temperature**2 * parts


def _correlations(student: Tensor, teacher: Tensor, epsilon: float) -> Tensor:
    """Pearson correlation of each row with the same row of the other."""
    first, second = _centered(student), _centered(teacher)
    one, other = (torch.linalg.vector_norm(rows, dim=1) for rows in (first, second))
    lengths: Tensor = (one * other + epsilon).clamp(min=_SMALLEST)
    return (first * second).sum(dim=1) / lengths


def _centered(rows: Tensor) -> Tensor:
    centered = rows - rows.mean(dim=1, keepdim=True)
    with torch.no_grad():
        spread, length = (
            torch.linalg.vector_norm(x, dim=1, keepdim=True) for x in (centered, rows)
        )
    return torch.where(spread > _FLAT * length, centered, 0.0)
