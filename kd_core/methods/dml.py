"""DML (deep mutual learning), and the base class of methods whose networks teach each other."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kd_core.checks import check_weights
from kd_core.layers import LayerPath, find_layer
from kd_core.losses.soft_target import SoftTargetLoss
from kd_core.methods.adapter import NetworkBuilder, TaskAdapter
from kd_core.methods.base import Batch, NetworksDistiller


@dataclass(frozen=True)
class Output:
    """Output of one network for a batch.

    Attributes:
        scores: What softmax turns into probabilities: logits (N, classes), or, of a network that
            embeds, similarities within the batch (N, N - 1).
        feature: Output of the network's layer, (N, D) or (N, C, H, W).
    """

    scores: Tensor
    feature: Tensor


class PeerDistiller(NetworksDistiller):
    """A student and its peers, all trained together: each is a learner of the same kind.

    Network 0 is the student, network k the k-th peer. Each loss gives gradient to one
    network only, because outputs of the others are detached; so one optimizer for all of them
    updates each by its own losses.

    The student's losses are its own (``loss_ce`` of a classifier, ``loss_metric`` of an embedder)
    and ``loss_<term>``, those of the k-th peer ``loss_peer<k>_ce`` (``_metric``) and
    ``loss_peer<k>_<term>``. Every network's own loss has the factor ``alpha``.

    Args:
        peers: Name to network, in order; a list names them "peer 1" and so on.
        layer: Selector of the layer that is compared, the same for all networks, or a list: the
            student's first, then that of each peer; ``None`` takes the task's output.
        alpha: Weight of every network's own loss.
        adapter: The task; the default is that of plain classifiers.

    Raises:
        ValueError: If there is no peer, one is not of the task, a layer does not exist, or
            ``alpha`` is negative or not finite.
    """

    def __init__(
        self,
        peers: Mapping[str, nn.Module] | Sequence[nn.Module],
        layer: str | Sequence[str] | None = None,
        alpha: float = 1.0,
        adapter: TaskAdapter | None = None,
    ) -> None:
        if not peers:
            raise ValueError(
                "there must be at least one peer, but there is none. Give the networks that the "
                "student learns with, as peers=[...]."
            )
        check_weights(alpha=alpha)
        adapter = adapter or TaskAdapter()
        layers = _layer_of_each(layer or adapter.output, 1 + len(peers))
        super().__init__(layers[:1], adapter=adapter)
        named = peers if isinstance(peers, Mapping) else _numbered(peers)
        self.peer_layers = [LayerPath.parse(text) for text in layers[1:]]
        for (name, peer), path in zip(named.items(), self.peer_layers, strict=True):
            adapter.require(peer, name)
            find_layer(peer, path, name)
        self.peers = nn.ModuleList(named.values())
        self.names = list(named)
        self.alpha = alpha

    @abstractmethod
    def terms(
        self, number: int, own: Output, others: Sequence[Output], batch: Batch
    ) -> dict[str, Tensor]:
        """Return the losses of one network besides its own.

        Args:
            number: 0 for the student, k for the k-th peer.
            own: Its output for the batch.
            others: Output of each other network; a loss detaches it.
            batch: The batch, with the outputs of frozen networks.

        Returns:
            Name, without ``loss_``, to scalar.
        """

    def networks(self) -> list[tuple[str, nn.Module, bool]]:
        """Return the peers, and the frozen networks."""
        peers = zip(self.names, self.peers, strict=True)
        return [*((name, peer, True) for name, peer in peers), *super().networks()]

    def loss_owner(self, loss: str) -> str:
        """Return the network that diverges if this loss is not finite.

        Only the networks' own losses show it: the others compare two networks.
        """
        found = re.fullmatch(r"loss_peer(\d+)_(\w+)", loss)
        if found and f"loss_{found[2]}" == self.adapter.loss:
            return self.names[int(found[1]) - 1]
        return super().loss_owner(loss)

    def prepare(self, images: Tensor, output: Tensor, features: list[Tensor]) -> None:
        """Require that each network's layer gives one row or map for each image."""
        found = {"student": features}
        for name, peer, layer in self._learners():
            found[name] = self.dry_outputs(name, peer, images, [layer])
        for name, outputs in found.items():
            shapes = [tuple(one.shape) for one in outputs]
            if len(shapes) != 1 or len(shapes[0]) < 2 or shapes[0][0] != len(images):
                raise ValueError(
                    f"the layer of the {name} must give one row (N, D) or map (N, C, H, W) for "
                    f"each of {len(images)} images, but it gives {shapes}. Name another layer."
                )

    def compare(self, batch: Batch) -> dict[str, Tensor]:
        """Run the peers, and compare each network with the others."""
        adapter = self.adapter
        outputs = [Output(adapter.scores(batch.output), *batch.features)]
        losses = {}
        if adapter.loss in batch.task and self.alpha != 1:
            losses[adapter.loss] = self.alpha * batch.task[adapter.loss]
        kind = adapter.loss.removeprefix("loss_")
        for number, (name, peer, layer) in enumerate(self._learners(), start=1):
            output, feature = self.run(name, peer, batch.images, [self.output, layer])
            outputs.append(Output(adapter.scores(output), feature))
            own = adapter.own_loss(peer, output, batch.labels)
            losses[f"loss_peer{number}_{kind}"] = self.alpha * own
        for number, mine in enumerate(outputs):
            others = outputs[:number] + outputs[number + 1 :]
            prefix = f"loss_peer{number}" if number else "loss"
            found = self.terms(number, mine, others, batch)
            losses |= {f"{prefix}_{term}": value for term, value in found.items()}
        return losses

    def _learners(self) -> list[tuple[str, nn.Module, LayerPath]]:
        return list(zip(self.names, self.peers, self.peer_layers, strict=True))


