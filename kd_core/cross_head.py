"""CrossKD: the student's features go through the teacher's remaining head before a loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kd_core.checks import check_choice, check_same_channels, paired_levels
from kd_core.layers import Features, LayerPath, find_layer
from kd_core.losses.base import DistillationLoss
from kd_core.teacher import FrozenTeacher

_EPS = 1e-6


class CrossHeadLoss(DistillationLoss):
    """A loss of what the teacher's remaining head predicts from the student's features.

        aligned = z(student) * std_T + mean_T, z = (x - mean) / (std + 1e-6), unbiased std;
                  for each channel over the images and places of a level
        loss    = loss_weight * loss(the teacher's layers of ``through`` on aligned, teacher's own)

    Wang et al., "CrossKD: Cross-Head Knowledge Distillation for Object Detection", CVPR 2024,
    https://arxiv.org/abs/2306.11369. Status: written from the formula; alignment and losses agree
    with recorded values of the authors' code. The student learns up to the layer that gives its
    features; the teacher's layers are frozen and in eval mode. Statistics are those of each GPU's
    own images. The authors take the features after the third of four convolutions (FCOS: second),
    before the activation, and as ``loss`` :class:`ClassResponseLoss` for classes and, for boxes,
    :class:`BoxResponseLoss` or (GFL, temperature 1, weight 4) :class:`DistributionResponseLoss`;
    for ATSS also :class:`CenternessResponseLoss`. Anchors have the student's label weights and,
    except for GFL's boxes, the divisor is its number of positive anchors. FCOS takes no label
    weights, the sum of the positives' centerness targets, and 0.4 and 0.75 (boxes) as weights.

    Args:
        loss: Loss of predictions: without roles, or with the roles "scores" and "boxes" or
            "centers".
        through: The teacher's layers, in order, by their paths, the activation first; ``{level}``
            in a path is the number of the level.
        predicts: What they predict: "scores", "boxes" or "centers".
        loss_weight: Factor on the returned loss.

    Raises:
        ValueError: If ``through`` is empty, or ``predicts`` is not a role of the loss.

    Example:
        >>> from kd_core.losses import ClassResponseLoss
        >>> CrossHeadLoss(ClassResponseLoss(), ["head.act", "head.predict"]).roles
        ('features', 'scores')
    """

    def __init__(
        self,
        loss: nn.Module,
        through: Sequence[str],
        predicts: str = "scores",
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight)
        self.has_roles = hasattr(loss, "roles")
        inner = tuple(getattr(loss, "roles", (predicts,)))
        check_choice("predicts", predicts, set(inner) & {"scores", "boxes", "centers"})
        if isinstance(through, str) or not through:
            raise ValueError(f"through must be a list of the teacher's layers, not {through!r}.")
        self.loss = loss
        self.through = tuple(through)
        self.predicts = predicts
        self.roles = ("features", *inner)
        self.takes: tuple[str, ...] = tuple(getattr(loss, "takes", ()))
        self._teacher: FrozenTeacher | None = None

    def bind_teacher(self, teacher: nn.Module) -> None:
        """Take the layers of a teacher; called when the distiller is attached.

        Raises:
            ValueError: If the teacher has no such layer.
        """
        for path in self.through:
            find_layer(teacher, LayerPath.parse(path.format(level=0)), "teacher")
        self._teacher = FrozenTeacher(teacher)  # outside the module tree, shared by copies

    def forward(
        self, student: Mapping[str, Features], teacher: Mapping[str, Features], **inputs: Any
    ) -> Tensor:
        """Compare cross predictions with the teacher's own.

        Args:
            student: ``features``: maps (N, C, H, W) before the activation, one or a list; and what
                the loss compares, of which the predicted role does not count.
            teacher: The same; no gradient flows into them.
            inputs: What the loss of predictions takes besides, such as ``label_weights``.

        Returns:
            Scalar loss in float32.

        Raises:
            ValueError: If no teacher is attached, or the features differ in number or channels.
        """
        if self._teacher is None:
            raise ValueError("CrossHeadLoss needs a teacher: attach it by a Distiller.")
        pairs = paired_levels(student["features"], teacher["features"])
        cross = [self._predict(level, *pair) for level, pair in enumerate(pairs)]
        own: Any = cross
        if self.has_roles:
            own = {role: one for role, one in student.items() if role != "features"}
            own[self.predicts] = cross
        value: Tensor = self.loss(own, self._predictions(teacher), **inputs)
        return self.loss_weight * value

    def doubts(self, teacher: Mapping[str, Features], labels: Any = None) -> Tensor:
        """Return how unsure a teacher's own predictions are, as the loss in it has it."""
        inner: Any = self.loss
        found: Tensor = inner.doubts(self._predictions(teacher), labels)
        return found

    def _predictions(self, teacher: Mapping[str, Features]) -> Any:
        target = {role: one for role, one in teacher.items() if role != "features"}
        return target if self.has_roles else target[self.predicts]

    def _predict(self, level: int, student: Tensor, teacher: Tensor) -> Tensor:
        assert self._teacher is not None
        model = self._teacher.model
        weight = next(model.parameters(), teacher)  # its features may be those of an autocast
        found = align_statistics(student, teacher).to(weight.dtype)
        for path in self.through:
            found = model.get_submodule(path.format(level=level))(found)
        return found


def align_statistics(student: Tensor, teacher: Tensor) -> Tensor:
    """Give a student's map the mean and deviation of the teacher's, channel by channel.

    Args:
        student: Feature map (N, C, H, W).
        teacher: Feature map (N, C, H, W); no gradient flows into it.

    Returns:
        Map (N, C, H, W) in float32.

    Raises:
        ValueError: If C differs.
    """
    check_same_channels(student, teacher)
    (mean, std), (mean_t, std_t) = (_statistics(x.float()) for x in (student, teacher.detach()))
    return (student.float() - mean) / (std + _EPS) * std_t + mean_t


def _statistics(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and unbiased deviation (1, C, 1, 1); the deviation of a single value is 0."""
    count = maps.numel() // maps.shape[1]
    variance, mean = torch.var_mean(maps, dim=(0, 2, 3), correction=min(1, count - 1), keepdim=True)
    return mean, variance.clamp(min=_EPS**2).sqrt()
