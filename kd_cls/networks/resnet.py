"""Residual networks: ResNet-8 to 110 with three stages, ResNet-18, 34 and 50 with four."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from kd_cls.networks.staged import StagedNetwork, initialize_convolutions

_LAYOUTS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}


class CifarResNet(StagedNetwork):
    """ResNet of depth 6n + 2 for CIFAR: three stages of n basic blocks.

    He et al., "Deep Residual Learning for Image Recognition", CVPR 2016,
    https://arxiv.org/abs/1512.03385, section 4.2. As in RepDistiller
    (https://github.com/HobbitLong/RepDistiller, ``models/resnet.py``), the shortcut is a 1x1
    convolution with batch norm wherever size or channels change; the paper's has no parameters.

    On images of 32 pixels the stages are maps of 32, 16 and 8. Convolutions start by fan-out, the
    classifier as PyTorch does it.

    Args:
        depth: 6n + 2, such as 8, 14, 20, 32, 44, 56 or 110.
        num_classes: Number of classes.
        widths: Channels of the stem and the three stages; (32, 64, 128, 256) makes ResNet-8x4
            and ResNet-32x4.

    Raises:
        ValueError: If the depth is not 6n + 2, or the widths are not four.

    Example:
        >>> import torch
        >>> CifarResNet(depth=8, num_classes=100)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 100])
    """

    def __init__(
        self, depth: int, num_classes: int, widths: Sequence[int] = (16, 16, 32, 64)
    ) -> None:
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"depth must be 6n + 2 (8, 14, 20, ...), but it is {depth}.")
        if len(widths) != 4:
            raise ValueError(
                f"widths must be of the stem and three stages, but they are {tuple(widths)}."
            )
        blocks = (depth - 2) // 6
        stages = [
            _stage(BasicBlock, blocks, widths[i], widths[i + 1], stride=1 if i == 0 else 2)
            for i in range(3)
        ]
        super().__init__(_stem(widths[0]), stages, widths[3], num_classes)
        initialize_convolutions(self)


class ResNet(StagedNetwork):
    """ResNet-18, 34 or 50 of ImageNet with a stem for small images.

    He et al., as above, with a stem of one 3x3 convolution of stride 1 and no max pooling, as in
    CCSKD (https://github.com/gjplab/CCSKD, ``models/resnet.py``) and RepDistiller
    (``models/resnetv2.py``). In a bottleneck the 3x3 convolution has the stride.

    On images of 32 pixels the stages are maps of 32, 16, 8 and 4. Convolutions start by fan-out,
    the classifier as PyTorch does it.

    Args:
        depth: 18, 34 or 50.
        num_classes: Number of classes.

    Raises:
        ValueError: If the depth is another.

    Example:
        >>> import torch
        >>> ResNet(depth=18, num_classes=100)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 100])
    """

    def __init__(self, depth: int, num_classes: int) -> None:
        if depth not in _LAYOUTS:
            raise ValueError(f"depth must be one of {sorted(_LAYOUTS)}, but it is {depth}.")
        block: type[BasicBlock | Bottleneck] = BasicBlock if depth < 50 else Bottleneck
        widths = [64, *(width * block.expansion for width in (64, 128, 256, 512))]
        stages = [
            _stage(block, blocks, widths[i], widths[i + 1], stride=1 if i == 0 else 2)
            for i, blocks in enumerate(_LAYOUTS[depth])
        ]
        super().__init__(_stem(64), stages, widths[4], num_classes)
        initialize_convolutions(self)


class _Residual(nn.Module):
    """Convolutions with a shortcut; ReLU after their sum."""

    def __init__(
        self, residual: nn.Module, in_channels: int, out_channels: int, stride: int
    ) -> None:
        super().__init__()
        self.residual = residual
        self.shortcut = _shortcut(in_channels, out_channels, stride)
        self.before_relu = nn.Identity()  # a layer to select: the sum
        self.relu = nn.ReLU()

    def forward(self, features: Tensor) -> Tensor:
        """Turn a map (N, C, H, W) into (N, C', H/stride, W/stride)."""
        sums = self.residual(features) + self.shortcut(features)
        out: Tensor = self.relu(self.before_relu(sums))
        return out


class BasicBlock(_Residual):
    """Two 3x3 convolutions with a shortcut; ReLU after their sum."""

    expansion = 1

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        residual = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        super().__init__(residual, in_channels, out_channels, stride)


class Bottleneck(_Residual):
    """1x1, 3x3 and 1x1 convolution with a shortcut; ReLU after their sum."""

    expansion = 4

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        middle = out_channels // self.expansion
        residual = nn.Sequential(
            nn.Conv2d(in_channels, middle, 1, bias=False),
            nn.BatchNorm2d(middle),
            nn.ReLU(),
            nn.Conv2d(middle, middle, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(middle),
            nn.ReLU(),
            nn.Conv2d(middle, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        super().__init__(residual, in_channels, out_channels, stride)


def _stem(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
    )


def _stage(
    block: type[BasicBlock | Bottleneck],
    blocks: int,
    in_channels: int,
    out_channels: int,
    stride: int,
) -> nn.Sequential:
    first = block(in_channels, out_channels, stride)
    return nn.Sequential(first, *(block(out_channels, out_channels, 1) for _ in range(blocks - 1)))


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
    )
