"""Attention maps of feature maps: pure functions, no parameters, no state.

All of them take any floating dtype and compute in float32, also under autocast. They are written to
need little memory beyond the feature map and its gradient: a detector's stride-4 map is large.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from kd_core.checks import check_feature_map, full_precision

EPSILON = 1e-12  # unit(x) = x / max(||x||_2, EPSILON)
_CHUNK_ELEMENTS = 2**24  # 64 MB of float32
_CACHE_ELEMENTS = 2**19  # 2 MB, which stay in a CPU's cache


def activation_attention(feature: Tensor, power: float = 2.0) -> Tensor:
    """Where a feature map is active: unit(vec mean_c |F|^p).

    Args:
        feature: Feature map (N, C, H, W).
        power: Exponent p on the absolute activations, at least 1.

    Returns:
        Attention (N, H*W) in float32, each row of Euclidean length 1 (an all-zero map gives zeros).
    """
    return F.normalize(activation_map(feature, power).flatten(start_dim=1), dim=1, eps=EPSILON)


def activation_map(feature: Tensor, power: float = 2.0) -> Tensor:
    """Mean of |F|^p over the channels, as a map.

    Args:
        feature: Feature map (N, C, H, W).
        power: Exponent p on the absolute activations, at least 1.

    Returns:
        Map (N, H, W) in float32.
    """
    check_feature_map(feature)
    energy: Tensor = _Energy.apply(_no_double(feature), power)
    return energy / feature.shape[1]  # (N, H, W)


def position_attention(feature: Tensor, side: int | tuple[int, int] = 16) -> Tensor:
    """Cosine between the channel vectors of all pairs of positions, on a pooled grid.

    Args:
        feature: Feature map (N, C, H, W).
        side: Largest grid side; a pair gives height and width.

    Returns:
        Attention (N, P, P) in float32, P = min(H, side) * min(W, side).
    """
    pooled = pool_to(feature, side).flatten(start_dim=2)  # (N, C, P)
    # Not F.normalize: its norm over the channels is ten times slower on a CPU.
    units = pooled * pooled.square().sum(dim=1, keepdim=True).clamp(min=EPSILON**2).rsqrt()
    with full_precision(feature):
        return units.transpose(1, 2) @ units  # (N, P, P)


def position_softmax_attention(feature: Tensor, side: int | tuple[int, int] = 16) -> Tensor:
    """Softmax over positions of X^T X / sqrt(C): DANet's position attention without projections.

    Args:
        feature: Feature map (N, C, H, W).
        side: Largest grid side; a pair gives height and width.

    Returns:
        Attention (N, P, P) in float32, rows sum to 1.
    """
    pooled = pool_to(feature, side).flatten(start_dim=2)  # (N, C, P)
    with full_precision(feature):
        affinity = pooled.transpose(1, 2) @ pooled  # (N, P, P)
    return torch.softmax(affinity / feature.shape[1] ** 0.5, dim=2)


def spatial_attention(
    feature: Tensor, side: int | tuple[int, int] = 16, temperature: float = 0.5
) -> Tensor:
    """P * softmax over positions of mean_c |F| / temperature, on a pooled grid.

    Args:
        feature: Feature map (N, C, H, W).
        side: Largest grid side; a pair gives height and width.
        temperature: Divisor of the mean absolute activations, above 0.

    Returns:
        Attention (N, P) in float32, with mean 1 over the positions.
    """
    energy = pool_to(activation_map(feature, 1.0).unsqueeze(1), side).flatten(start_dim=1)  # (N, P)
    return energy.shape[1] * torch.softmax(energy / temperature, dim=1)


def channel_vectors(feature: Tensor) -> Tensor:
    """Pool feature maps globally; vectors, pooled already, stay.

    Args:
        feature: Feature map (N, C, H, W), or vectors (N, C).

    Returns:
        Vectors (N, C) in float32.
    """
    return feature.float() if feature.dim() == 2 else pooled_channels(feature)


def channel_attention(feature: Tensor) -> Tensor:
    """Cosine between the activation maps of all pairs of channels.

    Args:
        feature: Feature map (N, C, H, W).

    Returns:
        Attention (N, C, C) in float32.
    """
    check_feature_map(feature)
    attention: Tensor = _CosineGram.apply(_no_double(feature))
    return attention


def channel_correlation(feature: Tensor) -> Tensor:
    """Rows of X X^T, each scaled to length 1: the inter-channel correlation of ICKD.

    Args:
        feature: Feature map (N, C, H, W).

    Returns:
        Attention (N, C, C) in float32.
    """
    return F.normalize(_channel_gram(feature), dim=2, eps=EPSILON)


def channel_softmax_attention(feature: Tensor) -> Tensor:
    """softmax(max - X X^T) over each row: DANet's channel attention.

    Args:
        feature: Feature map (N, C, H, W).

    Returns:
        Attention (N, C, C) in float32, rows sum to 1.
    """
    return torch.softmax(-_channel_gram(feature), dim=2)  # a softmax ignores the row's maximum


def pooled_channels(feature: Tensor) -> Tensor:
    """Global average pool.

    Args:
        feature: Feature map (N, C, H, W).

    Returns:
        Vector (N, C) in float32.
    """
    check_feature_map(feature)
    return _no_double(feature).mean(dim=(2, 3), dtype=torch.float32)


def pool_to(feature: Tensor, side: int | tuple[int, int]) -> Tensor:
    """Average-pool a map to at most side x side positions.

    Args:
        feature: Feature map (N, C, H, W).
        side: Largest side; a pair gives height and width.

    Returns:
        Feature map in float32; an axis that is small enough already keeps its size.
    """
    check_feature_map(feature)
    height, width = (side, side) if isinstance(side, int) else side
    size = (min(feature.shape[2], height), min(feature.shape[3], width))
    if size == feature.shape[2:]:
        return feature.float()
    rows, columns = feature.shape[2] // size[0], feature.shape[3] // size[1]
    if (size[0] * rows, size[1] * columns) != feature.shape[2:]:
        return F.adaptive_avg_pool2d(feature.float(), size)
    # Equal cells: two sums take half the time that pooling takes on a CPU, forward and backward.
    tall: Tensor = feature.float().unflatten(2, (size[0], rows)).sum(dim=3)  # (N, C, side, W)
    pooled: Tensor = tall.unflatten(3, (size[1], columns)).sum(dim=4)
    return pooled / (rows * columns)


def _no_double(feature: Tensor) -> Tensor:
    return feature.float() if feature.dtype == torch.float64 else feature


def _channel_gram(feature: Tensor) -> Tensor:
    check_feature_map(feature)
    gram: Tensor = _Gram.apply(_no_double(feature))
    return gram  # (N, C, C)


class _Energy(torch.autograd.Function):
    """Sum of |F|^p over channels, with no temporary of F's size besides F's gradient."""

    @staticmethod
    def forward(ctx: Any, feature: Tensor, power: float) -> Tensor:
        ctx.save_for_backward(feature)
        ctx.power = power
        energy = feature.new_zeros(feature[:, 0].shape, dtype=torch.float32)  # (N, H, W)
        # vector_norm over the channels is one call, and ten times slower on a CPU.
        limit = _CHUNK_ELEMENTS if feature.is_cuda else _CACHE_ELEMENTS
        for channels in feature.split(max(1, limit // energy.numel()), dim=1):
            values = channels.float()
            if power == 1:
                energy += values.abs().sum(dim=1)
            elif power == 2:
                energy += values.square().sum(dim=1)
            else:
                energy += values.abs().pow_(power).sum(dim=1)
        return energy

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (feature,) = ctx.saved_tensors
        scaled = (ctx.power * grad).unsqueeze(1)  # (N, 1, H, W)

        def fill(target: Tensor, values: Tensor, images: slice) -> None:
            if ctx.power == 1:
                torch.sgn(values, out=target)
            elif ctx.power == 2:
                target.copy_(values)
            else:
                torch.abs(values, out=target)
                target.pow_(ctx.power - 1).copysign_(values)
            target.mul_(scaled[images])

        return _gradient_like(feature, fill), None


class _Gram(torch.autograd.Function):
    """X X^T with one gradient of X's size; autograd's own would hold two."""

    @staticmethod
    def forward(ctx: Any, feature: Tensor) -> Tensor:
        ctx.save_for_backward(feature)
        with full_precision(feature):
            rows = feature.float().flatten(start_dim=2)  # (N, C, H*W)
            return torch.bmm(rows, rows.transpose(1, 2))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (feature,) = ctx.saved_tensors
        return _times_rows(grad + grad.transpose(1, 2), feature)


class _CosineGram(torch.autograd.Function):
    """Xb Xb^T of the rows of X scaled to length 1, scaled in the small product and not in X."""

    @staticmethod
    def forward(ctx: Any, feature: Tensor) -> Tensor:
        with full_precision(feature):
            rows = feature.float().flatten(start_dim=2)  # (N, C, H*W)
            cosines = torch.bmm(rows, rows.transpose(1, 2))
        inverse = cosines.diagonal(dim1=1, dim2=2).clamp(min=EPSILON**2).rsqrt()  # (N, C)
        cosines.mul_(inverse.unsqueeze(1)).mul_(inverse.unsqueeze(2))
        ctx.save_for_backward(feature, inverse, cosines)
        return cosines

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        feature, inverse, cosines = ctx.saved_tensors
        both = grad + grad.transpose(1, 2)
        along = (both * cosines).sum(dim=2)  # (N, C): what would only lengthen a row
        both.mul_(inverse.unsqueeze(1)).mul_(inverse.unsqueeze(2))
        both.diagonal(dim1=1, dim2=2).sub_(along * inverse.square())
        return _times_rows(both, feature)


def _times_rows(matrices: Tensor, feature: Tensor) -> Tensor:
    """Multiply a matrix (C, C) for each image by its map as C rows; shape and dtype of the map."""

    def fill(target: Tensor, values: Tensor, images: slice) -> None:
        rows = values.flatten(start_dim=2)
        torch.bmm(matrices[images], rows, out=target.flatten(start_dim=2))

    with full_precision(feature):
        return _gradient_like(feature, fill)


def _gradient_like(feature: Tensor, fill: Callable[[Tensor, Tensor, slice], None]) -> Tensor:
    """Compute a gradient in float32, for other dtypes a few images at a time to save memory."""
    # A tensor of its own, not a view: autograd adds other gradients to it in place.
    gradient = torch.empty(feature.shape, dtype=feature.dtype, device=feature.device)
    if feature.dtype == torch.float32:
        fill(gradient, feature, slice(None))
        return gradient
    step = max(1, _CHUNK_ELEMENTS // feature[0].numel())
    for start in range(0, feature.shape[0], step):
        images = slice(start, start + step)
        values = feature[images].float()
        target = torch.empty(values.shape, device=values.device)
        fill(target, values, images)
        gradient[images] = target
    return gradient
