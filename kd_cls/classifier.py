"""Classifier: a network that turns images into class scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.nn import functional as F

from kd_core.checks import check_weights
from kd_core.layouts import fast_memory_format
from kd_engine.data.rescale import Rescale
from kd_engine.networks import IMAGENET, build_network, sizes_refused, wanted_image_size

_USUAL = 32  # pixels
_NETWORKS = "kd_cls.CifarNetwork, kd_cls.TorchvisionNetwork, kd_cls.TimmNetwork"


class Classifier(BaseModel):  # type: ignore[misc]
    """Logits (N, classes) for a batch of images, and their cross-entropy.

    Its parts are the children ``network`` and ``logits``, whose output are the network's logits
    themselves: a term selects ``network.stage2`` as well as ``logits``.

    Args:
        network: Config of a module that maps images (N, 3, H, W) to logits, such as
            ``dict(type="kd_cls.CifarNetwork", name="resnet20", num_classes=10)``, or the module.
        num_classes: Number of classes; ``None`` takes the network's attribute of that name.
        image_size: Height and width in pixels that images must have, or one number for both;
            ``None`` takes any.
        loss_weight: Factor on the cross-entropy, such as 0.1 next to soft targets of weight 0.9.
        data_preprocessor: mmengine's; the default normalizes RGB with ImageNet's statistics.
        stages: Layers that end the network's stages, such as ``network.layer1``, for methods that
            compare stages; ``None`` takes those that a CIFAR network has.

    Raises:
        ValueError: If the network is unknown, nothing says how many classes it has, or
            ``loss_weight`` is negative or not finite.

    Example:
        >>> import torch
        >>> network = nn.Sequential(nn.Conv2d(3, 5, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> Classifier(network, num_classes=5)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 5])
    """

    def __init__(
        self,
        network: Mapping[str, Any] | nn.Module,
        num_classes: int | None = None,
        image_size: int | tuple[int, int] | None = None,
        loss_weight: float = 1.0,
        data_preprocessor: Mapping[str, Any] | nn.Module | None = None,
        stages: Sequence[str] | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor or IMAGENET)
        check_weights(loss_weight=loss_weight)
        self.network = build_network(network, "network", _NETWORKS)
        self.logits = nn.Identity()
        self.num_classes = _num_classes(self.network, num_classes)
        self.loss_weight, self.stages = loss_weight, stages
        both = (image_size, image_size) if isinstance(image_size, int) else image_size
        self.image_size: tuple[int, int] | None = None if both is None else (both[0], both[1])

    def init_weights(self) -> None:
        """Keep the weights: they were loaded or drawn when the network was made."""

    def classify(self, images: Tensor) -> Tensor:
        """Compute the logits (N, classes) of normalized images (N, 3, H, W).

        Raises:
            ValueError: If the images have another size than the model's, or one that the network
                does not take, or it returns something else than logits.
        """
        self._check_size(images)
        remedy = "Resize them (transforms), or give the network's options another image size."
        with sizes_refused("network", images, remedy):
            found = self.logits(self.network(fast_memory_format(images)))
        if not isinstance(found, Tensor) or found.shape != (len(images), self.num_classes):
            kind = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ValueError(
                f"the network must return logits ({len(images)}, {self.num_classes}), but it "
                f"returns {kind}. Correct num_classes, or take a network that returns logits alone."
            )
        return found

    def forward(
        self,
        inputs: Tensor,
        labels: Tensor | None = None,
        ids: Tensor | None = None,
        data_samples: None = None,
        mode: str = "tensor",
    ) -> Any:
        """Classify a batch.

        Args:
            inputs: Normalized images (N, 3, H, W).
            labels: Class of each image, int64 (N,).
            ids: Id of each image, int64 (N,).
            data_samples: Not used; mmengine's preprocessor adds it.
            mode: ``tensor``, ``loss`` or ``predict``.

        Returns:
            Logits (N, classes); or a dict with ``loss_ce``, the mean cross-entropy in float32 times
            ``loss_weight``; or for each image a dict of its ``logits`` on the CPU, its ``label``
            and ``id``.

        Raises:
            ValueError: If the mode is unknown, an input that it needs is missing, or images do not
                fit.
        """
        logits = self.classify(inputs)
        if mode == "tensor":
            return logits
        if mode == "loss":
            entropy = F.cross_entropy(logits.float(), _given(labels, mode, "labels"))
            return {"loss_ce": self.loss_weight * entropy}
        if mode == "predict":
            labels, ids = _given(labels, mode, "labels"), _given(ids, mode, "ids")
            rows = zip(logits.detach().float().cpu(), labels.tolist(), ids.tolist(), strict=True)
            return [dict(logits=row, label=label, id=number) for row, label, number in rows]
        raise ValueError(f"mode must be tensor, loss or predict, but it is {mode!r}.")

    def _check_size(self, images: Tensor) -> None:
        size: Sequence[int] = images.shape[2:]
        if self.image_size is not None and tuple(size) != self.image_size:
            raise ValueError(
                f"images must have {self.image_size[0]} x {self.image_size[1]} pixels, as "
                f"image_size of the model says, but they have {' x '.join(map(str, size))}. Resize "
                "them (transforms), or correct image_size."
            )


def require_one_size(
    student: Classifier, other: Classifier, whose: str, remedy: str, rescale: Rescale | None = None
) -> None:
    """Require that another classifier takes the images that a student sees.

    Args:
        student: The student.
        other: Another network that sees the same images.
        whose: Whose image_size that is, for the message: "the teacher's".
        remedy: The end of the message.
        rescale: What the other network's images are resized to.

    Raises:
        ValueError: If both have a size and they differ.
    """
    first, second = student.image_size, other.image_size
    if rescale is not None:
        if first and second and (found := rescale.size(*first)) != second:
            raise ValueError(
                f"scale must give images of {whose} image_size, {second[0]} x {second[1]}, but "
                f"{rescale.scale!r} makes {found[0]} x {found[1]} of the student's {first[0]} x "
                f"{first[1]}. Set scale=({second[0]}, {second[1]})."
            )
        return
    if first and second and first != second:
        raise ValueError(
            "all networks see the same images and must take one size, but image_size of the "
            f"student is {first[0]} x {first[1]} and {whose} {second[0]} x {second[1]}. {remedy}"
        )


def image_size_of(*models: nn.Module) -> tuple[int, int]:
    """Return the height and width of images that classifiers take.

    Args:
        models: Classifiers; the first that has a fixed size, or whose network has, decides. If
            none has, it is 32 x 32.
    """
    for model in models:
        found = wanted_image_size(model) or wanted_image_size(getattr(model, "network", model))
        if found is not None:
            return found
    return _USUAL, _USUAL


def _num_classes(network: nn.Module, given: int | None) -> int:
    own = getattr(network, "num_classes", None)
    count = own if given is None else given
    if not isinstance(count, int) or count < 2:
        raise ValueError(
            f"num_classes must be at least 2, but it is {count!r}. Give the number of classes of "
            f"{type(network).__name__} to the network or to the Classifier."
        )
    if isinstance(own, int) and own != count:
        raise ValueError(
            f"num_classes of the Classifier is {given}, but its {type(network).__name__} has "
            f"{own} classes. Leave the Classifier's out, or make them equal."
        )
    return count


def _given(value: Tensor | None, mode: str, name: str) -> Tensor:
    if value is None:
        raise ValueError(f"mode {mode!r} needs {name}; a dataset of kd_cls has them.")
    return value
