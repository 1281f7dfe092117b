"""Networks that learn from each other: what the methods with peers have in common."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from kd_cls.classifier import Classifier
from kd_cls.methods.method import LOGITS, Batch, ClassifierMethod
from kd_cls.methods.networks import dry_features, layers_of, require_classifier
from kd_core.checks import check_weights
from kd_core.layers import LayerPath
from kd_engine.build import student_config
from kd_engine.config.file import read_config

_PEER_LOSS = re.compile(r"loss_peer(\d+)_ce")


@dataclass(frozen=True)
class Output:
    """What one network made of a batch.

    Attributes:
        logits: (N, classes).
        feature: Output of the network's layer, (N, D) or (N, C, H, W).
    """

    logits: Tensor
    feature: Tensor


class PeerMethod(ClassifierMethod):
    """A student and its peers, all trained together: each is a learner of the same kind.

    Network 0 is the student, network k the k-th peer. Each loss gives gradient to one network
    alone, for what it takes from another is detached; so one optimizer that has all of them
    updates each by its own losses.

    The student's losses are ``loss_ce`` and ``loss_<term>``, those of the k-th peer
    ``loss_peer<k>_ce`` and ``loss_peer<k>_<term>``. Every network's cross-entropy has the factor
    ``loss_weight`` of its classifier beside ``alpha``.

    Args:
        peers: Name to classifier, in order.
        layer: Selector of the layer that is compared, the same for all networks, or a list: the
            student's first, then that of each peer.
        alpha: Weight of the cross-entropy of every network.

    Raises:
        ValueError: If there is no peer, one is no classifier, a layer does not exist, or ``alpha``
            is negative or not finite.
    """

    def __init__(
        self,
        peers: Mapping[str, nn.Module],
        layer: str | Sequence[str] = LOGITS.text,
        alpha: float = 1.0,
    ) -> None:
        if not peers:
            raise ValueError(
                "there must be at least one peer, but there is none. Give peers=[dict(...)]."
            )
        check_weights(alpha=alpha)
        layers = _layer_of_each(layer, 1 + len(peers))
        super().__init__(layers[:1])
        named = zip(peers.items(), layers[1:], strict=True)
        self.peer_layers = [layers_of(peer, [text], name)[0] for (name, peer), text in named]
        self.peers = nn.ModuleList(peers.values())
        self.names = list(peers)
        self.alpha = alpha

    @abstractmethod
    def terms(
        self, number: int, own: Output, others: Sequence[Output], batch: Batch
    ) -> dict[str, Tensor]:
        """Return what one network learns beside the labels.

        Args:
            number: 0 for the student, k for the k-th peer.
            own: What it made of the batch.
            others: What each other network made of it; a loss detaches that.
            batch: The batch, with the outputs of frozen networks.

        Returns:
            Name, without ``loss_``, to scalar.
        """

    def networks(self) -> list[tuple[str, nn.Module, bool]]:
        """Return the peers, and what is frozen."""
        peers = zip(self.names, self.peers, strict=True)
        return [*((name, peer, True) for name, peer in peers), *super().networks()]

    def owner(self, loss: str) -> str:
        """Name the network that diverges if this loss is not finite.

        Cross-entropy tells: the other losses compare two networks.
        """
        found = _PEER_LOSS.fullmatch(loss)
        return self.names[int(found[1]) - 1] if found else super().owner(loss)

    def prepare(self, student: Classifier, features: list[Tensor], images: Tensor) -> None:
        """Require that each network's layer gives one row or map for each image."""
        found = {"student": features}
        for name, peer, layer in self._learners():
            found[name] = dry_features(peer, [layer], self.images_for(name, images), name)
        for name, outputs in found.items():
            shapes = [tuple(one.shape) for one in outputs]
            if len(shapes) != 1 or len(shapes[0]) < 2 or shapes[0][0] != len(images):
                raise ValueError(
                    f"the layer of the {name} must give one row (N, D) or map (N, C, H, W) for "
                    f"each of {len(images)} images, but it gives {shapes}. Name another layer."
                )

    def compare(self, batch: Batch) -> dict[str, Tensor]:
        """Run the peers, and compare each network with the others."""
        outputs = [Output(batch.logits, *batch.features)]
        losses = {}
        if "loss_ce" in batch.task and self.alpha != 1:
            losses["loss_ce"] = self.alpha * batch.task["loss_ce"]
        for number, (name, peer, layer) in enumerate(self._learners(), start=1):
            logits, feature = self.run(name, peer, batch.images, [LOGITS, layer])
            outputs.append(Output(logits, feature))
            entropy = F.cross_entropy(logits.float(), batch.labels)
            losses[f"loss_peer{number}_ce"] = self.alpha * peer.loss_weight * entropy
        for number, own in enumerate(outputs):
            others = outputs[:number] + outputs[number + 1 :]
            prefix = f"loss_peer{number}" if number else "loss"
            found = self.terms(number, own, others, batch)
            losses |= {f"{prefix}_{term}": value for term, value in found.items()}
        return losses

    def _learners(self) -> list[tuple[str, Classifier, LayerPath]]:
        named = zip(self.names, self.peers, self.peer_layers, strict=True)
        return [(name, require_classifier(peer, name), layer) for name, peer, layer in named]


def mean_over(others: Sequence[Output], loss: Callable[[Output], Tensor]) -> Tensor:
    """Average a loss over the other networks."""
    return torch.stack([loss(other) for other in others]).mean()


def classifier_config(config: str | Mapping[str, Any]) -> dict[str, Any]:
    """Return the plain model config of a config file, or of a model config."""
    return student_config(read_config(config).model if isinstance(config, str) else config)


def build_all(configs: Sequence[Mapping[str, Any]]) -> list[nn.Module]:
    """Build classifiers with weights of their own; random numbers go on as if there were none."""
    with torch.random.fork_rng(devices=[]):
        return [MODELS.build(ConfigDict(config)) for config in configs]


def peer_name(number: int, config: Mapping[str, Any]) -> str:
    """Name a peer for people, such as "peer 1 (resnet20)".

    Args:
        number: Counted from 1.
        config: Its model config.
    """
    network = config.get("network")
    found = network.get("name") or network.get("type") if isinstance(network, Mapping) else None
    return f"peer {number} ({found or config.get('type')})"


def require_list(peers: Any, of: str) -> list[Any]:
    """Require a list of one or more dicts.

    Args:
        peers: What a config gives.
        of: What each must be, for the message.

    Raises:
        ValueError: If it is something else.
    """
    listed = isinstance(peers, list | tuple)
    if not listed or not peers or not all(isinstance(one, Mapping) for one in peers):
        kind = f"a list of {len(peers)}" if listed else f"a {type(peers).__name__}"
        raise ValueError(f"peers must be a list of one or more {of}, but it is {kind}.")
    return list(peers)


def _layer_of_each(layer: str | Sequence[str], count: int) -> list[str]:
    layers = [layer] * count if isinstance(layer, str) else list(layer)
    if len(layers) != count:
        raise ValueError(
            f"layer must be one selector for all networks, or one for each of the {count} (the "
            f"student first, then the peers), but there are {len(layers)}: {layers}."
        )
    return layers
