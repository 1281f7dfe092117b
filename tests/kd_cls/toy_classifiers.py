"""Small classifiers with stages, as config and as module; for several tests."""

import torch
from mmengine.registry import MODELS
from torch import nn


@MODELS.register_module(force=True)
class ToyNetwork(nn.Module):
    """Three stages of one convolution, pooling, a classifier."""

    def __init__(self, width=4, num_classes=10, told=True):
        super().__init__()
        if told:
            self.num_classes, self.num_stages = num_classes, 3
        sizes = [3, width, 2 * width, 4 * width]
        for number in (1, 2, 3):
            layers = (
                nn.Conv2d(sizes[number - 1], sizes[number], 3, 2, 1, bias=False),
                nn.BatchNorm2d(sizes[number]),
                nn.ReLU(),
            )
            self.add_module(f"stage{number}", nn.Sequential(*layers))
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(sizes[3], num_classes)

    def forward(self, images):
        for number in (1, 2, 3):
            images = self.get_submodule(f"stage{number}")(images)
        return self.classifier(self.pool(images))


STUDENT = dict(type="kd_cls.Classifier", network=dict(type="ToyNetwork"))
TEACHER = dict(type="kd_cls.Classifier", network=dict(type="ToyNetwork", width=6))


def batch(size=32, count=8, classes=10):
    generator = torch.Generator().manual_seed(0)
    return dict(
        inputs=torch.randint(0, 256, (count, 3, size, size), generator=generator,
                             dtype=torch.uint8),
        labels=torch.arange(count) % classes, ids=torch.arange(count) + 100,
    )  # fmt: skip
