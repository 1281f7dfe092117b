"""Channel relations: samples relate by their channels' mean activity as for the teacher."""

from __future__ import annotations

from torch import Tensor

from kd_core.attention import channel_vectors
from kd_core.checks import check_same_batch
from kd_core.losses.base import RelationLoss
from kd_core.losses.relational_angle import RelationalAngleLoss
from kd_core.losses.relational_distance import RelationalDistanceLoss


class ChannelRelationLoss(RelationLoss):
    """Relational distances and angles of globally pooled feature maps.

        loss = loss_weight * (RKD-D + 2 RKD-A)(GAP(student), GAP(teacher))
        RKD-D: RelationalDistanceLoss, RKD-A: RelationalAngleLoss

    The channel correlation of CCSKD: Gou, Xiong, Yu, Zhan and Yi, "Channel-Correlation-Based
    Selective Knowledge Distillation", IEEE TCDS 2022, https://doi.org/10.1109/TCDS.2022.3232569.
    Status: the authors' code, whose weight is 6 in each of four stages, on the output of a
    connector. Channels and sizes may differ. A batch of one has no relations: the loss is 0.

    Args:
        loss_weight: Factor on the returned loss.
        gather: Relate the samples of all ranks (:mod:`kd_core.relations.gather`). Without it,
            each rank relates its own batch: training with several GPUs is training with smaller
            batches.

    Raises:
        ValueError: If ``loss_weight`` is negative or not finite.

    Example:
        >>> import torch
        >>> feature = torch.randn(4, 8, 3, 3)
        >>> ChannelRelationLoss()(feature, feature).item()
        0.0
    """

    def __init__(self, loss_weight: float = 1.0, gather: bool = False) -> None:
        super().__init__(loss_weight, gather)
        self.distance = RelationalDistanceLoss(gather=gather)
        self.angle = RelationalAngleLoss(loss_weight=2.0, gather=gather)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compare how the samples of a batch relate.

        Args:
            student: Feature map (N, C_s, H_s, W_s), or pooled vectors (N, C_s).
            teacher: Feature map (N, C_t, H_t, W_t), or pooled vectors (N, C_t); no gradient flows
                into it.

        Returns:
            Scalar loss in float32.

        Raises:
            ValueError: If either is neither 2-D nor 4-D, or if N differs.
        """
        check_same_batch(student, teacher)
        pair = channel_vectors(student), channel_vectors(teacher.detach())  # (N, C_s), (N, C_t)
        value: Tensor = self.distance(*pair) + self.angle(*pair)
        return self.loss_weight * value
