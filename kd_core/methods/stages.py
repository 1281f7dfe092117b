"""Stages of networks, from shallow to deep, and the base class of methods that compare them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from kd_core.layers import LayerPath, find_layer
from kd_core.layouts import is_channels_last
from kd_core.loss_checks import require_gradients
from kd_core.methods.adapter import TaskAdapter
from kd_core.methods.base import NetworksDistiller


class StagesDistiller(NetworksDistiller):
    """A student and other networks that are compared at several stages, by maps or vectors."""

    def check_features(
        self, name: str, features: list[Tensor], layers: Sequence[LayerPath], images: Tensor
    ) -> None:
        """Require maps (N, C, H, W) or vectors."""
        require_channels_first(features, layers, images, name)

    def check_gradients(self, features: list[Tensor]) -> None:
        """Require a gradient at the student's stages; warn where some have none."""
        require_gradients(type(self).__name__, {"": self.layers or []}, {"": features})


def require_channels_first(
    features: Sequence[Tensor], layers: Sequence[LayerPath], images: Tensor, whose: str
) -> None:
    """Require that no feature is a map (N, H, W, C), as far as shapes show.

    Args:
        features: Outputs of layers.
        layers: Those layers.
        images: The images (N, C, H, W).
        whose: Name of their owner, for the message.

    Raises:
        ValueError: If one is such a map.
    """
    for number, feature in enumerate(features):
        if is_channels_last(feature, images):
            layer = layers[min(number, len(layers) - 1)]  # one may give several
            raise ValueError(
                f"the layers of {whose} must give maps (N, C, H, W) or vectors, but "
                f"{layer.text!r} gives {tuple(feature.shape)}, a map (N, H, W, C). Select a "
                "layer that gives (N, C, H, W), or distil with terms, which turn such maps."
            )


def select_layers(
    adapter: TaskAdapter, network: nn.Module, named: Sequence[str] | None, name: str
) -> list[LayerPath]:
    """Select layers by name, or the stages of a network.

    Args:
        adapter: The task.
        network: A network of it.
        named: Selectors; ``None`` takes its stages.
        name: Which network it is, for messages.

    Raises:
        ValueError: If it is not of the task, or has no such layer.
    """
    adapter.require(network, name)
    if named is None:
        return [LayerPath.parse(text) for text in adapter.stages(network, name)]
    selectors = [LayerPath.parse(text) for text in named]
    for selector in selectors:
        find_layer(network, selector, name)
    return selectors


def require_as_many(layers: Mapping[str, Sequence[Any]]) -> None:
    """Require that all networks have equally many layers.

    Args:
        layers: Name of a network to its layers, or their features.

    Raises:
        ValueError: If they do not.
    """
    counts = {name: len(found) for name, found in layers.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(
            "all networks must have as many layers, but there are "
            f"{', '.join(f'{count} of {name}' for name, count in counts.items())}. Name those of "
            "each network; kdkit layers prints them."
        )
