"""OFD: maps before the ReLU, where the teacher's negative values count as one margin."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kd_core.attention import match_sizes
from kd_core.checks import check_same_channels, paired_levels
from kd_core.losses.base import DistillationLoss

_RARE = 1e-3  # share of negative values below which their mean is replaced


class OFDLoss(DistillationLoss):
    """Partial squared difference from the teacher's maps before the ReLU.

        m    = max(teacher, margin_c), margin_c < 0 the mean of channel c's negative values
        loss = loss_weight / N * sum over levels i = 0..n-1 of 2^-(n-1-i)
               * sum over C, H, W of (student - m)^2 where student > m or m > 0

    So a student that is below a margin already is left alone. ``norms`` names the teacher's batch
    norms before these ReLUs, in the order of the levels: the mean is then that of a normal
    distribution of the norm's bias and weight,
    bias - |w| pdf(bias / |w|) / cdf(-bias / |w|), and -3 |w| where at most 0.1 % are negative.
    Without them it is the mean of the batch, 0 in a channel without negative values.

    Heo, Kim, Yun, Park, Kwak and Choi, "A Comprehensive Overhaul of Feature Distillation", ICCV
    2019, https://arxiv.org/abs/1904.01866. Status: the authors' code with ``norms``; margins of the
    batch are ours. The default weight is theirs for CIFAR, 1e-4 for ImageNet: a sum over C, H and
    W, which grows with the maps. Of two sizes the larger is average-pooled to the smaller. Select
    maps before the ReLU: in a ResNet of theirs the block's sum, whose norm is the block's last.

    Args:
        norms: Selectors of the teacher's batch norms; ``None`` takes the batch's values.
        loss_weight: Factor on the returned loss.

    Raises:
        ValueError: If ``loss_weight`` is negative or not finite.

    Example:
        >>> import torch
        >>> OFDLoss(loss_weight=1.0)(torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), 2.0)).item()
        4.0
    """

    accepts_lists = True
    equal_channels = True

    def __init__(self, norms: Sequence[str] | None = None, loss_weight: float = 1e-3) -> None:
        super().__init__(loss_weight)
        self.norms = None if norms is None else list(norms)
        self.margins: list[Tensor] = []

    def bind_teacher(self, teacher: nn.Module) -> None:
        """Read the margins from the teacher's batch norms.

        Args:
            teacher: The teacher.

        Raises:
            ValueError: If one does not exist or is no batch norm with weights.
        """
        self.margins = []
        for name in self.norms or ():
            found = dict(teacher.named_modules()).get(name)
            weight, bias = getattr(found, "weight", None), getattr(found, "bias", None)
            if not isinstance(weight, Tensor) or weight.dim() != 1 or not isinstance(bias, Tensor):
                kind = "no layer" if found is None else f"a {type(found).__name__}"
                raise ValueError(
                    f"norms must name batch norms of the teacher that have weight and bias, but "
                    f"{name!r} is {kind}."
                )
            self.margins.append(margins_of(weight, bias))

    def forward(
        self, student: Tensor | Sequence[Tensor], teacher: Tensor | Sequence[Tensor]
    ) -> Tensor:
        """Compare maps before the ReLU.

        Args:
            student: Feature map (N, C, H, W), or one for each level, from shallow to deep.
            teacher: As many of the same channels; no gradient flows into them.

        Returns:
            Scalar loss in float32.

        Raises:
            ValueError: If N, C or the number of levels differs, or there is not one norm for each.
        """
        pairs = paired_levels(student, teacher)
        if self.norms is not None and len(self.margins) != len(pairs):
            raise ValueError(
                f"there must be a norm for each of {len(pairs)} levels, but there are "
                f"{len(self.margins)} of {self.norms}. A Distiller that is attached reads them."
            )
        parts = []
        for level, pair in enumerate(pairs):
            own, other = match_sizes(pair[0], pair[1].detach())
            check_same_channels(own, other)
            margins = self.margins[level] if self.norms is not None else _of_batch(other)
            share = 2.0 ** (level + 1 - len(pairs))
            parts.append(share * _partial(own.float(), other.float(), margins))
        return self.loss_weight * torch.stack(parts).sum()


def margins_of(weight: Tensor, bias: Tensor) -> Tensor:
    """Return the mean (C,) of the negative values after a batch norm, if these are normal.

    Args:
        weight: The norm's weights (C,): deviations, of either sign.
        bias: Its biases (C,): means.
    """
    scale, mean = weight.detach().float().abs(), bias.detach().float()
    z = mean / scale.clamp(min=1e-12)
    share = torch.special.ndtr(-z)
    density = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
    usual = mean - scale * density / share.clamp(min=_RARE)
    return torch.where(share > _RARE, usual, -3 * scale)


def _of_batch(teacher: Tensor) -> Tensor:
    negative = teacher.float().clamp(max=0).sum((0, 2, 3))
    return negative / (teacher < 0).sum((0, 2, 3)).clamp(min=1)


def _partial(student: Tensor, teacher: Tensor, margins: Tensor) -> Tensor:
    if len(margins) != teacher.shape[1]:
        raise ValueError(
            f"there must be a margin for each of {teacher.shape[1]} channels, but the norm has "
            f"{len(margins)}. Name the batch norm before the ReLU of that map."
        )
    target = torch.maximum(teacher, margins.to(teacher.device)[:, None, None])
    counts = (student > target) | (target > 0)
    return ((student - target).square() * counts).sum() / len(student)
