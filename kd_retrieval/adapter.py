"""Adapter of retrieval: embeddings, their similarities, and how an embedder is fed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kd_core import Term
from kd_core.relations.samples import similarity_scores
from kd_engine.adapter import ModelAdapter
from kd_engine.data.renormalize import Renormalize
from kd_engine.data.rescale import Rescale
from kd_retrieval.cached_teacher import StoredEmbeddings
from kd_retrieval.embedder import Embedder
from kd_retrieval.trunks import image_size_of


class EmbedderAdapter(ModelAdapter):
    """Adapter of an :class:`Embedder`; see :class:`ModelAdapter`.

    Methods that compare predictions get similarities: how similar each image of the batch is to
    the others. So embeddings may differ in size.
    """

    loss = "loss_metric"

    def __init__(self, output: str = "embedding") -> None:
        super().__init__(output=output)

    def require(self, network: nn.Module, name: str) -> None:
        """Require an embedder that can be trained."""
        if not isinstance(network, Embedder):
            raise ValueError(
                f"{name} must be a kd_retrieval.Embedder, but it is a {type(network).__name__}."
            )
        if network.criterion is None:
            raise ValueError(
                f"{name} must have a criterion: networks that learn from each other alone may all "
                "become constant. Give criterion=dict(loss=dict(type='TripletMarginLoss'))."
            )

    def require_pair(
        self, student: nn.Module, teacher: nn.Module, terms: Mapping[str, Term]
    ) -> None:
        """Require embedders; the teacher's embeddings may be stored ones."""
        both = isinstance(student, Embedder) and isinstance(teacher, Embedder)
        if not both and not isinstance(teacher, StoredEmbeddings):
            raise ValueError(
                f"student and teacher must be embedders, but they are {type(student).__name__} and "
                f"{type(teacher).__name__}. Use kd_core.Distiller for other models."
            )

    def require_sizes(
        self, student: nn.Module, teacher: nn.Module, rescale: Rescale | None
    ) -> None:
        """Refuse a scale of stored embeddings, which see no images."""
        if rescale is not None and isinstance(teacher, StoredEmbeddings):
            raise ValueError(
                "scale resizes a teacher's images, but stored embeddings see none. Leave scale "
                "out, or embed images of that size: kdkit embed."
            )

    def image_size(self, *models: nn.Module) -> tuple[int, int]:
        """Return the size that a vision transformer takes, otherwise 128 x 128."""
        return image_size_of(*models)

    def convert(self, student: nn.Module, network: nn.Module) -> Renormalize | None:
        """Return a converter to the other network's normalization; stored embeddings need none."""
        if isinstance(network, StoredEmbeddings):
            return None
        return super().convert(student, network)

    def run(
        self,
        roots: frozenset[str],
        convert: Any,
        model: Any,
        inputs: Tensor,
        labels: Any = None,
        ids: Tensor | None = None,
        *_: Any,
        **__: Any,
    ) -> Any:
        """Run an embedder: its trunk alone if no other part is read.

        Args:
            roots: First parts of the paths of the layers that are read.
            convert: Turns images into the model's.
            model: The embedder.
            inputs: Images (N, 3, H, W), normalized for the student.
            labels: Not used, like the rest of a batch.
            ids: Id of each image, int64 (N,), for a teacher of stored embeddings.
        """
        images = convert(inputs)
        return model.features(images) if roots == {"trunk"} else model(images, ids=ids)

    def scores(self, output: Tensor) -> Tensor:
        """Return the similarities of each embedding with the others of the batch (N, N - 1)."""
        return similarity_scores(output)

    def sample_losses(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Return minus the logarithm of the share of each image's class in its similarities (N,).

        An image without another of its class has 0 in every network, which so counts alike.
        """
        same = labels[:, None] == labels  # (N, N)
        others = ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        positive = same[others].reshape(scores.shape)  # (N, N - 1), without the image itself
        shares = (scores.softmax(1) * positive).sum(1).clamp(min=1e-12)
        return torch.where(positive.any(1), -shares.log(), torch.zeros_like(shares))

    def own_loss(self, network: nn.Module, output: Tensor, labels: Tensor) -> Tensor:
        """Return the metric loss of an embedder."""
        assert isinstance(network, Embedder) and network.criterion is not None
        loss: Tensor = network.criterion(output, labels)
        return loss


class IdentityAdapter(EmbedderAdapter):
    """Adapter of embedders as classifiers of their training classes, such as people's identities.

    Methods get the class scores of the criterion, which has a weight for each class.
    """

    scored_by = "criterion"

    def __init__(self) -> None:
        super().__init__(output="logits")

    def require(self, network: nn.Module, name: str) -> None:
        """Require an embedder whose criterion gives class scores."""
        super().require(network, name)
        assert isinstance(network, Embedder) and network.criterion is not None
        if network.logits is None:
            raise ValueError(
                f"{name} must have a criterion with a weight for each class, but it has "
                f"{type(network.criterion.loss).__name__}. Give criterion=dict(loss=dict(type="
                "'NormalizedSoftmaxLoss', num_classes=..., embedding_size=...))."
            )

    def require_alike(self, student: nn.Module, name: str, network: nn.Module) -> None:
        """Require that another network has the student's number of classes."""
        assert isinstance(student, Embedder) and isinstance(network, Embedder)
        assert student.criterion is not None and network.criterion is not None
        own, other = student.criterion.num_classes, network.criterion.num_classes
        if own != other:
            raise ValueError(
                f"all networks must have the same classes, but the student has {own} and {name} "
                f"has {other}. Correct num_classes, or take networks of the same data."
            )

    def scores(self, output: Tensor) -> Tensor:
        """Return the class scores (N, classes) themselves."""
        return output

    def sample_losses(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropy of each image (N,)."""
        return F.cross_entropy(scores, labels, reduction="none")

    def own_loss(self, network: nn.Module, output: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropy of class scores."""
        return F.cross_entropy(output.float(), labels)
