"""BYOT: the earlier stages learn from the network's own last one; no teacher is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from kd_cls.classifier import Classifier
from kd_cls.methods.heads import heads_for
from kd_cls.methods.method import Batch, ClassifierMethod
from kd_cls.methods.networks import require_classifier, stage_layers
from kd_core.checks import check_weights
from kd_core.layers import LayerPath
from kd_core.losses import SoftTargetLoss


def BYOT(  # noqa: N802  a config names it as a type
    student: Mapping[str, Any],
    alpha: float = 0.3,
    feature: float = 0.03,
    temperature: float = 3.0,
    layers: Sequence[str] | None = None,
    pooled: str = "network.pool",
) -> nn.Module:
    """Build a student that teaches itself.

    Args:
        student: Config of a :class:`kd_cls.Classifier`.
        alpha: Share of the last stage's logits in what a head learns, the rest are labels.
        feature: Weight of the distance from the last stage's vector.
        temperature: Divisor of logits.
        layers: Selectors of the student's layers; ``None`` takes its stages.
        pooled: Selector of the vector (N, D) that the network classifies.

    Returns:
        The student, with the method as its child ``distiller``.

    Raises:
        ValueError: If an option is wrong or a layer does not fit.
    """
    model: nn.Module = MODELS.build(ConfigDict(student))
    return SelfDistillation(alpha, feature, temperature, layers, pooled).attach(model)


class SelfDistillation(ClassifierMethod):
    """Heads behind the earlier stages learn from labels and from the network's own output.

        loss = CE(z_K) + sum over i < K of [(1 - alpha) * CE(z_i) + alpha * KL_t(sg z_K || z_i)
               + feature * mean over N of ||f_i - sg f_K||^2]

    K stages; z_K are the network's logits, CE(z_K) is its own loss and f_K its pooled vector
    (N, D); z_i and f_i are those of a :class:`kd_cls.methods.heads.StageHead`. sg stops the
    gradient; KL_t has the factor t^2 and the mean over N of
    :class:`kd_core.losses.SoftTargetLoss`; the squared distance sums over D. The heads are never
    exported.

    Zhang, Song, Gao, Chen, Bao and Ma, "Be Your Own Teacher: Improve the Performance of
    Convolutional Neural Networks via Self Distillation", ICCV 2019,
    https://arxiv.org/abs/1905.08094. Status: the published formula, with the usual factor t^2; the
    heads (the paper's are bottlenecks) and the mean over N are ours. The authors' later code
    (https://github.com/ArchipLab-LinfengZhang/pytorch-self-distillation-final) has the same
    weights, but lacks t^2, takes the distance without the square and over the whole batch, of
    vectors behind one more linear layer, and leaves the stage next to the last out of it.

    Args:
        alpha: Share of the last stage's logits in what a head learns, from 0 to 1.
        feature: Weight of the distance from the last stage's vector.
        temperature: Divisor t of logits.
        layers: Selectors of the student's layers; ``None`` takes its stages.
        pooled: Selector of the vector (N, D) that the network classifies.

    Raises:
        ValueError: If ``alpha`` or ``feature`` is out of range.
    """

    def __init__(
        self,
        alpha: float = 0.3,
        feature: float = 0.03,
        temperature: float = 3.0,
        layers: Sequence[str] | None = None,
        pooled: str = "network.pool",
    ) -> None:
        super().__init__(layers)
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha must be from 0 to 1, but it is {alpha}.")
        check_weights(feature=feature)
        self.alpha, self.feature = alpha, feature
        self.response = SoftTargetLoss(temperature)
        self.heads = nn.ModuleList()
        self._stages, self._pooled = self.layers, LayerPath.parse(pooled)

    def student_layers(self, student: nn.Module) -> list[LayerPath]:
        """Return the student's logits, stages and pooled vector.

        Raises:
            ValueError: If it is no classifier.
        """
        stages = self._stages or stage_layers(require_classifier(student, "student"))
        self.layers = [*stages, self._pooled]
        return super().student_layers(student)

    def prepare(self, student: Classifier, features: list[Tensor], images: Tensor) -> None:
        """Make a head for each stage but the last, with vectors of the network's size."""
        *maps, pooled = features
        self.heads = heads_for(maps, student.num_classes, pooled.flatten(1).shape[1])

    def compare(self, batch: Batch) -> dict[str, Tensor]:
        """Compare each head with the labels, and with the network's own output."""
        target = batch.features[-1].detach().float().flatten(1)  # (N, D)
        losses, responses, distances = {}, [], []
        pairs = zip(self.heads, batch.features, strict=False)  # the last stage has no head
        for number, (head, stage) in enumerate(pairs, start=1):
            vector, logits = head(stage)
            if self.alpha < 1:
                entropy = F.cross_entropy(logits.float(), batch.labels)
                losses[f"loss_head{number}_ce"] = (1 - self.alpha) * entropy
            responses.append(self.response(logits, batch.logits))
            distances.append((vector.float() - target).square().sum(1).mean())
        if self.alpha:
            losses["loss_response"] = self.alpha * torch.stack(responses).sum()
        if self.feature:
            losses["loss_feature"] = self.feature * torch.stack(distances).sum()
        return losses
