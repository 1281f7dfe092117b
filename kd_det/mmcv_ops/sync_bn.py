"""The local parts of mmcv's synchronized batch norm, of inputs (N, C, L); mmcv merges ranks."""

import torch
from torch import Tensor

SERVED = (
    "sync_bn_forward_mean",
    "sync_bn_forward_var",
    "sync_bn_forward_output",
    "sync_bn_backward_param",
    "sync_bn_backward_data",
)


def sync_bn_forward_mean(input: Tensor, mean: Tensor) -> None:
    """Write the mean (C,) of each channel."""
    mean.copy_(input.float().mean((0, 2)))


def sync_bn_forward_var(input: Tensor, mean: Tensor, var: Tensor) -> None:
    """Write the variance (C,) of each channel around a mean, biased."""
    var.copy_((input.float() - mean[:, None]).square().mean((0, 2)))


def sync_bn_forward_output(
    input: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    norm: Tensor,
    std: Tensor,
    output: Tensor,
    eps: float,
    momentum: Tensor | float,
    group_size: int,
) -> None:
    """Write the normalized input, the output and the standard deviation; update the statistics."""
    std.copy_((var + eps).sqrt())
    norm.copy_((input.float() - mean[:, None]) / std[:, None])
    output.copy_(norm * weight[:, None] + bias[:, None])
    if running_mean is None:
        return
    count = input.shape[0] * input.shape[2] * group_size
    unbiased = var * count / max(count - 1, 1)
    share = torch.as_tensor(momentum, device=mean.device, dtype=mean.dtype)
    running_mean.lerp_(mean.to(running_mean.dtype), share.to(running_mean.dtype))
    running_var.lerp_(unbiased.to(running_var.dtype), share.to(running_var.dtype))


def sync_bn_backward_param(
    grad_output: Tensor, norm: Tensor, grad_weight: Tensor, grad_bias: Tensor
) -> None:
    """Write the gradients (C,) of weight and bias."""
    grad_weight.copy_((grad_output.float() * norm).sum((0, 2)))
    grad_bias.copy_(grad_output.float().sum((0, 2)))


def sync_bn_backward_data(
    grad_output: Tensor,
    weight: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    norm: Tensor,
    std: Tensor,
    grad_input: Tensor,
) -> None:
    """Write the gradient of the input."""
    count = grad_output.shape[0] * grad_output.shape[2]
    through_statistics = (norm * grad_weight[:, None] + grad_bias[:, None]) / count
    scale = (weight / std)[:, None]
    grad_input.copy_(scale * (grad_output.float() - through_statistics))
