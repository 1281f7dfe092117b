"""HMAT: another kind of attention at each height of the network."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from kd_core.checks import check_weights, paired_levels
from kd_core.losses.attention_transfer import AttentionTransferLoss
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


class HMATLoss(nn.Module):
    """Position attention at the low, activation at the mid and high, channel at the high level.

        position    = position_weight    * sum over low of          PositionAttentionLoss
        activation  = activation_weight  * sum over mid and high of AttentionTransferLoss
        channel     = channel_weight     * sum over high of         ChannelAttentionLoss
        soft_target = soft_target_weight * SoftTargetLoss of the logits
        each times loss_weight; the loss is their sum

    Gou, Sun, Yu, Wan and Tao, "Hierarchical Multi-Attention Transfer for Knowledge Distillation",
    ACM TOMM 20(2), 2023, https://doi.org/10.1145/3568679. Status: reconstruction. The abstract
    fixes which attention belongs to which level; the formulas are ours (see the four losses, each
    usable alone). The default weights suit CIFAR-size networks, where each term's gradient is 1 to
    5 times that of cross-entropy; measure them again elsewhere. For detectors use
    ``options=dict(activation=dict(reduction='sum'))`` with a weight measured anew, because the
    mean over positions shrinks as the map grows.

    Args:
        position_weight: Factor on the position part; 0 leaves it out.
        activation_weight: Factor on the activation part; 0 leaves it out.
        channel_weight: Factor on the channel part; 0 leaves it out.
        soft_target_weight: Factor on the soft-target part; 0 leaves it out.
        options: Part -> keyword arguments of its loss, e.g. ``dict(position=dict(side=8))``.
        loss_weight: Factor on every part.

    Raises:
        ValueError: If a weight is negative or not finite, a part or an option is unknown, or an
            option's value is refused.

    Example:
        >>> import torch
        >>> maps = dict(low=torch.ones(2, 8, 8, 8), high=torch.ones(2, 16, 4, 4))
        >>> sorted(HMATLoss()(maps, maps))
        ['activation', 'channel', 'position']
    """

    accepts_lists = True
    roles = ("low", "mid", "high")
    aligns_spaces = False

    def __init__(
        self,
        position_weight: float = 100.0,
        activation_weight: float = 1000.0,
        channel_weight: float = 50.0,
        soft_target_weight: float = 0.0,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.weights = {
            "position": position_weight,
            "activation": activation_weight,
            "channel": channel_weight,
            "soft_target": soft_target_weight,
        }
        check_weights(
            loss_weight=loss_weight,
            **{f"{part}_weight": weight for part, weight in self.weights.items()},
        )
        self.loss_weight = loss_weight
        self.parts = nn.ModuleDict(_build_members(options or {}))

    @property
    def equal_channels(self) -> frozenset[str]:
        """The roles whose channels must be equal, so that the distiller connects them."""
        return frozenset({"high"}) if self.weights["channel"] > 0 else frozenset()

    def forward(
        self, student: Mapping[str, Maps], teacher: Mapping[str, Maps]
    ) -> dict[str, Tensor]:
        """Compare the attentions of all levels.

        Args:
            student: Role -> feature map (N, C_s, H, W) or list of them; roles 'low', 'mid',
                'high', and 'logits' -> (N, classes). 'high_connected', when present, holds the
                high maps with the teacher's channels, for the channel part.
            teacher: Role -> feature map (N, C_t, H, W) or list of them; no gradient flows into it.

        Returns:
            Part -> scalar loss in float32. A part whose weight is 0 or whose roles are absent is
            left out.

        Raises:
            ValueError: If a role is unknown or on one side only, if the numbers of levels differ,
                or if a part refuses the shapes of its maps.
        """
        _check_roles(student, teacher)
        losses = {}
        for part, member in self.parts.items():
            roles = [role for role in _ROLES_OF[part] if role in teacher]
            if self.weights[part] == 0 or not roles:
                continue
            pairs = [
                pair
                for role in roles
                for pair in paired_levels(_student_maps(student, role, part), teacher[role])
            ]
            total = sum(member(*pair) for pair in pairs)
            losses[part] = self.loss_weight * self.weights[part] * total
        return losses


def _build_members(options: Mapping[str, Mapping[str, Any]]) -> dict[str, nn.Module]:
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
        members[part] = loss(**chosen)
    return members


def _student_maps(student: Mapping[str, Maps], role: str, part: str) -> Maps:
    connected = f"{role}_connected"
    return student[connected] if part == "channel" and connected in student else student[role]


def _check_roles(student: Mapping[str, Maps], teacher: Mapping[str, Maps]) -> None:
    allowed = ("low", "mid", "high", "logits")
    unknown = sorted((set(student) | set(teacher)) - set(allowed) - {"high_connected"})
    if unknown:
        raise ValueError(f"roles must be among {list(allowed)}, but there is also {unknown}.")
    if set(student) - {"high_connected"} != set(teacher):
        raise ValueError(
            "student and teacher must have the same roles, but student has "
            f"{sorted(student)} and teacher has {sorted(teacher)}."
        )
