"""Heads that classify after a network's earlier stages, and the phase that trains a teacher's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kd_core.base_distiller import BaseDistiller
from kd_core.checkpoint.load import load_weights
from kd_core.checks import check_feature_map
from kd_core.connectors import MapNorm
from kd_core.layers import LayerPath
from kd_core.methods.adapter import NetworkBuilder, TaskAdapter
from kd_core.methods.base import Batch
from kd_core.methods.stages import StagesDistiller, require_channels_first, select_layers
from kd_core.teacher import Forward, eval_mode, read_layers


class StageHead(nn.Module):
    """Head that classifies a stage's feature map.

        average pooling to the size of the last stage's map; 3x3 convolution, batch norm, ReLU;
        global average pooling: vector (N, D); linear: logits (N, classes)

    Our reconstruction: the methods that have such heads describe them in words only, or have
    others for each network. Pooling first makes the convolution as cheap as at the last stage.

    Args:
        in_channels: Channels of the stage's map.
        num_features: Size D of the vector.
        num_classes: Number of classes.
        size: Height and width of the last stage's map.

    Example:
        >>> vector, logits = StageHead(16, 64, 10, (8, 8))(torch.zeros(2, 16, 32, 32))
        >>> vector.shape, logits.shape
        (torch.Size([2, 64]), torch.Size([2, 10]))
    """

    def __init__(
        self, in_channels: int, num_features: int, num_classes: int, size: tuple[int, int]
    ) -> None:
        super().__init__()
        self.shrink = nn.AdaptiveAvgPool2d(size)
        convolution = nn.Conv2d(in_channels, num_features, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
        self.convolution = nn.Sequential(convolution, MapNorm(num_features), nn.ReLU())
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(num_features, num_classes)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Turn a map (N, C, H, W) into a vector (N, D) and logits (N, classes)."""
        vector = self.pool(self.convolution(self.shrink(features)))
        return vector, self.classifier(vector)


def heads_for(
    features: Sequence[Tensor], num_classes: int, num_features: int | None = None
) -> nn.ModuleList:
    """Make a head for each stage but the last, whose head is the network's own classifier.

    Args:
        features: Map (N, C, H, W) of each stage, from shallow to deep.
        num_classes: Number of classes.
        num_features: Size D of the heads' vectors; ``None`` takes the last stage's channels.

    Raises:
        ValueError: If there are fewer than two stages, or one is not a map.
    """
    if len(features) < 2:
        raise ValueError(
            f"heads need a network of at least 2 stages, but there is {len(features)}. Name more "
            "layers; kdkit layers prints them."
        )
    for number, feature in enumerate(features, start=1):
        check_feature_map(feature, f"stage {number}")
    last = features[-1]
    size = (last.shape[2], last.shape[3])
    return nn.ModuleList(
        StageHead(feature.shape[1], num_features or last.shape[1], num_classes, size)
        for feature in features[:-1]
    ).to(last.device, last.dtype)


