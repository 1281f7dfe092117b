"""Flow of the solution procedure: how one stage leads to the next, as in the teacher."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kd_core.attention import match_sizes
from kd_core.checks import (
    check_feature_maps,
    check_same_channels,
    paired_levels,
    without_autocast,
)
from kd_core.losses.base import DistillationLoss


class FlowOfSolutionProcedureLoss(DistillationLoss):
    """Squared difference between the channel products of consecutive stages (FSP).

        G(F_a, F_b) = X_a X_b^T / P, X = F as C rows and P = H*W columns           (N, C_a, C_b)
        loss = loss_weight * sum over pairs of consecutive stages of
               mean over N, C_a and C_b of (G(student) - G(teacher))^2

    Yim, Joo, Bae and Kim, "A Gift from Knowledge Distillation: Fast Optimization, Network
    Minimization and Transfer Learning", CVPR 2017,
    https://openaccess.thecvf.com/content_cvpr_2017/html/Yim_A_Gift_From_CVPR_2017_paper.html.
    Status: RepDistiller's code; the paper brings two stages to one size by max pooling, the code
    average-pools the larger to the smaller. The paper minimizes it in a phase of its own, before
    the classifier is trained; RepDistiller's script names the weight 50. Channels must be equal
    stage by stage; student and teacher may differ in H and W, because the size of G does not
    depend on them.

    Args:
        loss_weight: Factor on the returned loss.

    Raises:
        ValueError: If ``loss_weight`` is negative or not finite.

    Example:
        >>> import torch
        >>> maps = [torch.ones(2, 8, 4, 4), torch.ones(2, 16, 2, 2)]
        >>> FlowOfSolutionProcedureLoss()(maps, maps).item()
        0.0
    """

    accepts_lists = True
    equal_channels = True

    def forward(
        self, student: Tensor | Sequence[Tensor], teacher: Tensor | Sequence[Tensor]
    ) -> Tensor:
        """Compare how stages lead to the next ones.

        Args:
            student: Feature maps (N, C_l, H_l, W_l) of two or more stages, in their order.
            teacher: As many maps of the same N and C_l; no gradient flows into them.

        Returns:
            Scalar loss in float32.

        Raises:
            ValueError: If a map is not 4-D, if N, a stage's channels or the numbers of stages
                differ, or if there is only one stage.
        """
        stages = paired_levels(student, teacher)
        for pair in stages:
            check_feature_maps(*pair)
            check_same_channels(*pair)
        if len(stages) < 2:
            raise ValueError(
                "student and teacher must have two or more consecutive stages, but they have one. "
                "Select several layers."
            )
        losses = []
        for (student_a, teacher_a), (student_b, teacher_b) in zip(stages, stages[1:], strict=False):
            target = _flow(teacher_a.detach(), teacher_b.detach())
            losses.append((_flow(student_a, student_b) - target).square().mean())
        return self.loss_weight * torch.stack(losses).sum()


def _flow(first: Tensor, second: Tensor) -> Tensor:
    first, second = (x.float().flatten(start_dim=2) for x in match_sizes(first, second))
    with without_autocast(first):
        return first @ second.transpose(1, 2) / first.shape[2]  # (N, C_a, C_b)
