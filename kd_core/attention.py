"""Attention maps of feature maps: pure functions, no parameters, no state.

All of them take any floating dtype and compute in float32, also under autocast. Products that would
otherwise need much memory are in kd_core/relations/gram.py.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from kd_core.checks import check_feature_map, check_feature_maps, check_positive, without_autocast
from kd_core.relations.cells import row_means
from kd_core.relations.gram import EPSILON, cosine_gram, energy, gram, without_float64

_SMALL = 2**19  # elements: a map of which a copy costs less than several calls


def activation_attention(feature: Tensor, power: float = 2.0) -> Tensor:
    """Activation attention, where a feature map is active: unit(vec mean_c |F|^p).

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
    return energy(feature, power) / feature.shape[1]  # (N, H, W)


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
    with without_autocast(feature):
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
    with without_autocast(feature):
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

    Raises:
        ValueError: If ``temperature`` is not above 0 and finite.
    """
    check_positive(temperature=temperature)
    pooled = pool_to(activation_map(feature, 1.0).unsqueeze(1), side).flatten(start_dim=1)  # (N, P)
    return pooled.shape[1] * torch.softmax(pooled / temperature, dim=1)


def channel_vectors(feature: Tensor) -> Tensor:
    """Pool feature maps globally; vectors, which are pooled already, stay.

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
    return cosine_gram(feature)


def channel_correlation(feature: Tensor) -> Tensor:
    """Rows of X X^T, each scaled to length 1: the inter-channel correlation of ICKD.

    Args:
        feature: Feature map (N, C, H, W).

    Returns:
        Attention (N, C, C) in float32.
    """
    check_feature_map(feature)
    return F.normalize(gram(feature), dim=2, eps=EPSILON)


def channel_softmax_attention(feature: Tensor) -> Tensor:
    """softmax(max - X X^T) over each row: DANet's channel attention.

    Args:
        feature: Feature map (N, C, H, W).

    Returns:
        Attention (N, C, C) in float32, rows sum to 1.
    """
    check_feature_map(feature)
    return torch.softmax(-gram(feature), dim=2)  # a softmax ignores the row's maximum


def pooled_channels(feature: Tensor) -> Tensor:
    """Global average pool.

    Args:
        feature: Feature map (N, C, H, W).

    Returns:
        Vector (N, C) in float32.
    """
    check_feature_map(feature)
    return without_float64(feature).mean(dim=(2, 3), dtype=torch.float32)


def unit_channels(feature: Tensor, power: float = 1.0) -> Tensor:
    """Mean of |F|^p over positions, as a vector of root mean square 1: sqrt(C) unit(mean |F|^p).

    Args:
        feature: Feature map (N, C, H, W).
        power: Exponent p on the absolute activations, at least 1.

    Returns:
        Vector (N, C) in float32, each of Euclidean length sqrt(C) (an all-zero map gives zeros).
    """
    check_feature_map(feature)
    strength = without_float64(feature).abs()
    if power != 1:
        strength = strength.float().pow(power)
    pooled = strength.mean(dim=(2, 3), dtype=torch.float32)  # (N, C)
    return F.normalize(pooled, dim=1, eps=EPSILON) * math.sqrt(feature.shape[1])


def pool_to(feature: Tensor, side: int | tuple[int, int]) -> Tensor:
    """Average-pool a map to at most side x side positions.

    Args:
        feature: Feature map (N, C, H, W).
        side: Largest side; a pair gives height and width.

    Returns:
        Feature map in float32; an axis that is small enough already keeps its size. The gradient
        to a large map in half precision cannot be differentiated again.
    """
    check_feature_map(feature)
    height, width = (side, side) if isinstance(side, int) else side
    size = (min(feature.shape[2], height), min(feature.shape[3], width))
    if size == feature.shape[2:]:
        return feature.float()
    rows, columns = feature.shape[2] // size[0], feature.shape[3] // size[1]
    if (size[0] * rows, size[1] * columns) != feature.shape[2:]:
        if feature.element_size() < 4 and feature.numel() > _SMALL:
            feature = row_means(feature, size[0])  # without a copy of the whole in float32
        return F.adaptive_avg_pool2d(feature.float(), size)
    # Equal cells: two sums take half the time that pooling takes on a CPU, forward and backward.
    tall: Tensor = feature.unflatten(2, (size[0], rows)).sum(dim=3, dtype=torch.float32)
    pooled: Tensor = tall.unflatten(3, (size[1], columns)).sum(dim=4)  # (N, C, side, side)
    return pooled / (rows * columns)


def match_sizes(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Average-pool the larger map to the smaller, each axis on its own.

    Args:
        student: Feature map (N, C_s, H_s, W_s).
        teacher: Feature map (N, C_t, H_t, W_t).

    Returns:
        Student and teacher with equal H and W; maps that agree already are returned as they are.

    Raises:
        ValueError: If either is not 4-D or empty, or if N differs.

    Example:
        >>> import torch
        >>> student, teacher = match_sizes(torch.randn(2, 3, 4, 9), torch.randn(2, 5, 8, 6))
        >>> student.shape, teacher.shape
        (torch.Size([2, 3, 4, 6]), torch.Size([2, 5, 4, 6]))
    """
    check_feature_maps(student, teacher)
    if student.shape[2:] == teacher.shape[2:]:
        return student, teacher
    size = smaller_size(student, teacher)
    return pool_to(student, size), pool_to(teacher, size)


def smaller_size(student: Tensor, teacher: Tensor) -> tuple[int, int]:
    """Return the smaller height and the smaller width of two maps.

    Args:
        student: Feature map (N, C_s, H_s, W_s).
        teacher: Feature map (N, C_t, H_t, W_t).

    Returns:
        Height and width.
    """
    return (
        min(student.shape[2], teacher.shape[2]),
        min(student.shape[3], teacher.shape[3]),
    )
