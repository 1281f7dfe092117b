"""Position attention: the student relates positions as the teacher relates them."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from kd_core.attention import (
    position_attention,
    position_softmax_attention,
    smaller_size,
    spatial_attention,
)
from kd_core.checks import check_choice, check_feature_maps
from kd_core.losses.base import DistillationLoss

_FORMS = {
    "cosine": position_attention,
    "softmax": position_softmax_attention,
    "spatial": spatial_attention,
}


class PositionAttentionLoss(DistillationLoss):
    """Mean squared difference between two position attentions.

        Xp   = F pooled to at most side x side positions, as C rows and P columns
        loss = loss_weight * mean over N and all entries of (A(student) - A(teacher))^2
        cosine:   A = Xh^T Xh, Xh = columns of Xp scaled to length 1        (N, P, P)
        softmax:  A = softmax(Xp^T Xp / sqrt(C)) over the last axis         (N, P, P)
        spatial:  A = P * softmax(pooled mean_c |F| / 0.5) over positions   (N, P)

    The low-level part of HMAT: Gou, Sun, Yu, Wan and Tao, "Hierarchical Multi-Attention Transfer
    for Knowledge Distillation", ACM TOMM 20(2), 2023, https://doi.org/10.1145/3568679. Status:
    reconstruction, since only the abstract is readable; 'softmax' is the affinity of DANet (Fu et
    al., CVPR 2019, https://arxiv.org/abs/1809.02983) with identity query and key, 'spatial' the
    map of FGD (Yang et al., CVPR 2022, https://arxiv.org/abs/2111.11837). Pooling is a deviation
    that memory demands: at stride 4 an 800 x 1333 image has 66,800 positions. Of two sizes the
    larger is pooled straight to the smaller; channels may differ.

    Args:
        form: 'cosine', 'softmax' or 'spatial'. Only 'cosine' ignores the scale of a feature map.
        side: Largest grid side, at least 1: 8 for 32-pixel images, 16 for detection.
        loss_weight: Factor on the returned loss.

    Raises:
        ValueError: If ``loss_weight`` is negative or not finite, or ``form`` is unknown or ``side``
            is below 1.

    Example:
        >>> import torch
        >>> loss = PositionAttentionLoss(side=8)
        >>> loss(torch.ones(2, 16, 32, 32), torch.ones(2, 64, 32, 32)).item()
        0.0
    """

    def __init__(self, form: str = "cosine", side: int = 16, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        check_choice("form", form, _FORMS)
        if side < 1:
            raise ValueError(f"side must be at least 1, but it is {side}.")
        self.form = form
        self.side = side

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compare how the two networks relate positions.

        Args:
            student: Feature map (N, C_s, H, W).
            teacher: Feature map (N, C_t, H, W); no gradient flows into it.

        Returns:
            Scalar loss in float32.

        Raises:
            ValueError: If either is not 4-D, or if N differs.
        """
        check_feature_maps(student, teacher)
        height, width = smaller_size(student, teacher)
        grid = (min(height, self.side), min(width, self.side))
        attention = _FORMS[self.form]
        target = attention(teacher.detach(), grid)
        return self.loss_weight * F.mse_loss(attention(student, grid), target)
