"""VGG-8, 11, 13, 16 and 19 with batch norm, for small images."""

from __future__ import annotations

from torch import nn

from kd_cls.networks.staged import StagedNetwork, initialize_classifier, initialize_convolutions

_WIDTHS = (64, 128, 256, 512, 512)
_CONVOLUTIONS = {
    8: (1, 1, 1, 1, 1),
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}


class VGG(StagedNetwork):
    """VGG: a stem and four stages of 3x3 convolutions, batch norm and ReLU; one linear layer.

    Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition",
    ICLR 2015, https://arxiv.org/abs/1409.1556, as changed in RepDistiller
    (https://github.com/HobbitLong/RepDistiller, ``models/vgg.py``): batch norm, average pooling
    and a single linear layer; VGG-8 is its own. It halves the map before the last stage for
    images of exactly 64 pixels; we never do.

    On images of 32 pixels the stem is a map of 32 and the stages of 16, 8, 4 and 4: a stage begins
    with max pooling, except the last. Convolutions (with bias) start by fan-out, the classifier
    from N(0, 0.01^2).

    Args:
        depth: 8, 11, 13, 16 or 19.
        num_classes: Number of classes.

    Raises:
        ValueError: If the depth is another.

    Example:
        >>> import torch
        >>> VGG(depth=8, num_classes=100)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 100])
    """

    def __init__(self, depth: int, num_classes: int) -> None:
        if depth not in _CONVOLUTIONS:
            raise ValueError(f"depth must be one of {sorted(_CONVOLUTIONS)}, but it is {depth}.")
        counts = _CONVOLUTIONS[depth]
        stem = nn.Sequential(*_convolutions(counts[0], 3, _WIDTHS[0]))
        stages = []
        for i in range(1, 5):
            halve = [nn.MaxPool2d(2)] if i < 4 else []
            stages.append(
                nn.Sequential(*halve, *_convolutions(counts[i], _WIDTHS[i - 1], _WIDTHS[i]))
            )
        super().__init__(stem, stages, _WIDTHS[4], num_classes)
        initialize_convolutions(self)
        initialize_classifier(self.classifier)


def _convolutions(count: int, in_channels: int, out_channels: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for i in range(count):
        channels = in_channels if i == 0 else out_channels
        layers += [nn.Conv2d(channels, out_channels, 3, padding=1)]
        layers += [nn.BatchNorm2d(out_channels), nn.ReLU()]
    return layers
