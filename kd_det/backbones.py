"""Torchvision networks as backbones of mmdet detectors."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn
from torchvision.models import get_model
from torchvision.models.feature_extraction import create_feature_extractor

from kd_core.checkpoint.load import load_weights
from kd_engine.weights.source import read_weights


class TorchvisionBackbone(BaseModule):  # type: ignore[misc]
    """A torchvision classifier without its head, as a pyramid of feature maps.

    Keys of the state dict are torchvision's under ``body.``. Batch norms keep their pretrained
    statistics in training (``norm_eval``), as mmdet's ResNet does.

    Args:
        name: Name of the model for ``torchvision.models.get_model``.
        nodes: Modules whose outputs make the pyramid, fine to coarse, such as
            ``features.3``; ``torchvision.models.feature_extraction.get_graph_node_names``
            lists them.
        checkpoint: File or URL of weights for the whole classifier; ``None`` starts at random.
        frozen: How many leading children of ``features`` are not trained.
        norm_eval: Keep batch norms in eval mode in training.

    Raises:
        kd_core.checkpoint.CheckpointError: If the checkpoint does not fit, strictly.
        ValueError: If ``frozen`` is negative or more than there are children of ``features``.
    """

    def __init__(
        self,
        name: str,
        nodes: Sequence[str],
        checkpoint: str | None = None,
        frozen: int = 0,
        norm_eval: bool = False,
    ) -> None:
        super().__init__()
        model = get_model(name, weights=None)
        if checkpoint is not None:
            load_weights(model, read_weights(checkpoint), source=checkpoint)
        self.body = create_feature_extractor(model, {node: str(i) for i, node in enumerate(nodes)})
        self.norm_eval = norm_eval
        self._frozen = _leading_stages(self.body, name, frozen) if frozen else []
        for stage in self._frozen:
            stage.requires_grad_(False)

    def init_weights(self) -> None:
        """Keep the weights: they were loaded or drawn when the model was made."""

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the pyramid.

        Args:
            images: Batch (N, 3, H, W).

        Returns:
            Feature maps, one for each node.
        """
        return tuple(self.body(images).values())

    def train(self, mode: bool = True) -> TorchvisionBackbone:
        """Switch the mode; frozen stages and, if asked, batch norms stay in eval mode."""
        super().train(mode)
        for stage in self._frozen:
            stage.eval()
        if mode and self.norm_eval:
            for module in self.body.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self


def _leading_stages(body: nn.Module, name: str, count: int) -> list[nn.Module]:
    if not isinstance(features := getattr(body, "features", None), nn.Module):
        raise ValueError(f"frozen must be 0, because {name} has no 'features', but it is {count}.")
    stages = list(features.children())
    if not 0 <= count <= len(stages):
        raise ValueError(f"frozen must be from 0 to {len(stages)}, but it is {count}.")
    return stages[:count]
