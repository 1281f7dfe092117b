"""FBKD: maps where attention is high, pooled channels and positions, and non-local relations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kd_core.attention import spatial_attention
from kd_core.checks import (
    check_choice,
    check_positive,
    check_weights,
    dtype_of,
    without_autocast,
)
from kd_core.connectors import MapNorm
from kd_core.losses.level_layers import LevelLayersLoss

_WEIGHTS = {"feature": 7e-5, "channel": 4e-3, "spatial": 4e-3, "relation": 7e-5}
_SMALLEST = 1e-12  # of a sum of squares: the root's gradient stays finite where maps are equal


class FBKDLoss(LevelLayersLoss):
    """Feature-based distillation of detectors: norms of four differences.

        L = sum over levels of  7e-5 ||sqrt(M) (A S - T)||  +  4e-3 ||GAP T - E GAP S||
            + 4e-3 ||mean_c T - K * mean_c S||  +  7e-5 ||R_T(T) - B R_S(S)||
        M = (s(S) + s(T)) / 2, without gradient; s(F) = HW softmax over positions of mean_c |F| / t
        R(F) = F + BN(1x1(y)), y at p = mean over q of (theta_p . phi_q) g_q: a non-local block;
               theta, phi, g 1x1 to C / r channels, phi and g max-pooled by k
        A, B 1x1 convolutions, E a linear layer, K a 3x3 convolution of the one map; all with bias

    ``||.||`` is the root of the sum of squares over the whole batch of the rank, so the value grows
    with the root of the batch size and of the map. Zhang and Ma, "Improve Object Detection with
    Feature-based Knowledge Distillation: Towards Accurate and Efficient Detectors", ICLR 2021,
    as in https://github.com/open-mmlab/mmrazor. Status: OpenMMLab's code, which computes
    a channel mask and does not use it; the authors' own is a supplement. We add 1e-12 under the
    roots, whose gradient is NaN there where A S = T. mmrazor gives its k to two poolings in
    succession; here k is the whole. As there, the teacher's block is trained too, and the batch
    norms start at weight 0. Channels must be equal; of two sizes the larger is average-pooled to
    the smaller. The layers are trained with the student and saved under ``distiller.``;
    ``prepare`` makes them.

    Args:
        weights: Part to weight, in the place of the formula's; parts are feature, channel, spatial
            and relation. A part of weight 0 costs nothing.
        reductions: r of each level; levels after them take the last.
        pools: k of each level, at most the map's size; levels after them take the last.
        temperature: Divisor t, above 0.
        loss_weight: Factor on the returned loss.

    Raises:
        ValueError: If a part is unknown, a weight is negative or not finite, or another number is
            not above 0.

    Example:
        >>> import torch
        >>> student, teacher = torch.randn(2, 2, 8, 4, 4).unbind()
        >>> loss = FBKDLoss()
        >>> loss.prepare(student, teacher)
        >>> loss(student, teacher).shape
        torch.Size([])
    """

    def __init__(
        self,
        weights: Mapping[str, float] | None = None,
        reductions: Sequence[int] = (4, 4, 2, 2),
        pools: Sequence[int] = (8, 4, 2, 2),
        temperature: float = 0.5,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight)
        for part in weights or {}:
            check_choice("a part of weights", part, _WEIGHTS)
        self.weights = {**_WEIGHTS, **(weights or {})}
        check_weights(**self.weights)
        check_positive(temperature=temperature)
        for name, values in (("reductions", reductions), ("pools", pools)):
            if not values or any(int(value) != value or value < 1 for value in values):
                raise ValueError(f"{name} must be whole numbers from 1 on, but they are {values}.")
        self.reductions, self.pools = tuple(reductions), tuple(pools)
        self.temperature = temperature

    def make_level(self, level: int, channels: int) -> nn.Module:
        """Return what adapts the parts of a level."""
        parts = [part for part, weight in self.weights.items() if weight]
        return _Level(channels, parts, _at(self.reductions, level), _at(self.pools, level))

    def forward(
        self, student: Tensor | Sequence[Tensor], teacher: Tensor | Sequence[Tensor]
    ) -> Tensor:
        """Compare the maps of all levels.

        Args:
            student: Feature map (N, C, H, W), or one for each level.
            teacher: Feature map (N, C, H, W), or one for each level; no gradient flows into it.

        Returns:
            Scalar loss in float32.

        Raises:
            ValueError: If a map is not 4-D, if N, C or the number of levels differs, or if the maps
                are not those that the layers were made for.
        """
        pairs = self.matched(student, teacher)
        self.check_ready(pairs)
        losses = []
        for level, (own, other) in zip(self.levels, pairs, strict=True):
            maps = (one.to(dtype_of(level)) for one in (own, other, self._mask(own, other)))
            with without_autocast(own):
                found = level(*maps)
            losses += [self.weights[part] * _norm(apart) for part, apart in found.items()]
        return self.loss_weight * torch.stack([*losses, pairs[0][0].float().sum() * 0.0]).sum()

    def _mask(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the mean of both attentions, (N, 1, H, W), without gradient."""
        size = student.shape[2], student.shape[3]
        own, others = (
            spatial_attention(one.detach(), size, self.temperature) for one in (student, teacher)
        )
        return ((own + others) / 2).reshape(-1, 1, *size)


