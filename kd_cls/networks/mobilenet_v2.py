"""MobileNetV2 for small images; distillation papers use half its width."""

from __future__ import annotations

from torch import Tensor, nn

from kd_cls.networks.staged import StagedNetwork, initialize_classifier, initialize_convolutions

# For each stage, groups of blocks: expansion, channels at width 1, blocks, stride of the first.
_STAGES = (
    ((1, 16, 1, 1), (6, 24, 2, 1)),
    ((6, 32, 3, 2),),
    ((6, 64, 4, 2), (6, 96, 3, 1)),
    ((6, 160, 3, 2), (6, 320, 1, 1)),
)
_FEATURES = 1280


class MobileNetV2(StagedNetwork):
    """MobileNetV2: inverted residual blocks in four stages.

    Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018,
    https://arxiv.org/abs/1801.04381, as changed in RepDistiller
    (https://github.com/HobbitLong/RepDistiller, ``models/mobilenetv2.py``), which calls the half
    width MobileNetV2: the second group of blocks has stride 1, ReLU is not cut at 6, the first
    block expands (by 1) like the others, and there is no dropout.

    On images of 32 pixels the stem is a map of 16 and the stages of 16, 8, 4 and 2; they end
    without ReLU. ``last`` is the 1x1 convolution to 1280 channels. Convolutions start by fan-out,
    the classifier from N(0, 0.01^2).

    Args:
        num_classes: Number of classes.
        width: Factor on the channels of stem and stages, rounded down.

    Raises:
        ValueError: If the width leaves no channels, or widens the network.

    Example:
        >>> import torch
        >>> MobileNetV2(num_classes=100)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 100])
    """

    def __init__(self, num_classes: int, width: float = 0.5) -> None:
        if not 1 / 16 <= width <= 1:
            raise ValueError(f"width must be from 1/16 to 1, but it is {width}.")
        channels = int(32 * width)
        stem = _convolution(3, channels, kernel=3, stride=2)
        stages = []
        for groups in _STAGES:
            blocks: list[nn.Module] = []
            for expansion, full, count, stride in groups:
                for i in range(count):
                    out_channels = int(full * width)
                    first_stride = stride if i == 0 else 1
                    blocks.append(InvertedResidual(channels, out_channels, first_stride, expansion))
                    channels = out_channels
            stages.append(nn.Sequential(*blocks))
        super().__init__(
            stem, stages, _FEATURES, num_classes, last=_convolution(channels, _FEATURES)
        )
        initialize_convolutions(self)
        initialize_classifier(self.classifier)


class InvertedResidual(nn.Module):
    """1x1 convolution that expands, 3x3 of each channel, 1x1 that narrows, without ReLU.

    The input is added where size and channels stay.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = in_channels * expansion
        self.residual = nn.Sequential(
            *_convolution(in_channels, wide),
            *_convolution(wide, wide, kernel=3, stride=stride, groups=wide),
            nn.Conv2d(wide, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.adds = stride == 1 and in_channels == out_channels

    def forward(self, features: Tensor) -> Tensor:
        """Turn a map (N, C, H, W) into (N, C', H/stride, W/stride)."""
        out: Tensor = self.residual(features)
        return features + out if self.adds else out


def _convolution(
    in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(
            in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False
        ),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )
