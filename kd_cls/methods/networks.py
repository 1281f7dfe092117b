"""Classifiers of a method: what they must have in common, their layers, a dry run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kd_cls.classifier import Classifier, image_size_of, require_one_size
from kd_core.layers import LayerPath, find_layer, read_layers
from kd_core.shapes import is_channels_last
from kd_core.table import format_table
from kd_core.teacher import eval_mode


def require_classifier(model: nn.Module, name: str) -> Classifier:
    """Require a classifier.

    Raises:
        ValueError: If it is something else.
    """
    if not isinstance(model, Classifier):
        raise ValueError(f"{name} must be a kd_cls.Classifier, but it is a {type(model).__name__}.")
    return model


def require_same_task(student: Classifier, name: str, network: nn.Module) -> Classifier:
    """Require that another network has the student's classes and takes its images.

    Returns:
        The network.

    Raises:
        ValueError: If it is no classifier, or the number of classes or the size differs.
    """
    other = require_classifier(network, name)
    if other.num_classes != student.num_classes:
        raise ValueError(
            f"all networks must have the same classes, but the student has {student.num_classes} "
            f"and {name} has {other.num_classes}. Correct num_classes, or take networks of the "
            "same data."
        )
    require_one_size(student, other, f"that of {name}")
    return other


def stage_layers(classifier: Classifier) -> list[LayerPath]:
    """Select the stages of a classifier's network, from shallow to deep.

    Raises:
        ValueError: If the network does not say how many stages it has.
    """
    count = getattr(classifier.network, "num_stages", None)
    if count is None:
        raise ValueError(
            f"{type(classifier.network).__name__} does not name its stages. Name its layers, such "
            "as layers=['network.layer1', 'network.layer2']; kdkit layers prints them."
        )
    return [LayerPath.parse(f"network.stage{number}") for number in range(1, count + 1)]


def layers_of(network: nn.Module, named: Sequence[str] | None, name: str) -> list[LayerPath]:
    """Select layers by name, or the stages of a network.

    Args:
        network: A classifier.
        named: Selectors; ``None`` takes its stages.
        name: Which network it is, for messages.

    Raises:
        ValueError: If it is no classifier, or has no such layer.
    """
    classifier = require_classifier(network, name)
    if named is None:
        return stage_layers(classifier)
    selectors = [LayerPath.parse(text) for text in named]
    for selector in selectors:
        find_layer(classifier, selector, name)
    return selectors


def require_as_many(layers: Mapping[str, Sequence[Any]]) -> None:
    """Require that all networks have as many layers.

    Args:
        layers: Name of a network to its layers, or their features.

    Raises:
        ValueError: If they have not.
    """
    counts = {name: len(found) for name, found in layers.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(
            "all networks must have as many layers, but there are "
            f"{', '.join(f'{count} of {name}' for name, count in counts.items())}. Name those of "
            "each network; kdkit layers prints them."
        )


def example_of(classifier: Classifier) -> Tensor:
    """Draw two images (2, 3, H, W) of the size and on the device that a classifier wants."""
    images = torch.randn(2, 3, *image_size_of(classifier))
    parameter = next(classifier.parameters())
    return images.to(parameter.device, parameter.dtype)


def dry_features(
    classifier: Classifier, selectors: Sequence[LayerPath], images: Tensor, whose: str
) -> list[Tensor]:
    """Run a classifier in eval mode, without gradients, and return the outputs of some layers.

    Args:
        classifier: Its modes stay as they are.
        selectors: Its layers.
        images: Normalized (N, 3, H, W).
        whose: Whose classifier it is, for messages.

    Raises:
        ValueError: If one is a map (N, H, W, C).
    """
    with torch.no_grad(), eval_mode(classifier):
        found = read_layers(classifier, selectors, images, whose=whose)
    require_channels_first(found, selectors, images, whose)
    return found


def require_channels_first(
    features: Sequence[Tensor], selectors: Sequence[LayerPath], images: Tensor, whose: str
) -> None:
    """Require that no feature is a map (N, H, W, C), as far as shapes tell.

    Args:
        features: Outputs of layers.
        selectors: Those layers.
        images: The images (N, 3, H, W).
        whose: Whose layers these are, for the message.

    Raises:
        ValueError: If one is such a map.
    """
    for number, feature in enumerate(features):
        if is_channels_last(feature, images):
            selector = selectors[min(number, len(selectors) - 1)]  # one may give several
            raise ValueError(
                f"the layers of {whose} must give maps (N, C, H, W) or vectors, but "
                f"{selector.text!r} gives {tuple(feature.shape)}, a map (N, H, W, C). Select a "
                "layer that gives (N, C, H, W), or distil with terms "
                "(kd_cls.DistilledClassifier), which turn such maps."
            )


def flat(found: Tensor | list[Tensor]) -> list[Tensor]:
    """Put a single tensor into a list."""
    return found if isinstance(found, list) else [found]


def network_table(
    layers: Sequence[LayerPath],
    features: Sequence[Tensor],
    networks: Sequence[tuple[str, nn.Module, bool]],
) -> str:
    """Describe the student's layers and the other networks, a line each.

    Args:
        layers: The student's layers.
        features: Their outputs.
        networks: Name, module and whether it is trained.
    """
    rows = [
        (f"student {layer.text}", "x".join(map(str, feature.shape)))
        for layer, feature in zip(layers, features, strict=True)
    ]
    for name, network, trained in networks:
        count = sum(parameter.numel() for parameter in network.parameters())
        rows.append((name, f"{count:,} parameters, {'trained' if trained else 'frozen'}"))
    return "\n".join(format_table((), rows))
