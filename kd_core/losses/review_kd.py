"""ReviewKD: stages of the student, fused from deep to shallow, imitate the teacher's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kd_core.checks import (
    check_feature_maps,
    check_same_batch,
    dtype_of,
    paired_levels,
    without_autocast,
)
from kd_core.connectors import MapNorm
from kd_core.losses.base import DistillationLoss

_WIDEST = 512  # of the fused maps, if no width is given
_SIDES = (4, 2, 1)  # of the pooled maps that are compared too


class ReviewKDLoss(DistillationLoss):
    """Squared differences, at several scales, between fused student maps and the teacher's.

        from the deepest stage to the shallowest:
        x = BN(1x1 S_i); unless deepest: y = r of the deeper stage, resized to x by nearest
            neighbor, z = sigmoid(1x1 [x; y]), two maps, and x = x z_1 + y z_2
        r = x, resized to the teacher's size by nearest neighbor; out_i = BN(3x3 r), its channels
        L = sum over i of [mse(out_i, T_i) + sum over k of 2^-k mse(both pooled to side l_k)]
                          / (1 + sum over k of 2^-k),  l_k: those of 4, 2, 1 below the map's height

    Chen, Liu, Zhao and Jia, "Distilling Knowledge via Knowledge Review", CVPR 2021,
    https://arxiv.org/abs/2104.09044. Status: the authors' code, in value and gradient; written from
    its formula. It pools a map that is narrower than l_k to its own width. Give all stages, shallow
    to deep; a classifier's deepest is the pooled vector (N, C). The authors take a classifier's
    maps of the student after, of the teacher before the ReLU, weight 5 rising from 0 over 20
    epochs (CIFAR); P2 to P6 of a detector, weight 1. Not 0 for equal maps: the fusion is no
    identity. Its batch norms see the batch of their own GPU. The layers are trained with the
    student and saved under ``distiller.``; ``prepare`` makes them.

    Args:
        width: Channels of the fused maps; ``None`` takes those of the student's deepest stage, at
            most 512, as for CIFAR. The authors take 512 for ImageNet (256 for MobileNet) and 256
            for detectors.
        loss_weight: Factor on the returned loss.

    Raises:
        ValueError: If ``width`` is below 1, or ``loss_weight`` is negative or not finite.

    Example:
        >>> import torch
        >>> student = [torch.randn(2, 4, 8, 8), torch.randn(2, 8, 4, 4), torch.randn(2, 8)]
        >>> teacher = [torch.randn(2, 6, 8, 8), torch.randn(2, 9, 4, 4), torch.randn(2, 9)]
        >>> loss = ReviewKDLoss()
        >>> loss.prepare(student, teacher)
        >>> loss(student, teacher).shape
        torch.Size([])
    """

    accepts_lists = True

    def __init__(self, width: int | None = None, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        if width is not None and width < 1:
            raise ValueError(f"width must be at least 1, but it is {width}.")
        self.width = width
        self.stages = nn.ModuleList()

    def prepare(
        self, student: Tensor | Sequence[Tensor], teacher: Tensor | Sequence[Tensor]
    ) -> None:
        """Make the layers for stages of these channels; those that fit already stay.

        Args:
            student: Feature map (N, C_s, H_s, W_s) or vector (N, C_s), or one for each stage.
            teacher: Feature map (N, C_t, H_t, W_t) or vector (N, C_t), or one for each stage.

        Raises:
            ValueError: If one is neither, or if N or the number of stages differs.
        """
        pairs = _stages(student, teacher)
        channels = [(one.shape[1], other.shape[1]) for one, other in pairs]
        if channels != self._channels():
            width = self.width or min(channels[-1][0], _WIDEST)
            made = [
                _Stage(*pair, width, deepest=number == len(pairs) - 1)
                for number, pair in enumerate(channels)
            ]
            self.stages = nn.ModuleList(made).to(pairs[0][0].device)

    def forward(
        self, student: Tensor | Sequence[Tensor], teacher: Tensor | Sequence[Tensor]
    ) -> Tensor:
        """Fuse the student's stages and compare them with the teacher's.

        Args:
            student: Feature map (N, C_s, H_s, W_s) or vector (N, C_s), or one for each stage,
                shallow to deep.
            teacher: Feature map (N, C_t, H_t, W_t) or vector (N, C_t), or one for each stage; no
                gradient flows into it.

        Returns:
            Scalar loss in float32.

        Raises:
            ValueError: If one is neither, if N or the number of stages differs, or if they are not
                those that the layers were made for.
        """
        pairs = _stages(student, teacher)
        channels = [(one.shape[1], other.shape[1]) for one, other in pairs]
        if channels != self._channels():
            raise ValueError(
                "the loss has layers for stages of (student, teacher) channels "
                f"{self._channels()}, but the maps have {channels}. Give Distiller.attach an "
                "example, or call prepare() with such maps before the optimizer is made."
            )
        losses, deeper = [], None
        for stage, (own, other) in zip(reversed(self.stages), reversed(pairs), strict=True):
            other = other.detach().float()
            with without_autocast(own):
                fused, deeper = stage(own.to(dtype_of(stage)), deeper, other.shape[2:])
            losses.append(_at_several_scales(fused.float(), other))
        return self.loss_weight * torch.stack(losses).sum()

    def _channels(self) -> list[tuple[int, int]]:
        return [stage.channels for stage in self.stages]  # type: ignore[misc]


class _Stage(nn.Module):
    """Fusion of one stage with the deeper ones."""

    def __init__(self, student: int, teacher: int, width: int, deepest: bool) -> None:
        super().__init__()
        self.channels = student, teacher
        self.enter = nn.Sequential(nn.Conv2d(student, width, 1, bias=False), MapNorm(width))
        self.leave = nn.Sequential(
            nn.Conv2d(width, teacher, 3, padding=1, bias=False), MapNorm(teacher)
        )
        self.attention = None if deepest else nn.Conv2d(2 * width, 2, kernel_size=1)

    def forward(
        self, student: Tensor, deeper: Tensor | None, size: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """Return the map that is compared, and the fused one for the shallower stage.

        Args:
            student: Map (N, C_s, H_s, W_s).
            deeper: Fused map of the deeper stage (N, width, H, W); ``None`` for the deepest.
            size: Height and width of the teacher's map.
        """
        fused = self.enter(student)
        if self.attention is not None and deeper is not None:
            deeper = F.interpolate(deeper, fused.shape[2:], mode="nearest")
            shares = self.attention(torch.cat([fused, deeper], dim=1)).sigmoid()  # (N, 2, H, W)
            fused = fused * shares[:, :1] + deeper * shares[:, 1:]
        if fused.shape[2:] != torch.Size(size):
            fused = F.interpolate(fused, tuple(size), mode="nearest")
        return self.leave(fused), fused


def _at_several_scales(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the hierarchical context loss of two maps (N, C, H, W)."""
    height, width = student.shape[2:]
    total, losses = 1.0, [F.mse_loss(student, teacher)]
    for side in (one for one in _SIDES if one < height):
        share = 2.0 ** -len(losses)
        pooled = [
            F.adaptive_avg_pool2d(one, (side, min(side, width))) for one in (student, teacher)
        ]
        losses.append(share * F.mse_loss(pooled[0], pooled[1]))
        total += share
    return torch.stack(losses).sum() / total


def _stages(
    student: Tensor | Sequence[Tensor], teacher: Tensor | Sequence[Tensor]
) -> list[tuple[Tensor, Tensor]]:
    """Pair the stages; vectors (N, C) become maps (N, C, 1, 1)."""
    pairs = []
    for pair in paired_levels(student, teacher):
        check_same_batch(*pair)
        own, other = (one[:, :, None, None] if one.dim() == 2 else one for one in pair)
        check_feature_maps(own, other)
        pairs.append((own, other))
    return pairs
