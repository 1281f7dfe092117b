"""Base class of the CIFAR networks: the names of their parts, and their order.

A layer selector reads the same for every network of this package:

``stem``                    first feature map                        ``feat[0]`` of RepDistiller
``stage1`` to ``stageK``    feature map of each stage, K is 3 or 4   ``feat[1:-1]``
``last``                    the feature map that is pooled           not in its list
``pool``                    vector (N, D) that is classified         ``feat[-1]``
``classifier``              logits (N, classes)                      its output

K is 3 for ResNet-8 to 110, wide ResNet and both ShuffleNets, 4 for VGG, MobileNetV2 and
ResNet-18/34/50. The sizes of the stages' maps differ between families: each file states them.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

_SMALLEST = 8  # pixels; down to this size every network here has maps of at least 1 x 1


class StagedNetwork(nn.Module):
    """Network from images to logits: stem, stages, a last part, pooling, linear classifier.

    Args:
        stem: Images (N, 3, H, W) to the first feature map.
        stages: One after another, each from feature map to feature map.
        num_features: Channels D of the last feature map.
        num_classes: Number of classes.
        last: Module between the last stage and pooling; none if ``None``.

    Raises:
        ValueError: If there are fewer than two classes.
    """

    def __init__(
        self,
        stem: nn.Module,
        stages: Sequence[nn.Module],
        num_features: int,
        num_classes: int,
        last: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, but it is {num_classes}.")
        self.num_classes, self.num_features, self.num_stages = (
            num_classes,
            num_features,
            len(stages),
        )
        self.stem = stem
        for number, stage in enumerate(stages, start=1):
            self.add_module(f"stage{number}", stage)
        self.last = nn.Identity() if last is None else last
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(num_features, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Classify images.

        Args:
            images: Batch (N, 3, H, W) of any size from 8 pixels; made for 32.

        Returns:
            Logits (N, classes).

        Raises:
            ValueError: If the images are of another shape.
        """
        if images.dim() != 4 or images.shape[1] != 3 or min(images.shape[2:]) < _SMALLEST:
            raise ValueError(
                f"images must be (N, 3, H, W) with H and W at least {_SMALLEST}, but they are "
                f"{tuple(images.shape)}. Repeat a gray image's channel three times; enlarge what "
                "is too small."
            )
        features = self.stem(images)
        for number in range(1, self.num_stages + 1):
            features = self.get_submodule(f"stage{number}")(features)
        logits: Tensor = self.classifier(self.pool(self.last(features)))
        return logits


def initialize_convolutions(network: nn.Module) -> None:
    """Draw every convolution's weights from N(0, 2 / (k * k * C_out)), and set its bias to 0.

    That is He's initialization by fan-out, in depthwise convolutions too. Batch norms keep
    PyTorch's weight 1 and bias 0.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def initialize_classifier(classifier: nn.Linear) -> None:
    """Draw a linear layer's weights from N(0, 0.01^2), and set its bias to 0."""
    nn.init.normal_(classifier.weight, std=0.01)
    nn.init.zeros_(classifier.bias)
