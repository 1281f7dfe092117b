"""Adapter of a task: which outputs of its networks are compared, and how they are fed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Convert = Callable[[Tensor], Tensor]


class TaskAdapter:
    """Base class of adapters: what a method of several networks needs to know about a task.

    The defaults are those of a plain loop, whose networks are classifiers that take images
    (N, C, H, W) first. A task has a subclass.

    Args:
        output: Selector of the logits (N, classes), or of what :meth:`scores` takes.
        feature: Selector of the feature that networks classify or search by; ``None`` takes the
            output.
    """

    loss = "loss_ce"  # logged name of the networks' own loss

    def __init__(self, output: str = "output", feature: str | None = None) -> None:
        self.output = output
        self.feature = feature or output

    def require(self, network: nn.Module, name: str) -> None:
        """Require a network of the task.

        Args:
            network: Any module.
            name: Which network it is, for messages.

        Raises:
            ValueError: If it is not one.
        """

    def require_alike(self, student: nn.Module, name: str, network: nn.Module) -> None:
        """Require that another network can be compared with the student on the same images.

        Raises:
            ValueError: If its classes or images differ.
        """

    def convert(self, student: nn.Module, network: nn.Module) -> Convert | None:
        """Return a converter of the student's images to another network's; ``None`` keeps them."""
        return None

    def example(self, network: nn.Module) -> Tensor | None:
        """Draw two images for a dry run; ``None`` where their size is unknown."""
        return None

    def stages(self, network: nn.Module, name: str) -> list[str]:
        """Return the selectors of a network's stages, from shallow to deep.

        Raises:
            ValueError: If the network does not name them.
        """
        raise ValueError(
            f"{type(network).__name__} does not name its stages. Name its layers, such as "
            "layers=['layer1', 'layer2']; the names are those of named_modules()."
        )

    def scores(self, output: Tensor) -> Tensor:
        """Return what softmax turns into probabilities: the logits (N, classes) themselves."""
        return output

    def sample_losses(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Return how little each sample's scores speak for its label: the cross-entropy (N,).

        Args:
            scores: As :meth:`scores` returns them, in float32.
            labels: Class of each image, int64 (N,).
        """
        return F.cross_entropy(scores, labels, reduction="none")

    def own_loss(self, network: nn.Module, output: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of a network that is trained alone.

        Args:
            network: The network.
            output: Its output for a batch.
            labels: Class of each image, int64 (N,).
        """
        return F.cross_entropy(output.float(), labels)


class NetworkBuilder(Protocol):
    """Builder of the networks that a method's config names."""

    adapter: TaskAdapter
    config: Mapping[str, Any]  # of the student

    def student(self) -> nn.Module:
        """Build the student."""

    def network(self, config: Mapping[str, Any]) -> nn.Module:
        """Build another network; later random numbers are the same as without it."""

    def peers(self, configs: Sequence[Mapping[str, Any]]) -> dict[str, nn.Module]:
        """Build peers, keyed by readable names, each with weights of its own."""

    def trained(
        self, reference: Mapping[str, Any], name: str = "teacher"
    ) -> tuple[nn.Module, torch.dtype | None]:
        """Build a trained network, from a reference ``dict(config=, checkpoint=, ...)``.

        Returns:
            The network, and the autocast dtype of its forward.
        """

    def trained_peers(
        self, references: Sequence[Mapping[str, Any]]
    ) -> list[tuple[nn.Module, torch.dtype | None]]:
        """Build the student's network and its peers, as each was trained alone."""

    def configs_of(self, references: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Return the model configs that references name."""

    def names_of(self, configs: Sequence[Mapping[str, Any]]) -> list[str]:
        """Return readable names of peers."""

    def heads_of(self, reference: Mapping[str, Any]) -> tuple[dict[str, Any], str] | None:
        """Read the trained heads of a checkpoint.

        Returns:
            Their weights and the file's name; ``None`` for a reference without a checkpoint.
        """
