"""SimKD's student: a trunk, a projector, and the teacher's own classifier, frozen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from kd_engine.networks import build_network

_HEAD = ("pool", "classifier")


class SimKDNetwork(nn.Module):
    """Network whose last map is projected to the teacher's size and read by its classifier.

        logits = classifier(GAP P(map))
        P      = 1x1 to D / factor, BN, ReLU, 3x3, BN, ReLU, 1x1 to D, BN, ReLU; no biases

    To train it, let ``network.projector`` imitate the teacher's last map
    (:class:`kd_core.losses.FeatureImitationLoss`), inherit ``network.classifier`` from the teacher
    and give the student's own loss the weight 0: ``configs/cls/simkd.py``. The classifier gets no
    gradient. Projector and classifier are layers of this network, so they are in every checkpoint
    and in the exported student: it is larger than the trunk alone by what they take.

    Chen, Mei, Zhang, Wang, Feng and Chen, "Knowledge Distillation with the Reused Teacher
    Classifier", CVPR 2022, https://arxiv.org/abs/2203.14001. Status: the authors' code.

    Args:
        network: Config of the student's network or the module; modules of its ``head`` become
            identities, after which it must return a map (N, C, H, W).
        channels: Channels C of that map.
        num_features: Channels D of the teacher's last map: the inputs of its classifier.
        num_classes: Number of classes.
        head: Its modules after the last map.
        options: ``factor`` (2) as above, and ``side``, to which the map is pooled before the
            projector where the teacher's is smaller.

    Raises:
        ValueError: If a module of the head does not exist, or an option is unknown.

    Example:
        >>> import torch
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten())
        >>> SimKDNetwork(network, 8, 16, 10, head=["1"])(torch.zeros(2, 3, 8, 8)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        network: Mapping[str, Any] | nn.Module,
        channels: int,
        num_features: int,
        num_classes: int,
        head: Sequence[str] = _HEAD,
        options: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        given = {"factor": 2, "side": 0} | dict(options or {})
        if set(given) != {"factor", "side"}:
            raise ValueError(f"options are factor and side, but they are {sorted(given)}.")
        self.num_classes = num_classes
        self.trunk = build_network(network, "network", "kd_cls.CifarNetwork, kd_cls.TimmNetwork")
        if missing := [name for name in head if not hasattr(self.trunk, name)]:
            raise ValueError(
                f"head names the network's modules after the last map, but "
                f"{type(self.trunk).__name__} has no {missing[0]!r}."
            )
        for name in head:
            setattr(self.trunk, name, nn.Identity())
        inner = num_features // given["factor"]
        self.shrink = nn.AdaptiveAvgPool2d(given["side"]) if given["side"] else nn.Identity()
        self.projector = nn.Sequential(
            *_layer(channels, inner, 1), *_layer(inner, inner, 3), *_layer(inner, num_features, 1)
        )
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(num_features, num_classes).requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Classify images (N, 3, H, W).

        Raises:
            ValueError: If the trunk returns no map.
        """
        found = self.trunk(images)
        if not isinstance(found, Tensor) or found.dim() != 4:
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ValueError(
                f"without its head the network must return a map (N, C, H, W), but it returns "
                f"{shape}. Name all modules after the last map in head=, or take another network."
            )
        logits: Tensor = self.classifier(self.pool(self.projector(self.shrink(found))))
        return logits


def _layer(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
