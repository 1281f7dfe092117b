"""Embedding cosine: the student's embedding points where the teacher's does."""

from __future__ import annotations

import torch
from torch import Tensor

from kd_core.checks import check_same_batch, check_same_channels
from kd_core.losses.base import DistillationLoss
from kd_core.relations.samples import EPSILON, flat_rows


class EmbeddingCosineLoss(DistillationLoss):
    """One minus the cosine of two embeddings of the same image.

        loss = loss_weight * mean over i of 1 - cos(student_i, teacher_i)

    Common practice, of no single paper. For vectors of length 1 it is half their squared distance,
    D / 2 times FeatureImitationLoss. Of two sizes a connector maps the student's to the teacher's;
    without one (equal sizes) the two spaces become one, and a student's query can be searched in
    a teacher's gallery. A zero vector has cosine 0 and gets no gradient.

    Args:
        loss_weight: Factor on the returned loss.

    Raises:
        ValueError: If ``loss_weight`` is negative or not finite.

    Example:
        >>> import torch
        >>> EmbeddingCosineLoss()(torch.eye(4), 3 * torch.eye(4)).item()
        0.0
    """

    equal_channels = True
    aligns_spaces = True

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compare embeddings one by one.

        Args:
            student: Embeddings (N, D).
            teacher: Embeddings (N, D); no gradient flows into them.

        Returns:
            Scalar loss in float32.

        Raises:
            ValueError: If either has fewer than two axes or is empty, or if N or D differs.
        """
        check_same_batch(student, teacher)
        check_same_channels(student, teacher)
        cosines = (_units(student) * _units(teacher.detach())).sum(dim=1)
        return self.loss_weight * (1 - cosines).mean()


def _units(vectors: Tensor) -> Tensor:
    rows = flat_rows(vectors)
    length = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return torch.where(length > EPSILON, rows / length.clamp(min=EPSILON), 0.0)
