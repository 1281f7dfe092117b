"""Sigmoid and softmax focal loss, elementwise, for logits (B, K) and class indices (B,).

Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, https://arxiv.org/abs/1708.02002.
The logarithms come from the logits. mmcv's kernel takes log(1 - sigmoid(x)) instead, which in
float32 is wrong for logits above 17.
"""

import torch
from torch import Tensor
from torch.nn import functional

SERVED = (
    "sigmoid_focal_loss_forward",
    "sigmoid_focal_loss_backward",
    "softmax_focal_loss_forward",
    "softmax_focal_loss_backward",
)


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Write the losses (B, K); a target outside 0 to K - 1 is background and takes weight 1."""
    x = _precise(input)
    positive = _one_hot(target, x)
    of_positive = alpha * torch.sigmoid(-x) ** gamma * functional.logsigmoid(x)
    of_negative = (1 - alpha) * torch.sigmoid(x) ** gamma * functional.logsigmoid(-x)
    output.copy_(-torch.where(positive, of_positive, of_negative) * _weights(weight, target, x))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Write the derivative of each loss with respect to its logit (B, K)."""
    x = _precise(input)
    positive = _one_hot(target, x)
    p, q = torch.sigmoid(x), torch.sigmoid(-x)
    of_positive = alpha * q**gamma * (q - gamma * p * functional.logsigmoid(x))
    of_negative = (1 - alpha) * p**gamma * (gamma * q * functional.logsigmoid(-x) - p)
    grad_input.copy_(-torch.where(positive, of_positive, of_negative) * _weights(weight, target, x))


def softmax_focal_loss_forward(
    softmax: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Write the losses (B,) of probabilities (B, K); a negative target is ignored."""
    p = _of_target(softmax, target)
    loss = -alpha * (1 - p) ** gamma * p.log()
    output.copy_(torch.where(target >= 0, loss * _weights(weight, target, softmax)[:, 0], 0))


def softmax_focal_loss_backward(
    softmax: Tensor,
    target: Tensor,
    weight: Tensor,
    buff: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Write the derivative of each loss with respect to the logits (B, K)."""
    p = _of_target(softmax, target)
    rest = (1 - p).clamp(min=torch.finfo(p.dtype).tiny)
    slope = alpha * (gamma * rest ** (gamma - 1) * p * p.log() - rest**gamma)
    slope = torch.where(target >= 0, slope * _weights(weight, target, softmax)[:, 0], 0)
    buff.copy_(slope)
    grad_input.copy_(slope[:, None] * (_one_hot(target, softmax).to(p.dtype) - _precise(softmax)))


def _of_target(softmax: Tensor, target: Tensor) -> Tensor:
    p = _precise(softmax).gather(1, target.clamp(min=0)[:, None])[:, 0]
    return p.clamp(min=torch.finfo(p.dtype).tiny)


def _one_hot(target: Tensor, x: Tensor) -> Tensor:
    return target[:, None] == torch.arange(x.shape[1], device=x.device)


def _weights(weight: Tensor, target: Tensor, x: Tensor) -> Tensor:
    """(B, 1), the weight of each row's target."""
    if weight.numel() == 0:
        return x.new_ones((len(target), 1), dtype=_precise(x).dtype)
    known = (target >= 0) & (target < len(weight))
    chosen = _precise(weight)[torch.where(known, target, 0)]
    return torch.where(known, chosen, 1)[:, None]


def _precise(x: Tensor) -> Tensor:
    return x if x.dtype in (torch.float32, torch.float64) else x.float()