class HeadedClassifier(nn.Module):
    """A classifier and heads after its earlier stages, as one network.

    Its layers are ``classifier.<stage>``, ..., ``heads.0[0]`` (vector), ``heads.0[1]`` (logits),
    ..., ``classifier.<output>``.

    Args:
        classifier: The classifier.
        layers: Its stages, from shallow to deep.
        heads: One for each but the last.
        output: Its logits.
    """

    def __init__(
        self,
        classifier: nn.Module,
        layers: Sequence[LayerPath],
        heads: nn.ModuleList,
        output: LayerPath,
    ) -> None:
        super().__init__()
        self.classifier, self.layers, self.heads = classifier, list(layers), heads
        self.output = output

    @classmethod
    def from_config(
        cls,
        build: NetworkBuilder,
        reference: Mapping[str, Any],
        layers: Sequence[str] | None = None,
    ) -> tuple[HeadedClassifier, torch.dtype | None]:
        """Build a classifier with the heads that :class:`TeacherHeads` trained.

        Args:
            build: Builds networks.
            reference: ``dict(config=, checkpoint=, allow_partial=False, precision=None)``. Without
                a checkpoint the heads are random.
            layers: Selectors of its layers; ``None`` takes its stages.

        Returns:
            The network, and the autocast dtype of its forward.

        Raises:
            ValueError: If the checkpoint has no heads, or the reference or layers do not fit.
            kd_core.checkpoint.CheckpointError: If the checkpoint is unsafe, broken or does not fit.
        """
        classifier, precision = build.trained(reference)
        selectors = select_layers(build.adapter, classifier, layers, "teacher")
        output = LayerPath.parse(build.adapter.output)
        with torch.random.fork_rng(devices=[]):
            images = build.adapter.example(classifier)
            assert images is not None
            layers_read = [output, *selectors]
            with torch.no_grad(), eval_mode(classifier):
                logits, *maps = read_layers(classifier, layers_read, images, whose="teacher")
            require_channels_first(maps, selectors, images, "teacher")
            heads = heads_for(maps, logits.shape[1])
        if saved := build.heads_of(reference):
            partial = reference.get("allow_partial", False)
            load_weights(heads, saved[0], source=saved[1], allow_partial=partial, ignore=())
        return cls(classifier, selectors, heads, output), precision

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the logits (N, classes) of each stage, the classifier's own last.

        Args:
            images: Normalized (N, 3, H, W).
        """
        selectors = [*self.layers[:-1], self.output]
        *features, logits = read_layers(self.classifier, selectors, images, whose="teacher")
        pairs = zip(self.heads, features, strict=True)
        return [*(head(feature)[1] for head, feature in pairs), logits]


class TeacherHeads(StagesDistiller):
    """Distiller that trains heads after the stages of a frozen classifier.

        loss = sum over i < K of CE(z_i)

    The classifier's parameters get no gradient and its layers stay in eval mode, so batch norm's
    statistics stay too. Its own loss is logged, and trains nothing.

    First phase of :class:`kd_core.methods.MSKDSSR`. Status: our reconstruction.

    Args:
        layers: Selectors of the classifier's layers; ``None`` takes its stages.
        adapter: The task; the default is that of plain classifiers.
    """

    moves_student = False
    needs_example = True

    def __init__(
        self, layers: Sequence[str] | None = None, adapter: TaskAdapter | None = None
    ) -> None:
        super().__init__(layers, adapter=adapter)
        self.heads = nn.ModuleList()

    @classmethod
    def from_config(
        cls,
        build: NetworkBuilder,
        pretrained: Mapping[str, Any],
        layers: Sequence[str] | None = None,
    ) -> nn.Module:
        """Build a trained classifier, freeze it, and attach heads that are to be trained.

        Args:
            build: Builds networks; its student is the one that was trained.
            pretrained: ``dict(config=, checkpoint=, allow_partial=False)``: its weights, and the
                config that trains them if they are missing.
            layers: Selectors of its layers; ``None`` takes its stages.

        Returns:
            The classifier, with the heads in its child ``distiller``.

        Raises:
            ValueError: If an option is wrong or layers do not fit.
            kd_core.checkpoint.CheckpointError: If the checkpoint is unsafe, broken or does not fit.
        """
        reference = {**pretrained, "config": build.config}
        classifier, precision = build.trained(reference, "pretrained")
        if precision is not None:
            raise ValueError(
                f"pretrained has no precision of its own, but it is {precision}. Take --amp."
            )
        return cls(layers, build.adapter).attach(classifier)

    def attach(
        self,
        student: nn.Module,
        example: Sequence[Any] | None = None,
        forward: Forward | None = None,
        name: str = "distiller",
    ) -> nn.Module:
        """Freeze a classifier for good, and become its child ``distiller``.

        Raises:
            ValueError: If it is not a classifier, is attached already, or its layers do not fit.
        """
        own = list(student.parameters())
        super().attach(student, example, forward, name)
        for parameter in own:
            parameter.requires_grad_(False)
        self._handles.append(student.register_forward_pre_hook(_stay_in_eval))
        return student

    def prepare(self, images: Tensor, output: Tensor, features: list[Tensor]) -> None:
        """Make a head for each stage but the last."""
        self.heads = heads_for(features, output.shape[1])

    def compare(self, batch: Batch) -> dict[str, Tensor]:
        """Return each head's cross-entropy and its accuracy in percent on the batch."""
        found = {}
        pairs = zip(self.heads, batch.features, strict=False)  # the last stage has no head
        for number, (head, feature) in enumerate(pairs, start=1):
            logits = head(feature.detach())[1].float()
            right = logits.detach().argmax(1) == batch.labels
            found[f"loss_head{number}"] = F.cross_entropy(logits, batch.labels)
            found[f"accuracy_head{number}"] = 100 * right.float().mean()
        return found


def _stay_in_eval(student: nn.Module, args: Any) -> None:
    for child in student.children():
        if not isinstance(child, BaseDistiller):
            child.eval()  # a loop sets all to training mode before each epoch
