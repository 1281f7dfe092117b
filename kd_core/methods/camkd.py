"""CA-MKD: several frozen teachers, each weighted sample by sample; also mean, fixed, entropy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kd_core.checks import check_choice, check_positive, check_weights
from kd_core.connectors import Connector
from kd_core.layers import LayerPath, find_layer
from kd_core.losses.soft_target import soft_divergences
from kd_core.methods.adapter import NetworkBuilder, TaskAdapter
from kd_core.methods.base import Batch
from kd_core.methods.stages import StagesDistiller
from kd_core.teacher import FrozenTeacher
from kd_core.teacher_shares import confidence_weights

WEIGHTINGS = ("confidence", "entropy", "mean")


@dataclass(frozen=True)
class TeacherFeatures:
    """Layers that :class:`CAMKD` compares besides the predictions.

    Attributes:
        layer: Selector of the student's last map (N, C, H, W).
        teacher_layers: The teachers': one selector for all, or one for each by name; ``None``
            takes the student's.
        classifiers: Modules of the teachers that classify the average of that map, likewise one
            for all or by name: maps are then weighted as in the authors' code. ``None`` weights
            them as the predictions.
    """

    layer: str
    teacher_layers: str | Mapping[str, str] | None = None
    classifiers: str | Mapping[str, str] | None = None


class CAMKD(StagesDistiller):
    """The student follows each teacher the more, the more sure of the sample's label that one is.

        loss = own + alpha * mean over N of sum over k of w_kn * KL_t(t_k || s)_n
                   + beta  * mean over N of sum over k of v_kn * mean over C, H, W of (e_k - F_k)^2
        w_kn = (1 - softmax over k of CE(t_k, label)_n) / (K - 1), and 1 of a single teacher
        e_k  = relu(batch norm(1x1 convolution of the student's last map)), F_k the teacher's

    own is the student's loss; w sums to 1 over the K teachers. v is as w, with the scores of
    teacher k's own classifier for e_k in the place of t_k, and the gradient passes through it; or w
    itself. The student's map is average-pooled, or interpolated, to the size of F_k. Other
    weightings: "mean", 1 / K; "entropy", the entropy of softmax(t_k) in the place of CE, which asks
    for no label; or fixed numbers. With K = 1 it is soft targets and imitation of one teacher.
    Each teacher runs once in a step, and none whose number is 0.

    Zhang, Chen and Wang, "Confidence-Aware Multi-Teacher Knowledge Distillation", ICASSP 2022,
    https://arxiv.org/abs/2201.00007. Status: the authors' code, which divides alpha and beta by K
    once more (the paper does not) and leaves the maps out in the first epoch. "entropy", and
    similarities within the batch in the place of classes (networks that embed; the label's share
    is that of the images of one class), are ours.

    Args:
        teachers: Name to frozen network.
        weighting: "confidence", "entropy", "mean", or name to number.
        strength: alpha, beta and the temperature t.
        features: Layers of the beta term; needed if beta is above 0.
        adapter: The task; the default is that of plain classifiers.

    Raises:
        ValueError: If there is no teacher, a weighting is unknown or lacks a teacher, a number is
            out of range, or a layer is missing.
    """

    def __init__(
        self,
        teachers: Mapping[str, FrozenTeacher],
        weighting: str | Mapping[str, float] = "confidence",
        strength: tuple[float, float, float] = (1.0, 0.0, 4.0),
        features: TeacherFeatures | None = None,
        adapter: TaskAdapter | None = None,
    ) -> None:
        if not teachers or any("loss" in name or "." in name for name in teachers):
            raise ValueError(
                "there must be one or more teachers by name, without a dot or 'loss' in it, but "
                f"there are {list(teachers)}."
            )
        self.alpha, self.beta, self.temperature = strength
        check_weights(alpha=self.alpha, beta=self.beta)
        check_positive(temperature=self.temperature)
        if self.beta and features is None:
            raise ValueError("beta is above 0, so there must be a layer: layer='network.last'.")
        used = features if self.beta else None
        super().__init__([used.layer] if used else [], teachers, adapter)
        self.weighting, self.needs_example = weighting, bool(self.beta)
        self.fixed = (
            None if isinstance(weighting, str) else _require_all("weighting", weighting, teachers)
        )
        if isinstance(weighting, str):
            check_choice("weighting", weighting, WEIGHTINGS)
        else:
            check_weights(**weighting)
        self._read = {name: [self.output] for name in teachers}
        self._classifiers: dict[str, FrozenTeacher] = {}
        if used:
            self._read_features(used)
        self.embed = nn.ModuleDict()

    @classmethod
    def from_config(
        cls,
        build: NetworkBuilder,
        teachers: Mapping[str, Mapping[str, Any]],
        weighting: str | Mapping[str, float] = "confidence",
        alpha: float = 1.0,
        beta: float = 0.0,
        temperature: float = 4.0,
        layer: str | None = None,
        teacher_layers: str | Mapping[str, str] | None = None,
        classifiers: str | Mapping[str, str] | None = None,
    ) -> nn.Module:
        """Build a student and its teachers, and attach them.

        Args:
            build: Builds networks.
            teachers: Name to ``dict(config=, checkpoint=, allow_partial=False, precision=None)``.
            weighting: "confidence", "entropy", "mean", or name to number.
            alpha: Weight of the teachers' predictions.
            beta: Weight of their last maps; the authors' is 50 / K.
            temperature: Divisor of scores, above 0.
            layer: Selector of the student's last map, where beta is above 0.
            teacher_layers: The teachers', one for all or by name; ``None`` takes the student's.
            classifiers: Their modules that classify the average of that map, such as
                ``network.classifier``: maps are then weighted by what these make of the student's.

        Returns:
            The student, with the method as its child ``distiller``.

        Raises:
            ValueError: If an option is wrong, or networks or layers do not fit.
            kd_core.checkpoint.CheckpointError: If a checkpoint is unsafe, broken or does not fit.
        """
        student = build.student()
        frozen = {}
        for name, reference in teachers.items():
            network, precision = build.trained(reference, f"teachers.{name}")
            frozen[name] = FrozenTeacher(network, precision=precision)
        features = None if layer is None else TeacherFeatures(layer, teacher_layers, classifiers)
        strength = alpha, beta, temperature
        return cls(frozen, weighting, strength, features, build.adapter).attach(student)

    def check_gradients(self, features: list[Tensor]) -> None:
        """Require a gradient at the student's last map, if that is compared."""
        if features:
            super().check_gradients(features)

    def prepare(self, images: Tensor, output: Tensor, features: list[Tensor]) -> None:
        """Make the layers that give the student's map the channels of each teacher's."""
        for name in self.teachers if self.beta else ():
            _, target = self.run_teacher(name, images, self._read[name])
            for whose, found in (("the student", features[0]), (f"teacher {name!r}", target)):
                if found.dim() != 4:
                    raise ValueError(
                        f"beta compares maps (N, C, H, W), but the layer of {whose} gives "
                        f"{tuple(found.shape)}. Name the last layer before pooling."
                    )
            made = Connector(features[0].shape[1], target.shape[1])
            self.embed[name] = made.to(output.device, output.dtype)
            if name in self._classifiers:
                self._classified(name, target)

    def teacher_layers(self, iteration: int) -> dict[str, list[LayerPath]]:
        """Return the layers of each teacher whose number is not 0."""
        if not (self.alpha or self.beta):
            return {}
        return {n: of for n, of in self._read.items() if self.fixed is None or self.fixed[n]}

    def compare(self, batch: Batch) -> dict[str, Tensor]:
        """Compare the student with its teachers, each weighted."""
        found = batch.teacher_outputs
        if not found:
            return {}
        scores = {name: self.adapter.scores(outputs[0]).float() for name, outputs in found.items()}
        weights = self._weigh(scores, batch.labels)  # name -> (N,)
        losses = {f"weight_{name}": one.mean().detach() for name, one in weights.items()}
        if self.alpha:
            own = self.adapter.scores(batch.output)
            each = [
                w * soft_divergences(own, scores[n], self.temperature) for n, w in weights.items()
            ]
            losses["loss_responses"] = self.alpha * torch.stack(each).sum(0).mean()
        if self.beta:
            maps = {
                n: self.embed[n](_to_size(batch.features[0], o[1])).relu() for n, o in found.items()
            }
            if self._classifiers and self.weighting == "confidence":
                weights = self._weigh(
                    {n: self._classified(n, e) for n, e in maps.items()}, batch.labels
                )
            each = [
                w * (maps[n].float() - found[n][1].float()).square().mean((1, 2, 3))
                for n, w in weights.items()
            ]
            losses["loss_features"] = self.beta * torch.stack(each).sum(0).mean()
        return losses

    def _weigh(self, scores: Mapping[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        """Return the weight (N,) of each teacher."""
        one = next(iter(scores.values()))
        if self.fixed is not None:
            return {name: one.new_full((len(one),), self.fixed[name]) for name in scores}
        if self.weighting == "mean":
            return {name: one.new_full((len(one),), 1 / len(scores)) for name in scores}
        if self.weighting == "entropy":
            doubts = [torch.distributions.Categorical(logits=z).entropy() for z in scores.values()]
        else:
            doubts = [self.adapter.sample_losses(z, labels) for z in scores.values()]
        return dict(zip(scores, confidence_weights(torch.stack(doubts)), strict=True))

    def _classified(self, name: str, feature: Tensor) -> Tensor:
        """Return what teacher k's classifier makes of a map, with a gradient to the map."""
        scores: Tensor = self._classifiers[name].model(feature.mean((2, 3)))
        return scores.float()

    def _read_features(self, features: TeacherFeatures) -> None:
        layers = _by_name(
            "teacher_layers", features.teacher_layers or features.layer, self.teachers
        )
        named = _by_name("classifiers", features.classifiers or {}, self.teachers)
        for name, teacher in self.teachers.items():
            path = LayerPath.parse(layers[name])
            find_layer(teacher.model, path, f"teacher {name!r}")
            self._read[name] = [self.output, path]
            if name in named:
                classifier = LayerPath.parse(named[name])
                find_layer(teacher.model, classifier, f"teacher {name!r}")
                module = teacher.model.get_submodule(classifier.module)
                self._classifiers[name] = FrozenTeacher(module)


def _to_size(student: Tensor, teacher: Tensor) -> Tensor:
    """Average-pool the student's map, or interpolate a smaller one, to the teacher's size."""
    size = teacher.shape[2], teacher.shape[3]
    if student.shape[2:] == size:
        return student
    if student.shape[2] < size[0] or student.shape[3] < size[1]:
        return F.interpolate(student, size=size, mode="bilinear")
    return F.adaptive_avg_pool2d(student, size)


def _by_name(
    what: str, given: str | Mapping[str, str], teachers: Mapping[str, Any]
) -> Mapping[str, str]:
    if isinstance(given, str):
        return dict.fromkeys(teachers, given)
    return _require_all(what, given, teachers) if given else {}


def _require_all(what: str, given: Mapping[str, Any], teachers: Mapping[str, Any]) -> Any:
    if set(given) != set(teachers):
        raise ValueError(
            f"{what} must name each teacher, {', '.join(teachers)}, but it names "
            f"{', '.join(given) or 'none'}."
        )
    return dict(given)
