"""Channel-wise distillation (CWD): each channel looks where the teacher's channel looks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kd_core.attention import match_sizes
from kd_core.checks import check_choice, check_positive, check_same_channels
from kd_core.losses.base import DistillationLoss

_TEMPERATURES = {"segmenter": 4.0, "detector": 1.0}


class ChannelWiseLoss(DistillationLoss):
    """Divergence between the softened positions of each channel.

        p, q = softmax over the H*W positions of teacher / t, student / t, for each channel
        loss = loss_weight * t^2 / (C * N) * sum over N, C and positions of p log(p / q)

    Shu, Liu, Gao, Yan and Shen, "Channel-Wise Knowledge Distillation for Dense Prediction", ICCV
    2021, https://arxiv.org/abs/2011.13256. Status: the published formula, with the division by C*N
    of mmrazor's code. Channels must be equal; of two sizes the larger is average-pooled to the
    smaller. 4 is the paper's temperature; mmrazor, RTMDet and DAMO-YOLO take 1 for the neck of a
    detector, mmrazor with weight 10, the others with weight 1 on standardized maps (``normalize``
    of a term).

    Args:
        temperature: Divisor t of both maps, above 0; ``None`` takes the preset's.
        loss_weight: Factor on the returned loss.
        preset: "segmenter" (temperature 4) or "detector" (temperature 1).

    Raises:
        ValueError: If ``loss_weight`` is negative or not finite, ``temperature`` is not above 0
            and finite, or the preset is unknown.

    Example:
        >>> import torch
        >>> ChannelWiseLoss()(torch.zeros(2, 8, 4, 4), torch.ones(2, 8, 4, 4)).item()
        0.0
    """

    equal_channels = True

    def __init__(
        self,
        temperature: float | None = None,
        loss_weight: float = 1.0,
        preset: str = "segmenter",
    ) -> None:
        super().__init__(loss_weight)
        check_choice("preset", preset, _TEMPERATURES)
        self.temperature = _TEMPERATURES[preset] if temperature is None else temperature
        check_positive(temperature=self.temperature)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compare the two maps channel by channel.

        Args:
            student: Feature map (N, C, H, W).
            teacher: Feature map (N, C, H, W); no gradient flows into it.

        Returns:
            Scalar loss in float32.

        Raises:
            ValueError: If either is not 4-D, or if N or C differs.
        """
        student, teacher = match_sizes(student, teacher.detach())
        check_same_channels(student, teacher)
        student_log = self._log_shares(student)  # (N*C, H*W)
        teacher_log = self._log_shares(teacher)
        divergence = F.kl_div(student_log, teacher_log, reduction="batchmean", log_target=True)
        return self.loss_weight * self.temperature**2 * divergence

    def _log_shares(self, feature: Tensor) -> Tensor:
        rows = feature.float().flatten(start_dim=2).flatten(end_dim=1)
        return torch.log_softmax(rows / self.temperature, dim=1)
