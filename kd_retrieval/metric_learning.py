"""Losses and miners of pytorch-metric-learning, by config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from kd_core.packages import missing_package

_MODULES = ("losses", "miners", "distances", "reducers", "regularizers")


class MetricLearning(nn.Module):
    """A metric loss on a batch of embeddings, on pairs or triplets that a miner picks.

    Both come from pytorch-metric-learning, by name:
    ``loss=dict(type="TripletMarginLoss", margin=0.2)`` with
    ``miner=dict(type="TripletMarginMiner", type_of_triplets="semihard")`` or
    ``miner=dict(type="DistanceWeightedMiner")``; ``ContrastiveLoss``, ``MultiSimilarityLoss``,
    ``ProxyAnchorLoss`` and the others as its documentation says. Arguments that are objects there
    (``distance=dict(type="LpDistance")``) are dicts here. The loss is computed in float32.

    Args:
        loss: Name and arguments of the loss.
        miner: Name and arguments of the miner; ``None`` uses all pairs or triplets.

    Raises:
        ImportError: If pytorch-metric-learning is not installed.
        ValueError: If it has nothing of that name, or the arguments do not fit.
    """

    def __init__(self, loss: Mapping[str, Any], miner: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.loss = _build(loss, "losses")
        self.miner = None if miner is None else _build(miner, "miners")

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Compute the metric loss.

        Args:
            embeddings: Embeddings (N, D).
            labels: Class of each one, int64 (N,).

        Returns:
            Scalar in float32; 0 with a gradient of zeros where nothing is mined.

        Raises:
            ValueError: If a label is beyond the proxies of a loss that has some.
        """
        classes = self.num_classes
        if classes is not None and int(labels.max()) >= classes:
            raise ValueError(
                f"{type(self.loss).__name__} has proxies for {classes} classes, but a label is "
                f"{int(labels.max())}. Set num_classes to the number of training classes."
            )
        with torch.autocast(embeddings.device.type, enabled=False):
            vectors = embeddings.float()
            mined = None if self.miner is None else self.miner(vectors, labels)
            value: Tensor = self.loss(vectors, labels, mined)
        return value

    @property
    def num_classes(self) -> int | None:
        """Number of classes that the loss has weights or proxies for; None if it has none."""
        known: int | None = getattr(self.loss, "num_classes", None)
        weights = getattr(self.loss, "W", None)
        # NormalizedSoftmaxLoss has the attribute, but leaves it at 0.
        return int(weights.shape[1]) if not known and isinstance(weights, Tensor) else known

    @property
    def classifies(self) -> bool:
        """Whether the loss has a weight or proxy for each class, so that it gives class scores."""
        return callable(getattr(self.loss, "get_logits", None))

    def class_scores(self, embeddings: Tensor) -> Tensor:
        """Return the loss's own logits (N, classes) of embeddings (N, D), in float32.

        Of a loss with a margin they are those without it.
        """
        with torch.autocast(embeddings.device.type, enabled=False):
            scores: Tensor = self.loss.get_logits(embeddings.float())
        return scores


def _build(config: Mapping[str, Any], module: str) -> Any:
    options = {
        key: _build(value, "") if isinstance(value, Mapping) and "type" in value else value
        for key, value in config.items()
    }
    name = options.pop("type", None)
    kind = _find(str(name), module)
    try:
        return kind(**options)
    except TypeError as error:
        raise ValueError(f"{name} of pytorch-metric-learning: {error}") from error


def _find(name: str, module: str) -> Any:
    try:
        import pytorch_metric_learning
        from pytorch_metric_learning import distances, losses, miners, reducers, regularizers
    except ImportError as error:
        raise missing_package("a metric loss", "pytorch_metric_learning") from error
    places = dict(zip(_MODULES, (losses, miners, distances, reducers, regularizers), strict=True))
    for place in [places[module]] if module else places.values():
        if isinstance(getattr(place, name, None), type):
            return getattr(place, name)
    known = sorted(key for key in vars(places[module or "distances"]) if key[:1].isupper())
    raise ValueError(
        f"pytorch-metric-learning {pytorch_metric_learning.__version__} must have "
        f"{module or 'an object'} of that name, but it has no {name!r}. It has {', '.join(known)}."
    )
