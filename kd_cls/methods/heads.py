"""Classifying heads behind a network's earlier stages, and the phase that trains a teacher's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kd_cls.classifier import Classifier
from kd_cls.methods.method import LOGITS, Batch, ClassifierMethod
from kd_cls.methods.networks import dry_features, example_of, layers_of
from kd_core.checkpoint.load import load_weights, state_dict_of
from kd_core.checks import check_feature_map
from kd_core.connectors import MapNorm
from kd_core.layers import LayerPath, read_layers
from kd_core.teacher import Forward
from kd_engine.build import build_trained, read_engine_checkpoint
from kd_engine.config.file import read_config
from kd_engine.work_dir.run_checkpoint import checkpoint_file

_SAVED = "distiller.heads."
_EXAMPLE = "configs/cls/heads_resnet20_2e_digits.py"


class StageHead(nn.Module):
    """Classify a stage's feature map.

        average pooling to the size of the last stage's map; 3x3 convolution, batch norm, ReLU;
        global average pooling: vector (N, D); linear: logits (N, classes)

    Our reconstruction: the methods that have such heads describe them in words only, or have
    others for each network. Pooling first makes the convolution cost what it costs at the last
    stage.

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
        ValueError: If there are fewer than two stages, or one is no map.
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
    """A classifier and heads behind its earlier stages, as one network.

    Its layers are ``classifier.network.stage1``, ..., ``heads.0[0]`` (vector), ``heads.0[1]``
    (logits), ..., ``classifier.logits``.

    Args:
        classifier: The classifier.
        layers: Its stages, from shallow to deep.
        heads: One for each but the last.
    """

    def __init__(
        self, classifier: Classifier, layers: Sequence[LayerPath], heads: nn.ModuleList
    ) -> None:
        super().__init__()
        self.classifier, self.layers, self.heads = classifier, list(layers), heads

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the logits (N, classes) of each stage, the classifier's own last.

        Args:
            images: Normalized (N, 3, H, W).
        """
        selectors = [*self.layers[:-1], LOGITS]
        *features, logits = read_layers(self.classifier, selectors, images, whose="teacher")
        pairs = zip(self.heads, features, strict=True)
        return [*(head(feature)[1] for head, feature in pairs), logits]


def build_headed(
    reference: Mapping[str, Any], layers: Sequence[str] | None = None
) -> tuple[HeadedClassifier, torch.dtype | None]:
    """Build a classifier with the heads that :func:`TeacherHeads` trained, from its checkpoint.

    Args:
        reference: ``dict(config=, checkpoint=, allow_partial=False, precision=None)``. Without a
            checkpoint the heads are random.
        layers: Selectors of its layers; ``None`` takes its stages.

    Returns:
        The network, and the autocast dtype of its forward.

    Raises:
        ValueError: If the checkpoint has no heads, or the reference or layers do not fit.
        kd_core.checkpoint.CheckpointError: If the checkpoint is unsafe, broken or does not fit.
    """
    classifier, precision = build_trained(reference)
    selectors = layers_of(classifier, layers, "teacher")
    assert isinstance(classifier, Classifier)
    with torch.random.fork_rng(devices=[]):
        features = dry_features(classifier, selectors, example_of(classifier), "teacher")
        heads = heads_for(features, classifier.num_classes)
    if reference["checkpoint"] is not None:
        run = reference["config"] if isinstance(reference["config"], str) else None
        source = checkpoint_file(reference["checkpoint"], run)
        partial = reference.get("allow_partial", False)
        weights = _saved_heads(source, reference["config"])
        load_weights(heads, weights, source=source, allow_partial=partial, ignore=())
    return HeadedClassifier(classifier, selectors, heads), precision


def _saved_heads(checkpoint: str, config: Any) -> dict[str, Any]:
    weights = state_dict_of(read_engine_checkpoint(checkpoint))
    found = {k.removeprefix(_SAVED): v for k, v in weights.items() if k.startswith(_SAVED)}
    if found:
        return found
    own = isinstance(config, str) and "pretrained" in read_config(config).model
    raise ValueError(
        "the teacher's heads are trained before the student, in a phase of their own, but "
        f"{checkpoint} has no heads ({_SAVED}*). Train them: kdkit train "
        f"{config if own else _EXAMPLE} --with-teacher"
        + ("" if own else " (or a config like it, for your teacher)")
        + ", and name its config and checkpoint as teacher."
    )


def TeacherHeads(  # noqa: N802  a config names it as a type
    student: Mapping[str, Any],
    pretrained: Mapping[str, Any],
    layers: Sequence[str] | None = None,
) -> nn.Module:
    """Build a trained classifier, freeze it, and attach heads that are to be trained.

    Args:
        student: Config of a :class:`kd_cls.Classifier`, the one that was trained.
        pretrained: ``dict(config=, checkpoint=, allow_partial=False)``: its weights, and the
            config that trains them if they are missing.
        layers: Selectors of its layers; ``None`` takes its stages.

    Returns:
        The classifier, with the heads in its child ``distiller``.

    Raises:
        ValueError: If an option is wrong or layers do not fit.
        kd_core.checkpoint.CheckpointError: If the checkpoint is unsafe, broken or does not fit.
    """
    model, precision = build_trained({**pretrained, "config": student}, "pretrained")
    if precision is not None:
        raise ValueError(
            f"pretrained has no precision of its own, but it is {precision}. Take --amp."
        )
    return HeadTraining(layers).attach(model)


class HeadTraining(ClassifierMethod):
    """Train heads behind the stages of a frozen classifier.

        loss = sum over i < K of CE(z_i)

    The classifier's parameters get no gradient and its network stays in eval mode, so batch
    norm's statistics stay too. Its own loss is logged, and trains nothing.

    First phase of :func:`kd_cls.MSKDSSR`. Status: our reconstruction.

    Args:
        layers: Selectors of the classifier's layers; ``None`` takes its stages.
    """

    moves_student = False

    def __init__(self, layers: Sequence[str] | None = None) -> None:
        super().__init__(layers)
        self.heads = nn.ModuleList()

    def attach(
        self,
        student: nn.Module,
        example: Sequence[Any] | None = None,
        forward: Forward | None = None,
        name: str = "distiller",
    ) -> nn.Module:
        """Freeze a classifier for good, and become its child ``distiller``.

        Raises:
            ValueError: If it is no classifier, is attached already, or its layers do not fit.
        """
        own = list(student.parameters())
        super().attach(student, example, forward, name)
        for parameter in own:
            parameter.requires_grad_(False)
        self._handles.append(student.register_forward_pre_hook(_stay_in_eval))
        return student

    def prepare(self, student: Classifier, features: list[Tensor], images: Tensor) -> None:
        """Make a head for each stage but the last."""
        self.heads = heads_for(features, student.num_classes)

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
    assert isinstance(student, Classifier)
    student.network.eval()  # mmengine sets all to training mode before each epoch
