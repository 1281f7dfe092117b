"""BYOT: the earlier stages learn from the network's own last one; no teacher is needed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kd_core.checks import check_weights
from kd_core.layers import LayerPath
from kd_core.losses.soft_target import SoftTargetLoss
from kd_core.methods.adapter import NetworkBuilder, TaskAdapter
from kd_core.methods.base import Batch
from kd_core.methods.heads import heads_for
from kd_core.methods.stages import StagesDistiller


class BYOT(StagesDistiller):
    """Heads after the earlier stages learn from labels and from the network's own output.

        loss = CE(z_K) + sum over i < K of [(1 - alpha) * CE(z_i) + alpha * KL_t(sg z_K || z_i)
               + feature * mean over N of ||f_i - sg f_K||^2]

    K stages; z_K are the network's logits, CE(z_K) is its own loss and f_K its pooled vector
    (N, D); z_i and f_i are those of a :class:`kd_core.methods.heads.StageHead`. sg stops the
    gradient; KL_t has the factor t^2 and the mean over N of
    :class:`kd_core.losses.SoftTargetLoss`; the squared distance sums over D. The heads are never
    exported.

    Zhang, Song, Gao, Chen, Bao and Ma, "Be Your Own Teacher: Improve the Performance of
    Convolutional Neural Networks via Self Distillation", ICCV 2019,
    https://arxiv.org/abs/1905.08094. Status: the published formula, with the usual factor t^2; the
    heads (the paper's are bottlenecks) and the mean over N are ours. The authors' later code
    (https://github.com/ArchipLab-LinfengZhang/pytorch-self-distillation-final) has the same
    weights, but no t^2; it takes the distance without the square and over the whole batch, of
    vectors after one more linear layer, and leaves out the stage before the last.

    Args:
        alpha: Share of the last stage's logits in what a head learns, from 0 to 1.
        feature: Weight of the distance from the last stage's vector.
        temperature: Divisor t of logits.
        layers: Selectors of the student's layers; ``None`` takes its stages.
        pooled: Selector of the vector (N, D) that the network classifies; ``None`` takes the
            task's.
        adapter: The task; the default is that of plain classifiers.

    Raises:
        ValueError: If ``alpha`` or ``feature`` is out of range.
    """

    needs_example = True

    def __init__(
        self,
        alpha: float = 0.3,
        feature: float = 0.03,
        temperature: float = 3.0,
        layers: Sequence[str] | None = None,
        pooled: str | None = None,
        adapter: TaskAdapter | None = None,
    ) -> None:
        super().__init__(layers, adapter=adapter)
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha must be from 0 to 1, but it is {alpha}.")
        check_weights(feature=feature)
        self.alpha, self.feature = alpha, feature
        self.response = SoftTargetLoss(temperature)
        self.heads = nn.ModuleList()
        self._stages = self.layers
        self._pooled = LayerPath.parse(pooled or self.adapter.feature)

    @classmethod
    def from_config(
        cls,
        build: NetworkBuilder,
        alpha: float = 0.3,
        feature: float = 0.03,
        temperature: float = 3.0,
        layers: Sequence[str] | None = None,
        pooled: str | None = None,
    ) -> nn.Module:
        """Build a student that teaches itself.

        Args:
            build: Builds networks.
            alpha: Share of the last stage's logits in what a head learns, the rest are labels.
            feature: Weight of the distance from the last stage's vector.
            temperature: Divisor of logits.
            layers: Selectors of the student's layers; ``None`` takes its stages.
            pooled: Selector of the vector (N, D) that the network classifies; ``None`` takes
                ``network.pool``.

        Returns:
            The student, with the method as its child ``distiller``.

        Raises:
            ValueError: If an option is wrong or a layer does not fit.
        """
        method = cls(alpha, feature, temperature, layers, pooled, build.adapter)
        return method.attach(build.student())

    def student_layers(self, student: nn.Module) -> list[LayerPath]:
        """Return the student's logits, stages and pooled vector.

        Raises:
            ValueError: If it is not a classifier, or does not name its stages.
        """
        self.layers = self._stages
        output, *stages = super().student_layers(student)
        self.layers = [*stages, self._pooled]
        return [output, *self.layers]

    def prepare(self, images: Tensor, output: Tensor, features: list[Tensor]) -> None:
        """Make a head for each stage but the last, with vectors of the network's size."""
        *maps, pooled = features
        self.heads = heads_for(maps, output.shape[1], pooled.flatten(1).shape[1])

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
            responses.append(self.response(logits, batch.output))
            distances.append((vector.float() - target).square().sum(1).mean())
        if self.alpha:
            losses["loss_response"] = self.alpha * torch.stack(responses).sum()
        if self.feature:
            losses["loss_feature"] = self.feature * torch.stack(distances).sum()
        return losses
