"""Relations between the samples of a batch: pure functions, no parameters, no state.

All of them take (N, D) rows, or feature maps that they flatten, and compute in float32, also under
autocast. ``columns`` are what the rows are related to: the rows themselves unless given.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from kd_core.checks import without_autocast

EPSILON = 1e-12  # unit(x) = x / max(||x||_2, EPSILON)
_TILE_ELEMENTS = 2**23  # elements of float32 that one tile of angle_difference may hold: 32 MB


def flat_rows(features: Tensor) -> Tensor:
    """One float32 row for each sample.

    Args:
        features: Embeddings (N, D) or feature maps (N, C, H, W).

    Returns:
        Rows (N, D) in float32.
    """
    return features.float().flatten(start_dim=1)


def similarities(rows: Tensor, columns: Tensor | None = None) -> Tensor:
    """Inner products, each row scaled to length 1.

    Args:
        rows: Samples (N, D) or (N, C, H, W).
        columns: Samples (M, ...) to relate the rows to; the rows if absent.

    Returns:
        Matrix (N, M) in float32 with rows of length 1 (a row of zeros stays zero).
    """
    first = flat_rows(rows)
    second = first if columns is None else flat_rows(columns)
    with without_autocast(first):
        return F.normalize(first @ second.t(), dim=1, eps=EPSILON)


def similarity_scores(rows: Tensor, scale: float = 10.0) -> Tensor:
    """Cosines of each sample with the others, times a scale: softmax makes probabilities of them.

    Args:
        rows: Samples (N, D) or (N, C, H, W).
        scale: 1 over the temperature of softmax.

    Returns:
        Matrix (N, N - 1) in float32; a sample is left out of its own row.
    """
    units = F.normalize(flat_rows(rows), dim=1, eps=EPSILON)  # (N, D)
    count = len(units)
    with without_autocast(units):
        cosines = units @ units.t()  # (N, N)
    others = ~torch.eye(count, dtype=torch.bool, device=units.device)
    return scale * cosines[others].reshape(count, max(count - 1, 0))


def distances(rows: Tensor, columns: Tensor | None = None) -> Tensor:
    """Euclidean distances; the gradient between equal samples is 0.

    Args:
        rows: Samples (N, D) or (N, C, H, W).
        columns: Samples (M, ...) to relate the rows to; the rows if absent.

    Returns:
        Matrix (N, M) in float32.
    """
    first = flat_rows(rows)
    second = first if columns is None else flat_rows(columns)
    with without_autocast(first):
        # Differences, not inner products: those lose the distance between near duplicates.
        return torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist")


def relative_distances(rows: Tensor, columns: Tensor | None = None) -> Tensor:
    """Euclidean distances divided by the mean of the positive ones.

    Args:
        rows: Samples (N, D) or (N, C, H, W).
        columns: Samples (M, ...) to relate the rows to; the rows if absent.

    Returns:
        Matrix (N, M) in float32; zeros if all samples are equal.
    """
    values = distances(rows, columns)
    mean = values.sum() / (values > 0).sum().clamp(min=1)
    return values / mean.clamp(min=EPSILON)


def gaussian_kernel(rows: Tensor, columns: Tensor | None = None, gamma: float = 0.4) -> Tensor:
    """Gaussian kernel exp(-gamma * squared distance), each row scaled to length 1.

    Args:
        rows: Samples (N, D) or (N, C, H, W).
        columns: Samples (M, ...) to relate the rows to; the rows if absent.
        gamma: Sharpness of the kernel, above 0.

    Returns:
        Matrix (N, M) in float32 with rows of length 1.
    """
    return F.normalize(torch.exp(-gamma * distances(rows, columns).square()), dim=1, eps=EPSILON)


def angle_difference(student: Tensor, teacher: Tensor, vertices: int | None = None) -> Tensor:
    """Mean smooth-L1 difference of the cosines of all triplet angles.

        cos[i, j, k] = <unit(x_j - x_i), unit(x_k - x_i)>
        mean over i < vertices and all j, k of smooth_l1(cos_student - cos_teacher)

    The N x M x M cosines exist only tile by tile; the student's gradient is found in the same pass,
    so memory is O(M^2 + M*D). Where two samples are equal their direction counts as 0 and gets no
    gradient. The gradient cannot be differentiated again.

    Args:
        student: Samples (M, D_s) or (M, C, H, W).
        teacher: Samples (M, D_t) or (M, C, H, W); no gradient flows into them.
        vertices: How many samples, from the first, serve as vertex i; all if absent.

    Returns:
        Scalar in float32.
    """
    count = student.shape[0] if vertices is None else vertices
    value: Tensor = _AngleDifference.apply(flat_rows(student), flat_rows(teacher.detach()), count)
    return value


class _AngleDifference(torch.autograd.Function):
    """The value and the student's gradient in one pass over tiles of vertices."""

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, vertices: int) -> Tensor:
        samples = student.shape[0]
        width = max(student.shape[1], teacher.shape[1], samples)
        step = max(1, _TILE_ELEMENTS // (6 * samples * width))
        scale = 1.0 / (vertices * samples * samples)
        total = student.new_zeros(())
        gradient = torch.zeros_like(student)
        with without_autocast(student):
            for start in range(0, vertices, step):
                tile = slice(start, min(start + step, vertices))
                units, inverse = _directions(student, tile)
                targets, _ = _directions(teacher, tile)
                cosines = torch.bmm(targets, targets.transpose(1, 2))
                difference = torch.baddbmm(cosines, units, units.transpose(1, 2), beta=-1)
                slope = difference.clamp(-1, 1)  # derivative of smooth_l1
                total += (difference.sub_(slope, alpha=0.5).mul_(slope)).sum()
                if ctx.needs_input_grad[0]:
                    pull = _through_directions(torch.bmm(slope, units).mul_(2), units, inverse)
                    gradient += pull.sum(dim=0)
                    gradient[tile] -= pull.sum(dim=1)
        ctx.save_for_backward(gradient.mul_(scale))
        return total * scale

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return grad * gradient, None, None


def _directions(points: Tensor, tile: slice) -> tuple[Tensor, Tensor]:
    """Unit vectors (T, M, D) from the tile's vertices to all points, and 1 / length (T, M, 1)."""
    offsets = points.unsqueeze(0) - points[tile].unsqueeze(1)
    length = torch.linalg.vector_norm(offsets, dim=2, keepdim=True)
    inverse = torch.where(length > EPSILON, 1 / length.clamp(min=EPSILON), 0.0)
    return offsets.mul_(inverse), inverse


def _through_directions(gradient: Tensor, units: Tensor, inverse: Tensor) -> Tensor:
    """Take the gradient on unit vectors back to the offsets that they were made from."""
    along = torch.linalg.vecdot(gradient, units, dim=2).unsqueeze(2)
    return gradient.addcmul_(along, units, value=-1).mul_(inverse)
