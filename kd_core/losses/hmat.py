"""HMAT: a different kind of attention at each level of the network."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from kd_core.checks import check_choice, check_weights, paired_levels
from kd_core.losses.attention_transfer import AttentionTransferLoss
from kd_core.losses.base import DistillationLoss
from kd_core.losses.channel_attention import ChannelAttentionLoss
from kd_core.losses.position_attention import PositionAttentionLoss
from kd_core.losses.soft_target import SoftTargetLoss

Maps = Tensor | Sequence[Tensor]

_MEMBERS: dict[str, type[nn.Module]] = {
    "position": PositionAttentionLoss,
    "activation": AttentionTransferLoss,
    "channel": ChannelAttentionLoss,
    "soft_target": SoftTargetLoss,
}
_ROLES_OF = {
    "position": ("low",),
    "activation": ("mid", "high"),
    "channel": ("high",),
    "soft_target": ("logits",),
}
_WEIGHTS: dict[str, dict[str, float]] = {
    "classifier": {"position": 10.0, "activation": 100.0, "channel": 30.0, "soft_target": 0.0},
    "embedder": {"position": 2.5, "activation": 25.0, "channel": 1.25, "soft_target": 0.0},
    "detector": {"position": 10.0, "activation": 2.0, "channel": 5.0, "soft_target": 0.0},
}
_OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "classifier": {"channel": {"form": "pooled_batch"}},
    "embedder": {"channel": {"form": "cosine"}},
    "detector": {"activation": {"reduction": "sum"}, "channel": {"form": "cosine"}},
}


class HMATLoss(DistillationLoss):
    """Position attention at the low, activation at the mid and high, channel at the high level.

        position    = position_weight    * sum over low of          PositionAttentionLoss
        activation  = activation_weight  * sum over mid and high of AttentionTransferLoss
        channel     = channel_weight     * sum over high of         ChannelAttentionLoss
        soft_target = soft_target_weight * SoftTargetLoss of the logits
        each times loss_weight; the loss is their sum

    Gou, Sun, Yu, Wan and Tao, "Hierarchical Multi-Attention Transfer for Knowledge Distillation",
    ACM TOMM 20(2), 2023, https://doi.org/10.1145/3568679. Status: reconstruction. The abstract
    fixes which attention belongs to which level; the formulas are ours (see the four losses, each
    usable alone), and pooled channels are the likelier reading of its channel part.

        preset      position  activation  channel  soft_target  channel's form, activation's sum
        classifier        10         100       30            0  pooled_batch; mean over positions
        embedder         2.5          25     1.25            0  cosine; mean over positions
        detector          10           2        5            0  cosine; sum over positions

    "classifier" was chosen on validation images of 32 pixels. "detector" suits the levels of a
    feature pyramid: the mean over positions shrinks as the map grows, and the sum does not. In
    none does the teacher's scale count. Measure the weights again elsewhere.

    Args:
        position_weight: Factor on the position part; 0 leaves it out, ``None`` takes the preset's.
        activation_weight: The same of the activation part.
        channel_weight: The same of the channel part.
        soft_target_weight: The same of the soft-target part.
        options: Part -> keyword arguments of its loss, e.g. ``dict(position=dict(side=8))``; they
            go before the preset's.
        loss_weight: Factor on every part.
        preset: "classifier", "embedder" or "detector": the weights and options that are not
            given.

    Raises:
        ValueError: If a weight is negative or not finite, a part, an option or the preset is
            unknown, or an option's value is refused.

    Example:
        >>> import torch
        >>> maps = dict(low=torch.ones(2, 8, 8, 8), high=torch.ones(2, 16, 4, 4))
        >>> sorted(HMATLoss()(maps, maps))
        ['activation', 'channel', 'position']
    """

    accepts_lists = True
    roles = ("low", "mid", "high")

    def __init__(
        self,
        position_weight: float | None = None,
        activation_weight: float | None = None,
        channel_weight: float | None = None,
        soft_target_weight: float | None = None,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        loss_weight: float = 1.0,
        preset: str = "classifier",  # a seventh argument: with a preset no other is needed
    ) -> None:
        super().__init__(loss_weight)
        check_choice("preset", preset, _WEIGHTS)
        given = {
            "position": position_weight,
            "activation": activation_weight,
            "channel": channel_weight,
            "soft_target": soft_target_weight,
        }
        self.weights = _WEIGHTS[preset] | {k: v for k, v in given.items() if v is not None}
        check_weights(**{f"{part}_weight": weight for part, weight in self.weights.items()})
        self.parts = nn.ModuleDict(_build_members(options or {}, _OPTIONS[preset]))
        self.equal_channels = frozenset(
            role
            for part, member in self.parts.items()
            if self.weights[part] > 0 and member.equal_channels
            for role in _ROLES_OF[part]
        )

    def forward(
        self,
        student: Mapping[str, Maps],
        teacher: Mapping[str, Maps],
        connected: Mapping[str, Maps] | None = None,
    ) -> dict[str, Tensor]:
        """Compare the attentions of all levels.

        Args:
            student: Role -> feature map (N, C_s, H, W) or list of them; roles 'low', 'mid',
                'high', and 'logits' -> (N, classes).
            teacher: Role -> feature map (N, C_t, H, W) or list of them; no gradient flows into it.
            connected: Role -> the student's maps with the teacher's channels, for the parts whose
                loss needs equal ones; without it they take the student's own.

        Returns:
            Part -> scalar loss in float32. A part whose weight is 0 or whose roles are absent is
            left out.

        Raises:
            ValueError: If a role is unknown or on one side only, if the numbers of levels differ,
                or if a part refuses the shapes of its maps.
        """
        _check_roles(student, teacher)
        equal = {**student, **(connected or {})}
        losses = {}
        for part, member in self.parts.items():
            roles = [role for role in _ROLES_OF[part] if role in teacher]
            if self.weights[part] == 0 or not roles:
                continue
            maps = equal if member.equal_channels else student
            pairs = [pair for role in roles for pair in paired_levels(maps[role], teacher[role])]
            total = sum(member(*pair) for pair in pairs)
            losses[part] = self.loss_weight * self.weights[part] * total
        return losses


def _build_members(
    options: Mapping[str, Mapping[str, Any]], preset: Mapping[str, Mapping[str, Any]]
) -> dict[str, nn.Module]:
    unknown = sorted(set(options) - set(_MEMBERS))
    if unknown:
        raise ValueError(f"options must be for the parts {sorted(_MEMBERS)}, but has {unknown}.")
    members = {}
    for part, loss in _MEMBERS.items():
        chosen = dict(options.get(part, {}))
        allowed = sorted(set(inspect.signature(loss).parameters) - {"loss_weight"})
        refused = sorted(set(chosen) - set(allowed))
        if refused:
            raise ValueError(f"options of {part!r} must be among {allowed}, but has {refused}.")
        members[part] = loss(**{**preset.get(part, {}), **chosen})
    return members


def _check_roles(student: Mapping[str, Maps], teacher: Mapping[str, Maps]) -> None:
    allowed = ("low", "mid", "high", "logits")
    unknown = sorted((set(student) | set(teacher)) - set(allowed))
    if unknown:
        raise ValueError(f"roles must be among {list(allowed)}, but there is also {unknown}.")
    if set(student) != set(teacher):
        raise ValueError(
            "student and teacher must have the same roles, but student has "
            f"{sorted(student)} and teacher has {sorted(teacher)}."
        )
