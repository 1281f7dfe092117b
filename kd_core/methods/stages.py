"""Stages of networks: the layers that a method compares from shallow to deep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from kd_core.adapter import TaskAdapter
from kd_core.layers import LayerPath, find_layer


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
        ValueError: If it is none of the task, or has no such layer.
    """
    adapter.require(network, name)
    if named is None:
        return [LayerPath.parse(text) for text in adapter.stages(network, name)]
    selectors = [LayerPath.parse(text) for text in named]
    for selector in selectors:
        find_layer(network, selector, name)
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
