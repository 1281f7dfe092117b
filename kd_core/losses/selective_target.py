"""Selective soft targets: where the teacher is right, the student follows it more closely."""

from __future__ import annotations

from torch import Tensor

from kd_core.checks import check_indices, check_logits, check_positive
from kd_core.losses.base import DistillationLoss
from kd_core.losses.soft_target import soft_divergences


class SelectiveTargetLoss(DistillationLoss):
    """Divergence from the teacher's class probabilities, weighted sample by sample.

        m_n  = 1 + [argmax of teacher_n = label_n]
        loss = loss_weight * t^2 * mean over N of m_n^2 * sum over classes of p log(p / q)
        p = softmax(teacher / t), q = softmax(student / t)

    The selective part of CCSKD: Gou, Xiong, Yu, Zhan and Yi, "Channel-Correlation-Based Selective
    Knowledge Distillation", IEEE TCDS 2022, https://doi.org/10.1109/TCDS.2022.3232569. Status: the
    authors' code in its gradient. Its value differs: the code multiplies p and log q by m before it
    compares them, which is not 0 for equal logits but has the gradient of the formula above. It
    also multiplies m by 0.9 every 30 epochs. Here that is a schedule of the term, in iterations:
    ``StepDecay(at=(30 epochs, 60 epochs, ...), factor=0.81)``, since m is squared.

    Args:
        temperature: Divisor t of both logits, above 0.
        loss_weight: Factor on the returned loss; CCSKD's is 0.1.

    Raises:
        ValueError: If ``loss_weight`` is negative or not finite, or ``temperature`` is not above 0
            and finite.

    Example:
        >>> import torch
        >>> labels = torch.tensor([3, 7])
        >>> SelectiveTargetLoss()(torch.zeros(2, 10), torch.ones(2, 10), labels).item()
        0.0
    """

    requires = ("labels",)

    def __init__(self, temperature: float = 1.0, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        check_positive(temperature=temperature)
        self.temperature = temperature

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        """Compare the class scores of a batch.

        Args:
            student: Logits (N, classes).
            teacher: Logits (N, classes); no gradient flows into them.
            labels: Class of each sample, integers (N,).

        Returns:
            Scalar loss in float32.

        Raises:
            ValueError: If logits are not 2-D or differ in shape, or if the labels are not N of
                these classes.
        """
        check_logits(student, teacher)
        check_indices("labels", labels, len(student), student.shape[1])
        multiplier = 1.0 + (teacher.argmax(dim=1) == labels).float()  # (N,)
        divergences = soft_divergences(student, teacher, self.temperature)
        return self.loss_weight * (multiplier.square() * divergences).mean()
