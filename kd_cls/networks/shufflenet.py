"""ShuffleNet versions 1 and 2 for small images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kd_cls.networks.staged import StagedNetwork

_STEM = 24
_BLOCKS = (4, 8, 4)


class ShuffleNetV1(StagedNetwork):
    """ShuffleNet, 3 groups: 1x1 convolutions in groups, their channels shuffled between.

    Zhang et al., "ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile
    Devices", CVPR 2018, https://arxiv.org/abs/1707.01083, as changed in RepDistiller
    (https://github.com/HobbitLong/RepDistiller, ``models/ShuffleNetv1.py``): the stem is one 1x1
    convolution of stride 1, and ReLU also follows the 3x3 convolutions.

    On images of 32 pixels the stem is a map of 32 and the stages of 16, 8 and 4. Weights start as
    PyTorch draws them.

    Args:
        num_classes: Number of classes.

    Example:
        >>> import torch
        >>> ShuffleNetV1(num_classes=100)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 100])
    """

    def __init__(self, num_classes: int) -> None:
        widths = (_STEM, 240, 480, 960)
        stages = []
        for i, blocks in enumerate(_BLOCKS):
            first_groups = 1 if i == 0 else 3
            halving = GroupedBlock(widths[i], widths[i + 1], stride=2, first_groups=first_groups)
            rest = (GroupedBlock(widths[i + 1], widths[i + 1]) for _ in range(blocks - 1))
            stages.append(nn.Sequential(halving, *rest))
        super().__init__(_convolution(3, _STEM), stages, widths[3], num_classes)


class ShuffleNetV2(StagedNetwork):
    """ShuffleNetV2 of width 1: each block works on half of the channels.

    Ma et al., "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design",
    ECCV 2018, https://arxiv.org/abs/1807.11164, as changed in RepDistiller
    (https://github.com/HobbitLong/RepDistiller, ``models/ShuffleNetv2.py``): the stem is one 1x1
    convolution of stride 1.

    On images of 32 pixels the stem is a map of 32 and the stages of 16, 8 and 4. ``last`` is the
    1x1 convolution to 1024 channels. Weights start as PyTorch draws them.

    Args:
        num_classes: Number of classes.

    Example:
        >>> import torch
        >>> ShuffleNetV2(num_classes=100)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 100])
    """

    def __init__(self, num_classes: int) -> None:
        widths = (_STEM, 116, 232, 464)
        stages = []
        for i, blocks in enumerate(_BLOCKS):
            halving = HalvingBlock(widths[i], widths[i + 1])
            rest = (SplitBlock(widths[i + 1]) for _ in range(blocks - 1))
            stages.append(nn.Sequential(halving, *rest))
        super().__init__(
            _convolution(3, _STEM), stages, 1024, num_classes, last=_convolution(widths[3], 1024)
        )


class GroupedBlock(nn.Module):
    """Version 1: 1x1 in groups, shuffle, 3x3 of each channel, 1x1 in groups.

    With stride 1 the input is added. With stride 2 it is averaged and appended: part of the
    output's channels are the input's.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        groups: int = 3,
        first_groups: int = 3,
    ) -> None:
        super().__init__()
        new = out_channels - in_channels if stride == 2 else out_channels
        middle = new // 4
        self.narrow = _convolution(in_channels, middle, groups=first_groups)
        self.groups = first_groups
        self.spatial = _convolution(middle, middle, kernel=3, stride=stride, groups=middle)
        self.widen = _convolution(middle, new, groups=groups, relu=False)
        self.shortcut = nn.AvgPool2d(3, 2, padding=1) if stride == 2 else None
        self.relu = nn.ReLU()

    def forward(self, features: Tensor) -> Tensor:
        """Turn a map (N, C, H, W) into (N, C', H/stride, W/stride)."""
        new = self.widen(self.spatial(shuffle(self.narrow(features), self.groups)))
        if self.shortcut is None:
            out: Tensor = self.relu(new + features)
        else:
            out = self.relu(torch.cat([new, self.shortcut(features)], dim=1))
        return out


class SplitBlock(nn.Module):
    """Version 2: half of the channels through 1x1, 3x3 of each channel and 1x1; then shuffle."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = _spatial_branch(channels // 2, channels // 2, stride=1)

    def forward(self, features: Tensor) -> Tensor:
        """Turn a map (N, C, H, W) into another of the same shape."""
        kept, used = features.chunk(2, dim=1)
        return shuffle(torch.cat([kept, self.branch(used)], dim=1), groups=2)


class HalvingBlock(nn.Module):
    """Version 2: all channels through two branches of stride 2, side by side; then shuffle."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        half = out_channels // 2
        self.short = nn.Sequential(
            *_convolution(in_channels, in_channels, 3, 2, groups=in_channels, relu=False),
            *_convolution(in_channels, half),
        )
        self.branch = _spatial_branch(in_channels, half, stride=2)

    def forward(self, features: Tensor) -> Tensor:
        """Turn a map (N, C, H, W) into (N, C', H/2, W/2)."""
        return shuffle(torch.cat([self.short(features), self.branch(features)], dim=1), groups=2)


def shuffle(features: Tensor, groups: int) -> Tensor:
    """Take the channels of a map (N, C, H, W) in turn from each of the groups."""
    n, channels, height, width = features.shape
    apart = features.reshape(n, groups, channels // groups, height, width)
    return apart.transpose(1, 2).reshape(n, channels, height, width)


def _spatial_branch(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        *_convolution(in_channels, out_channels),
        *_convolution(out_channels, out_channels, 3, stride, groups=out_channels, relu=False),
        *_convolution(out_channels, out_channels),
    )


def _convolution(
    in_channels: int,
    out_channels: int,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    relu: bool = True,
) -> nn.Sequential:
    convolution = nn.Conv2d(
        in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False
    )
    activation = [nn.ReLU()] if relu else []
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), *activation)
