"""Multiply-adds of a model, counted while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torchvision  # noqa: F401  registers torch.ops.torchvision
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from kd_core.teacher import eval_mode


def count_macs(model: nn.Module, run: Callable[[], Any]) -> int:
    """Count the multiply-adds of convolutions, matrix products and attention.

    They are half of the FLOP of torch.utils.flop_counter, which sees the operators that really
    run, in the second stage of a detector too. Normalization, activation, pooling, resizing, NMS
    and RoIAlign count as nothing. Attention runs without fused kernels meanwhile, and deformable
    convolution has a formula of ours, for the counter knows neither on a CPU.

    Args:
        model: The model; it runs in eval mode, and its modes stay as they are.
        run: Runs it.

    Example:
        >>> layer = nn.Conv2d(3, 8, 3)  # 4 x 4 positions of 3 * 3 * 3 * 8
        >>> count_macs(layer, lambda: layer(torch.zeros(1, 3, 6, 6)))
        3456
    """
    formulas = {torch.ops.torchvision.deform_conv2d: _deform_conv_flop}
    counter = FlopCounterMode(display=False, custom_mapping=formulas)
    with torch.no_grad(), eval_mode(model), _unfused_attention(), counter:
        run()
    return int(counter.get_total_flops()) // 2


@contextmanager
def _unfused_attention() -> Iterator[None]:
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _deform_conv_flop(
    input: Any, weight: Any, *args: Any, out_shape: Any = None, **kwargs: Any
) -> int:
    """Return the FLOP of a convolution of the same shape; args are shapes of tensors."""
    return 2 * int(torch.Size(out_shape).numel()) * int(torch.Size(weight[1:]).numel())