class _Level(nn.Module):
    """What one level's parts are adapted by."""

    def __init__(self, channels: int, parts: Sequence[str], reduction: int, pool: int) -> None:
        super().__init__()
        made: dict[str, nn.Module] = {
            "feature": nn.Conv2d(channels, channels, kernel_size=1),
            "channel": nn.Linear(channels, channels),
            "spatial": nn.Conv2d(1, 1, kernel_size=3, padding=1),
            "relation": nn.Conv2d(channels, channels, kernel_size=1),
        }
        self.adapt = nn.ModuleDict({part: made[part] for part in parts})
        sides = ("student", "teacher") if "relation" in parts else ()
        self.non_local = nn.ModuleDict({one: _NonLocal(channels, reduction, pool) for one in sides})

    def forward(self, student: Tensor, teacher: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Return the difference of each part; maps (N, C, H, W), mask (N, 1, H, W)."""
        adapt, found = self.adapt, {}
        if "feature" in adapt:
            found["feature"] = mask.sqrt() * (adapt["feature"](student) - teacher)
        if "channel" in adapt:
            found["channel"] = teacher.mean((2, 3)) - adapt["channel"](student.mean((2, 3)))
        if "spatial" in adapt:
            means = [one.mean(dim=1, keepdim=True) for one in (student, teacher)]  # (N, 1, H, W)
            found["spatial"] = means[1] - adapt["spatial"](means[0])
        if "relation" in adapt:
            own = adapt["relation"](self.non_local["student"](student))
            found["relation"] = self.non_local["teacher"](teacher) - own
        return found


class _NonLocal(nn.Module):
    """Non-local block with products: each position plus a sum over all, by similarity."""

    def __init__(self, channels: int, reduction: int, pool: int) -> None:
        super().__init__()
        width = max(channels // reduction, 1)
        self.theta, self.phi, self.g = (nn.Conv2d(channels, width, 1) for _ in range(3))
        self.out = nn.Conv2d(width, channels, kernel_size=1, bias=False)
        self.norm = MapNorm(channels)
        nn.init.zeros_(self.norm.weight)
        self.pool = pool

    def forward(self, feature: Tensor) -> Tensor:
        """Add to a map (N, C, H, W) what its positions say of each other."""
        theta = self.theta(feature).flatten(start_dim=2)  # (N, C/r, P)
        pool = [min(self.pool, side) for side in feature.shape[2:]]
        phi, g = (
            F.max_pool2d(layer(feature), pool).flatten(start_dim=2)  # (N, C/r, Q)
            for layer in (self.phi, self.g)
        )
        # Products without a softmax: g phi^T first is (C/r)^2 numbers, not P * Q.
        values = g @ phi.transpose(1, 2) @ theta / g.shape[2]  # (N, C/r, P)
        found: Tensor = feature + self.norm(self.out(values.unflatten(2, feature.shape[2:])))
        return found


def _norm(values: Tensor) -> Tensor:
    return (values.float().square().sum() + _SMALLEST).sqrt()


def _at(values: Sequence[int], level: int) -> int:
    return values[min(level, len(values) - 1)]
