"""VID: the teacher's maps are predicted from the student's, with a learned variance."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kd_core.attention import match_sizes
from kd_core.checks import (
    check_feature_maps,
    paired_levels,
    without_autocast,
)
from kd_core.losses.base import DistillationLoss

_EPSILON = 1e-5  # the authors': the least variance


class VIDLoss(DistillationLoss):
    """Negative log-likelihood of the teacher's map under a Gaussian predicted from the student's.

        mean  = three 1x1 convolutions of the student's map, with a ReLU after the first two
        var_c = log(1 + exp(a_c)) + 1e-5, a_c learned for each channel c of the teacher
        loss  = loss_weight * sum over levels of
                mean over N, C, H and W of ((teacher - mean)^2 / var + log(var)) / 2

    Ahn, Hu, Damianou, Lawrence and Dai, "Variational Information Distillation for Knowledge
    Transfer", CVPR 2019, https://arxiv.org/abs/1904.05835. Status: the authors' code, as in
    RepDistiller; its usual weight is 1. A likelihood is not 0 for equal maps, and falls below 0 as
    the variances shrink. Channels may differ; of two sizes the larger is average-pooled to the
    smaller. Convolutions and variances are trained with the student and saved under
    ``distiller.``; ``prepare`` makes them, and the distiller calls it in its dry run.

    Args:
        initial_variance: Variance of every channel before training, above 1e-5.
        loss_weight: Factor on the returned loss.

    Raises:
        ValueError: If ``loss_weight`` is negative or not finite, or ``initial_variance`` is not
            above 1e-5.

    Example:
        >>> import torch
        >>> student, teacher = torch.randn(2, 8, 4, 4), torch.randn(2, 16, 4, 4)
        >>> loss = VIDLoss()
        >>> loss.prepare(student, teacher)
        >>> loss(student, teacher).shape
        torch.Size([])
    """

    accepts_lists = True

    def __init__(self, initial_variance: float = 5.0, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        if not _EPSILON < initial_variance < math.inf:
            raise ValueError(
                f"initial_variance must be above {_EPSILON}, but it is {initial_variance}."
            )
        self.initial_variance = initial_variance
        self.levels = nn.ModuleList()

    def prepare(
        self, student: Tensor | Sequence[Tensor], teacher: Tensor | Sequence[Tensor]
    ) -> None:
        """Make the parameters for maps of these channels; those that fit already stay.

        Args:
            student: Feature map (N, C_s, H_s, W_s), or one for each level.
            teacher: Feature map (N, C_t, H_t, W_t), or one for each level.

        Raises:
            ValueError: If a map is not 4-D, or if N or the number of levels differs.
        """
        pairs = paired_levels(student, teacher)
        for pair in pairs:
            check_feature_maps(*pair)
        channels = [(one.shape[1], other.shape[1]) for one, other in pairs]
        if channels != [level.channels for level in self._levels()]:
            made = [_Gaussian(*pair, self.initial_variance) for pair in channels]
            self.levels = nn.ModuleList(made).to(pairs[0][0].device)

    def forward(
        self, student: Tensor | Sequence[Tensor], teacher: Tensor | Sequence[Tensor]
    ) -> Tensor:
        """Measure how likely the teacher's maps are.

        Args:
            student: Feature map (N, C_s, H_s, W_s), or one for each level.
            teacher: Feature map (N, C_t, H_t, W_t), or one for each level; no gradient flows
                into it.

        Returns:
            Scalar loss in float32.

        Raises:
            ValueError: If a map is not 4-D, if N or the number of levels differs, or if the maps
                are not those that the parameters were made for.
        """
        pairs = paired_levels(student, teacher)
        matched = [match_sizes(one, other.detach()) for one, other in pairs]
        channels = [(one.shape[1], other.shape[1]) for one, other in pairs]
        ready = [level.channels for level in self._levels()]
        if channels != ready:
            raise ValueError(
                f"the loss has parameters for levels of (student, teacher) channels {ready}, but "
                f"the maps have {channels}. Give Distiller.attach an example, or call prepare() "
                "with such maps before the optimizer is made."
            )
        levels = zip(self._levels(), matched, strict=True)
        losses = [level(*pair) for level, pair in levels]
        return self.loss_weight * torch.stack(losses).sum()

    def _levels(self) -> list[_Gaussian]:
        return [level for level in self.levels if isinstance(level, _Gaussian)]


class _Gaussian(nn.Module):
    """Gaussian of the teacher's map at one level, predicted from the student's map."""

    def __init__(self, student: int, teacher: int, variance: float) -> None:
        super().__init__()
        self.channels = student, teacher
        self.mean = nn.Sequential(
            nn.Conv2d(student, teacher, kernel_size=1, bias=False),
            nn.ReLU(),
            nn.Conv2d(teacher, teacher, kernel_size=1, bias=False),
            nn.ReLU(),
            nn.Conv2d(teacher, teacher, kernel_size=1, bias=False),
        )
        before = variance - _EPSILON + math.log(-math.expm1(_EPSILON - variance))
        self.variance = nn.Parameter(torch.full((teacher,), before))  # before softplus

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Mean over all entries of the negative log-likelihood, without its constant."""
        with without_autocast(student):
            told = self.mean(student.to(self.variance.dtype)).float()  # (N, C_t, H, W)
        variance = (F.softplus(self.variance.float()) + _EPSILON).reshape(1, -1, 1, 1)
        squares: Tensor = (teacher.float() - told).square()
        return ((squares / variance + variance.log()) / 2).mean()
