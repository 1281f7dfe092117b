"""Values and gradients of losses on a device against the CPU's, in the precision of the maps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from kd_core import losses

_ROLES = ("low", "mid", "high")
_MAPS: dict[str, Callable[[], nn.Module]] = {
    "hmat": lambda: losses.HMATLoss(preset="detector"),
    "asckd": losses.ASCKDLoss,
    "at": losses.AttentionTransferLoss,
    "channel_wise": losses.ChannelWiseLoss,
    "pearson_feature": losses.PearsonFeatureLoss,
    "feature_imitation": losses.FeatureImitationLoss,
    "channel_relation": losses.ChannelRelationLoss,
    "channel_attention": losses.ChannelAttentionLoss,
    "position_attention": losses.PositionAttentionLoss,
    "similarity_preserving": losses.SimilarityPreservingLoss,
}
_ROWS: dict[str, Callable[[], nn.Module]] = {
    "soft_target": losses.SoftTargetLoss,
    "dist": losses.DISTLoss,
    "relational_distance": losses.RelationalDistanceLoss,
    "relational_angle": losses.RelationalAngleLoss,
    "relaxed_contrastive": losses.RelaxedContrastiveLoss,
    "correlation_congruence": losses.CorrelationCongruenceLoss,
}


def distances(device: torch.device, dtype: torch.dtype) -> dict[str, dict[str, float]]:
    """Return how far losses are from the CPU's in float32.

    An input in half precision is the same on both sides: what differs is the arithmetic. Maps have
    a size that 16 does not divide, so that pooling takes cells of unequal size.

    Args:
        device: Where to compute.
        dtype: Precision of the inputs.

    Returns:
        Name of a loss to the largest difference of its ``value`` and of the ``gradient`` to the
        student, each relative to the largest entry.
    """
    generator = torch.Generator().manual_seed(0)
    maps, rows = (
        [torch.randn(shape, generator=generator).to(dtype) for _ in "st"]
        for shape in ((4, 32, 50, 84), (32, 64))
    )
    cases = [(_MAPS, maps), (_ROWS, rows)]
    return {
        name: _distance(make(), inputs, device)
        for made, inputs in cases
        for name, make in made.items()
    }


def _distance(loss: nn.Module, inputs: list[Tensor], device: torch.device) -> dict[str, float]:
    plain = _gradient(loss, [one.float() for one in inputs])
    largest = float(plain[1].abs().max())
    # Scaled as mixed precision scales a loss: small gradients would be 0 in float16.
    ours = _gradient(loss, [one.to(device) for one in inputs], 1 / largest)
    return {
        "value": float((ours[0] - plain[0]).abs() / plain[0].abs()),
        "gradient": float((ours[1] - plain[1] / largest).abs().max()),
    }


def _gradient(loss: nn.Module, inputs: list[Tensor], scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """Return a loss's value, and the scaled gradient to the student."""
    student = inputs[0].detach().requires_grad_()
    sides = (student, inputs[1])
    if hasattr(loss, "roles"):
        found = loss(*(dict.fromkeys(_ROLES, side) for side in sides))
    else:
        found = loss(*sides)
    value = torch.stack(list(found.values())).sum() if isinstance(found, dict) else found
    (gradient,) = torch.autograd.grad(value * scale, student)
    return value.detach().float().cpu(), gradient.float().cpu()