class DML(PeerDistiller):
    """Every network learns from the labels and from the others' present predictions.

        loss_k = own(k) + loss_weight * mean over other networks j of KL_t(sg p_j || p_k)
        KL_t(a || b) = t^2 * mean over N of sum over classes of a log(a / b)

    The predictions p are softmax(scores / t), own(k) is the network's cross-entropy or metric
    loss. Scores are logits; of networks that embed, the similarities of a sample with the others
    of the batch take the place of classes. With two networks the mean is that of one.

    Zhang, Xiang, Hospedales and Lu, "Deep Mutual Learning", CVPR 2018,
    https://arxiv.org/abs/1706.00384. Status: the published formula for classifiers, with t = 1 and
    weight 1 as there; on similarities it is ours. The paper's algorithm updates one network after
    another and predicts anew between them; here all are updated at once, from the same predictions.

    Args:
        peers: Name to network, or a list of them.
        temperature: Divisor t of the scores, above 0.
        loss_weight: Weight of the losses against the peers.
        adapter: The task; the default is that of plain classifiers.

    Raises:
        ValueError: If ``loss_weight`` is negative or not finite, ``temperature`` is not above 0,
            there is no peer or one is not of the task.
    """

    def __init__(
        self,
        peers: Mapping[str, nn.Module] | Sequence[nn.Module],
        temperature: float = 1.0,
        loss_weight: float = 1.0,
        adapter: TaskAdapter | None = None,
    ) -> None:
        super().__init__(peers, adapter=adapter)
        check_weights(loss_weight=loss_weight)
        self.loss_weight = loss_weight
        self.mutual = SoftTargetLoss(temperature)

    @classmethod
    def from_config(
        cls,
        build: NetworkBuilder,
        peers: Sequence[Mapping[str, Any]],
        temperature: float = 1.0,
        loss_weight: float = 1.0,
    ) -> nn.Module:
        """Build a student and its peers, and let them learn from each other.

        All start from different weights, the student from those that it would have alone.

        Args:
            build: Builds networks.
            peers: The config of each peer, of equal or different architecture.
            temperature: Divisor of the scores, above 0.
            loss_weight: Weight of the losses against the peers.

        Returns:
            The student, with the method as its child ``distiller``.

        Raises:
            ValueError: If an option is wrong, there is no peer, or the networks do not fit.
        """
        student = build.student()
        return cls(build.peers(peers), temperature, loss_weight, build.adapter).attach(student)

    def terms(
        self, number: int, own: Output, others: Sequence[Output], batch: Batch
    ) -> dict[str, Tensor]:
        """Compare a network's predictions with those of the others."""
        if not self.loss_weight:
            return {}
        mutual = mean_over(others, lambda other: self.mutual(own.scores, other.scores))
        return {"peers": self.loss_weight * mutual}


def mean_over(others: Sequence[Output], loss: Callable[[Output], Tensor]) -> Tensor:
    """Average a loss over the other networks."""
    return torch.stack([loss(other) for other in others]).mean()


def _numbered(peers: Sequence[nn.Module]) -> dict[str, nn.Module]:
    return {f"peer {number}": peer for number, peer in enumerate(peers, start=1)}


def _layer_of_each(layer: str | Sequence[str], count: int) -> list[str]:
    layers = [layer] * count if isinstance(layer, str) else list(layer)
    if len(layers) != count:
        raise ValueError(
            f"layer must be one selector for all networks, or one for each of the {count} (the "
            f"student first, then the peers), but there are {len(layers)}: {layers}."
        )
    return layers
