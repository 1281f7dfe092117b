"""Embedder: a network that turns images into embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from kd_core.layouts import fast_memory_format
from kd_engine.networks import IMAGENET, build_network, sizes_refused
from kd_retrieval.metric_learning import MetricLearning
from kd_retrieval.pooling import Pooling, UnitLength

_BOTH = 0  # the role of an image that is query and gallery
_TRUNKS = "kd_retrieval.TorchvisionTrunk, kd_retrieval.TimmTrunk"


class Embedder(BaseModel):  # type: ignore[misc]
    """Trunk, pooling, projection, unit length: an embedding (N, D) for each image.

    Its parts are the children ``trunk``, ``pool``, ``projection`` and ``embedding``, whose output
    is the embedding itself, so a term selects any of them. Where the criterion has a weight for
    each class, as ``NormalizedSoftmaxLoss`` and ``CosFaceLoss`` do, the child ``logits`` gives the
    class scores (N, classes); they are computed only where they are read.

    Args:
        trunk: Config of a module from images to a feature map or tokens, such as
            ``dict(type="kd_retrieval.TorchvisionTrunk", name="resnet50")``.
        pooling: ``average``, ``max``, ``average_max``, ``gem`` or ``token``, or a dict of
            :class:`Pooling`'s arguments.
        dim: Size D of the embedding; ``None`` takes the pooled features as they are.
        normalize: Scale embeddings to length 1.
        criterion: ``dict(loss=, miner=)`` for :class:`MetricLearning`; not needed to embed, nor
            under a distiller.
        training: ``dict(frozen=(), norm_eval=False, precision=None)``: names of children
            (``trunk``, ``trunk.features.0``) that are not trained; whether batch norms keep their
            statistics; "bfloat16" trains the trunk in it, on a CPU that has it in half the time
            (on a GPU use ``kdkit train --amp``).
        data_preprocessor: mmengine's; the default normalizes RGB with ImageNet's statistics.

    Raises:
        ValueError: If a part is unknown, or the criterion does not fit.

    Example:
        >>> import torch
        >>> trunk = dict(type="kd_retrieval.TorchvisionTrunk", name="resnet18")
        >>> Embedder(trunk, dim=32)(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 32])
    """

    def __init__(
        self,
        trunk: Mapping[str, Any] | nn.Module,
        pooling: str | Mapping[str, Any] = "average",
        dim: int | None = None,
        normalize: bool = True,
        criterion: Mapping[str, Any] | None = None,
        training: Mapping[str, Any] | None = None,
        data_preprocessor: Mapping[str, Any] | nn.Module | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor or IMAGENET)
        self.trunk = build_network(trunk, "trunk", _TRUNKS)
        self.pool = _pooling(pooling, self.trunk)
        self.num_features = _num_features(self.trunk)
        self.projection = nn.Identity() if dim is None else nn.Linear(self.num_features, dim)
        self.embedding = UnitLength() if normalize else nn.Identity()
        self.dim = self.num_features if dim is None else dim
        self.criterion = None if criterion is None else _criterion(criterion, self.dim)
        classifies = self.criterion is not None and self.criterion.classifies
        self.logits = nn.Identity() if classifies else None
        self.frozen, self.norm_eval, self.precision = _training(training or {})
        for module in self._frozen():
            module.requires_grad_(False)

    def init_weights(self) -> None:
        """Keep the weights: they were loaded or drawn when the model was made."""

    def features(self, images: Tensor) -> Tensor:
        """Run the trunk alone on normalized images (N, 3, H, W).

        Raises:
            ValueError: If it does not take images of their size.
        """
        precision = self.precision if self.training else None
        remedy = (
            "Resize them (transforms, dry_run_size, --size), or give the trunk "
            "options=dict(img_size=)."
        )
        in_precision = torch.autocast(images.device.type, precision) if precision else nullcontext()
        with in_precision, sizes_refused("trunk", images, remedy):
            found: Tensor = self.trunk(fast_memory_format(images))
        return found.float() if precision else found

    def extract(self, images: Tensor) -> Tensor:
        """Embed normalized images (N, 3, H, W) as vectors (N, D).

        Raises:
            ValueError: If the trunk returns other features than it says.
        """
        pooled = self.pool(self.features(images))
        if pooled.shape[1] != self.num_features:
            raise ValueError(
                f"the trunk must return {self.num_features} features, as its num_features says, "
                f"but after pooling there are {pooled.shape[1]}. It must return (N, C, H, W) or "
                "tokens (N, L, C)."
            )
        embeddings: Tensor = self.embedding(self.projection(pooled))
        return embeddings

    def forward(
        self,
        inputs: Tensor,
        labels: Tensor | Sequence[Any] | None = None,
        ids: Tensor | None = None,
        roles: Tensor | None = None,
        data_samples: None = None,
        mode: str = "tensor",
    ) -> Any:
        """Embed a batch.

        Args:
            inputs: Normalized images (N, 3, H, W).
            labels: Class of each image (N,); several for each where data is multi-label.
            ids: Id of each image, int64 (N,).
            roles: Query, gallery or both, int64 (N,).
            data_samples: Not used; mmengine's preprocessor adds it.
            mode: ``tensor``, ``loss`` or ``predict``.

        Returns:
            Embeddings (N, D); or a dict with ``loss_metric``; or for each image a dict of its
            embedding, label, id and role.

        Raises:
            ValueError: If the mode is unknown or an input that it needs is missing.
        """
        embeddings = self.extract(inputs)
        if self.logits is not None and self.logits._forward_hooks:
            assert self.criterion is not None
            self.logits(self.criterion.class_scores(embeddings))
        if mode == "tensor":
            return embeddings
        if mode == "loss":
            return self._loss(embeddings, labels)
        if mode == "predict":
            return _predictions(embeddings, labels, ids, roles)
        raise ValueError(f"mode must be tensor, loss or predict, but it is {mode!r}.")

    def train(self, mode: bool = True) -> Embedder:
        """Switch the mode; frozen parts and, if asked, batch norms stay in eval mode."""
        super().train(mode)
        for module in self._frozen():
            module.eval()
        if mode and self.norm_eval:
            for module in self.trunk.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def _loss(self, embeddings: Tensor, labels: Any) -> dict[str, Tensor]:
        if self.criterion is not None:
            if not isinstance(labels, Tensor) or labels.dim() != 1:
                raise ValueError("a metric loss needs one label for each image (N,).")
            return {"loss_metric": self.criterion(embeddings, labels)}
        if not hasattr(self, "distiller"):
            raise ValueError(
                "an embedder needs a criterion or a teacher to be trained. Give "
                "criterion=dict(loss=dict(type='TripletMarginLoss')), or a distillation config."
            )
        return {"loss_metric": embeddings.float().sum() * 0.0}

    def _frozen(self) -> list[nn.Module]:
        try:
            return [self.get_submodule(name) for name in self.frozen]
        except AttributeError as error:
            raise ValueError(
                f"frozen must name parts of the embedder, but {list(self.frozen)} do not all "
                f"exist: {error}. kdkit layers prints them."
            ) from error


def _num_features(trunk: nn.Module) -> int:
    found = getattr(trunk, "num_features", None)
    if not isinstance(found, int):
        raise ValueError(
            "a trunk must have the attribute num_features, how many features it returns, but that "
            f"of {type(trunk).__name__} is {found!r}."
        )
    return found


def _pooling(config: str | Mapping[str, Any], trunk: nn.Module) -> Pooling:
    options = dict(kind=config) if isinstance(config, str) else dict(config)
    return Pooling(**{"prefix": int(getattr(trunk, "num_prefix_tokens", 0)), **options})


def _criterion(config: Mapping[str, Any], dim: int) -> MetricLearning:
    unknown = sorted(set(config) - {"loss", "miner"})
    if unknown or "loss" not in config:
        raise ValueError(f"criterion must be dict(loss=, miner=), but it has {sorted(config)}.")
    criterion = MetricLearning(**config)
    proxies = getattr(criterion.loss, "proxies", None)
    weights = getattr(criterion.loss, "W", None)
    size = proxies.shape[1] if isinstance(proxies, Tensor) else dim
    size = weights.shape[0] if isinstance(weights, Tensor) else size
    if size != dim:
        raise ValueError(
            f"{type(criterion.loss).__name__} has proxies of size {size}, but the "
            f"embeddings have {dim}. Set its embedding_size to {dim}."
        )
    return criterion


def _training(config: Mapping[str, Any]) -> tuple[tuple[str, ...], bool, torch.dtype | None]:
    unknown = sorted(set(config) - {"frozen", "norm_eval", "precision"})
    precision = config.get("precision")
    if unknown or precision not in (None, "bfloat16"):
        raise ValueError(
            "training takes frozen, norm_eval and precision (None or 'bfloat16'), but it is "
            f"{dict(config)}."
        )
    frozen = config.get("frozen", ())
    return (
        (frozen,) if isinstance(frozen, str) else tuple(frozen),
        bool(config.get("norm_eval")),
        torch.bfloat16 if precision else None,
    )


def _predictions(embeddings: Tensor, labels: Any, ids: Any, roles: Any) -> list[dict[str, Any]]:
    if labels is None or ids is None:
        raise ValueError("mode 'predict' needs labels and ids; a dataset of kd_retrieval has both.")
    roles = [_BOTH] * len(ids) if roles is None else roles
    vectors = embeddings.detach().cpu()
    return [
        {"embedding": vector, "label": label, "id": int(number), "role": int(role)}
        for vector, label, number, role in zip(vectors, _list(labels), ids, roles, strict=True)
    ]


def _list(labels: Any) -> list[Any]:
    if isinstance(labels, Tensor):
        return labels.tolist()
    if any(isinstance(one, Tensor) for one in labels):
        raise ValueError(
            "labels must be one list for each image, but they came as columns. Set the loader's "
            "collate_fn=dict(type='kd_retrieval.collate')."
        )
    return list(labels)
