"""Gram matrices and sums over a feature map, with gradients of their own that need little memory.

A detector's stride-4 map is large: besides it and its gradient nothing of that size is held.
All compute in float32, also under autocast.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from kd_core.checks import without_autocast

EPSILON = 1e-12  # unit(x) = x / max(||x||_2, EPSILON)
_CHUNK_ELEMENTS = 2**24  # 64 MB of float32
_CACHE_ELEMENTS = 2**19  # 2 MB, which stay in a CPU's cache

_Shared = dict[Hashable, dict[float, Tensor]]  # map -> power -> energy
_shared: ContextVar[_Shared | None] = ContextVar("shared energies", default=None)


@contextlib.contextmanager
def shared_energies(features: Iterable[Tensor]) -> Iterator[None]:
    """Within this context, compute the energy of a map that occurs more than once only once.

    Its gradients are added up while they are as small as the energy, so that the gradient of the
    map itself is computed once too.

    Args:
        features: All maps that are compared, each as often as it is; they must stay alive.
    """
    counts = Counter(_identity(feature) for feature in features)
    token = _shared.set({key: {} for key, count in counts.items() if count > 1})
    try:
        yield
    finally:
        _shared.reset(token)


def energy(feature: Tensor, power: float) -> Tensor:
    """Sum of |F|^p over the channels.

    Args:
        feature: Feature map (N, C, H, W).
        power: Exponent p, at least 1.

    Returns:
        Map (N, H, W) in float32. Its gradient cannot be differentiated again.
    """
    shared = None if torch.compiler.is_compiling() else _shared.get()
    known = shared.get(_identity(feature)) if shared else None
    if known is not None and power in known:
        return known[power]
    found: Tensor = _Energy.apply(without_float64(feature), power)
    if known is not None:
        known[power] = found
    return found


def gram(feature: Tensor) -> Tensor:
    """Inner products X X^T of the map's channels, X as C rows and H*W columns.

    Args:
        feature: Feature map (N, C, H, W).

    Returns:
        Matrices (N, C, C) in float32. Their gradient cannot be differentiated again.
    """
    found: Tensor = _Gram.apply(without_float64(feature))
    return found


def cosine_gram(feature: Tensor) -> Tensor:
    """Inner products of the map's channels, each scaled to length 1.

    Args:
        feature: Feature map (N, C, H, W).

    Returns:
        Matrices (N, C, C) in float32. Their gradient cannot be differentiated again.
    """
    found: Tensor = _CosineGram.apply(without_float64(feature))
    return found


def without_float64(feature: Tensor) -> Tensor:
    """Return a tensor in float32 if it is in float64, otherwise as it is."""
    return feature.float() if feature.dtype == torch.float64 else feature


def _identity(feature: Tensor) -> Hashable:
    """Return a key that only the same values with the same graph have, while they are alive."""
    if (feature.requires_grad and torch.is_grad_enabled()) or feature.is_inference():
        return id(feature)  # a tensor of inference mode has no version
    layout = feature.shape, feature.stride(), feature.dtype, feature.device
    return feature.data_ptr(), feature._version, *layout  # detach() makes a new object


def _in_one_kernel(feature: Tensor) -> bool:
    """Return whether a kernel converts what it reads; a CPU's makes a converted copy first."""
    return feature.is_cuda


class _Energy(torch.autograd.Function):
    """Sum of |F|^p over channels, with no temporary of F's size besides F's gradient."""

    @staticmethod
    def forward(ctx: Any, feature: Tensor, power: float) -> Tensor:
        ctx.save_for_backward(feature)
        ctx.power = power
        if _in_one_kernel(feature):
            norm: Tensor = torch.linalg.vector_norm(feature, power, dim=1, dtype=torch.float32)
            return norm.pow_(power)  # (N, H, W)
        energy = feature.new_zeros(feature[:, 0].shape, dtype=torch.float32)  # (N, H, W)
        # vector_norm over the channels is one call, and ten times slower on a CPU.
        for channels in feature.split(max(1, _CACHE_ELEMENTS // energy.numel()), dim=1):
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
        if ctx.power == 2 and _in_one_kernel(feature):
            return torch.mul(feature, scaled, out=torch.empty_like(feature)), None

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
        return _inner_products(feature)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (feature,) = ctx.saved_tensors
        return _times_rows(grad + grad.transpose(1, 2), feature)


class _CosineGram(torch.autograd.Function):
    """Xb Xb^T of the rows of X scaled to length 1, scaled in the small product and not in X."""

    @staticmethod
    def forward(ctx: Any, feature: Tensor) -> Tensor:
        cosines = _inner_products(feature)
        inverse = cosines.diagonal(dim1=1, dim2=2).clamp(min=EPSILON**2).rsqrt()  # (N, C)
        cosines.mul_(inverse.unsqueeze(1)).mul_(inverse.unsqueeze(2))
        ctx.save_for_backward(feature, inverse, cosines)
        return cosines

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        feature, inverse, cosines = ctx.saved_tensors
        both = grad + grad.transpose(1, 2)
        along = (both * cosines).sum(dim=2)  # (N, C): the part that would only lengthen a row
        both.mul_(inverse.unsqueeze(1)).mul_(inverse.unsqueeze(2))
        both.diagonal(dim1=1, dim2=2).sub_(along * inverse.square())
        return _times_rows(both, feature)


def _inner_products(feature: Tensor) -> Tensor:
    with without_autocast(feature):
        rows = feature.float().flatten(start_dim=2)  # (N, C, H*W)
        return torch.bmm(rows, rows.transpose(1, 2))


def _times_rows(matrices: Tensor, feature: Tensor) -> Tensor:
    """Multiply a matrix (C, C) for each image by its map as C rows; shape and dtype of the map."""

    def fill(target: Tensor, values: Tensor, images: slice) -> None:
        rows = values.flatten(start_dim=2)
        torch.bmm(matrices[images], rows, out=target.flatten(start_dim=2))

    with without_autocast(feature):
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
