"""Wide residual networks: WRN-16-1, 16-2, 40-1, 40-2 and others of depth 6n + 4."""

from __future__ import annotations

from torch import Tensor, nn

from kd_cls.networks.staged import StagedNetwork, initialize_convolutions


class WideResNet(StagedNetwork):
    """WRN-depth-width: three stages of n pre-activation blocks, ``width`` times as wide.

    Zagoruyko and Komodakis, "Wide Residual Networks", BMVC 2016,
    https://arxiv.org/abs/1605.07146, without dropout, as in RepDistiller
    (https://github.com/HobbitLong/RepDistiller, ``models/wrn.py``).

    On images of 32 pixels the stages are maps of 32, 16 and 8. They end with a sum, before norm
    and ReLU: ``last`` is the third stage after both. Convolutions start by fan-out, the
    classifier's bias at 0, its weights as PyTorch draws them.

    Args:
        depth: 6n + 4, such as 16, 28 or 40.
        width: Factor on the channels 16, 32 and 64 of the stages.
        num_classes: Number of classes.

    Raises:
        ValueError: If the depth is not 6n + 4, or the width is less than 1.

    Example:
        >>> import torch
        >>> WideResNet(depth=16, width=1, num_classes=100)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 100])
    """

    def __init__(self, depth: int, width: int, num_classes: int) -> None:
        if depth < 10 or (depth - 4) % 6:
            raise ValueError(f"depth must be 6n + 4 (10, 16, 22, ...), but it is {depth}.")
        if width < 1:
            raise ValueError(f"width must be at least 1, but it is {width}.")
        blocks = (depth - 4) // 6
        widths = (16, 16 * width, 32 * width, 64 * width)
        stages = [
            _stage(blocks, widths[i], widths[i + 1], stride=1 if i == 0 else 2) for i in range(3)
        ]
        super().__init__(
            nn.Conv2d(3, widths[0], 3, padding=1, bias=False),
            stages,
            widths[3],
            num_classes,
            last=_norm_relu(widths[3]),
        )
        initialize_convolutions(self)
        nn.init.zeros_(self.classifier.bias)


class PreActivationBlock(nn.Module):
    """Norm, ReLU and 3x3 convolution, twice, with a shortcut.

    Where the channels change, the shortcut is a 1x1 convolution of the activated input;
    elsewhere it is the input itself.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.activation = _norm_relu(in_channels)
        self.residual = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False),
            *_norm_relu(out_channels),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
        )
        self.shortcut = (
            None
            if in_channels == out_channels
            else nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Turn a map (N, C, H, W) into (N, C', H/stride, W/stride)."""
        active = self.activation(features)
        short = features if self.shortcut is None else self.shortcut(active)
        out: Tensor = short + self.residual(active)
        return out


def _norm_relu(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())


def _stage(blocks: int, in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    first = PreActivationBlock(in_channels, out_channels, stride)
    rest = (PreActivationBlock(out_channels, out_channels, 1) for _ in range(blocks - 1))
    return nn.Sequential(first, *rest)
