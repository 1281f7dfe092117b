"""Accuracy, calibration and agreement with a teacher, as a metric of mmengine's Runner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine import dist
from mmengine.evaluator import BaseMetric
from numpy.typing import NDArray

from kd_cls.predictions import Predictions, check_target, read_predictions, write_predictions
from kd_engine.outputs import check_outputs

BINS = 15
_FIVE = 5
_SHOWN = 5  # ids in a message


@dataclass
class _Found:
    """Values kept of each image: id, label, prediction and confidence."""

    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    predictions: NDArray[np.int64]  # the class with the highest logit
    ranks: NDArray[np.int64]  # how many classes come before the label
    confidences: NDArray[np.float64]  # of the prediction; finite if the logits are
    classes: int


class ClassificationMetric(BaseMetric):  # type: ignore[misc]
    """Top-1 and top-5 accuracy, expected calibration error, agreement with a teacher.

        top-k = share of images whose label is among the k classes with the highest logits
        ECE   = sum over bins of n_b / n * |accuracy of the bin - mean confidence of the bin|
        agreement = share of images whose prediction is the teacher's

    All in percent. The confidence is the highest probability; the 15 bins ((b-1)/15, b/15] have
    equal width. Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", ICML
    2017, https://arxiv.org/abs/1706.04599. Status: the published formula. Of equal logits the
    class with the lowest number comes first, so a collapsed network scores as much as one that
    always predicts the same class. Top-5 is left out where there are five classes or fewer.

    The copies with which a distributed sampler fills its last batch are removed by id.

    Agreement needs the teacher's predictions on the same images; a file brings them:

        kdkit test CONFIG --teacher --cfg-options test_evaluator.predictions_out=teacher.npz
        kdkit test CONFIG CHECKPOINT --cfg-options test_evaluator.teacher_predictions=teacher.npz

    Args:
        predictions_out: Write the predictions there, ``.npz``.
        teacher_predictions: What another model's ``predictions_out`` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, or ``predictions_out`` does not end in ``.npz``.
    """

    def __init__(
        self, predictions_out: str | None = None, teacher_predictions: str | None = None
    ) -> None:
        super().__init__(prefix="cls")
        if predictions_out is not None:
            check_target(predictions_out)
            check_outputs([predictions_out], [teacher_predictions], overwrite=True)
        self.predictions_out = predictions_out
        self.teacher = None if teacher_predictions is None else read_predictions(
            teacher_predictions
        )  # fmt: skip

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Keep what is measured of a batch: five numbers for each image."""
        logits = torch.stack([sample["logits"].detach().double().cpu() for sample in data_samples])
        labels = np.array([int(sample["label"]) for sample in data_samples])
        ids = np.array([int(sample["id"]) for sample in data_samples])
        self.results.append(_look(logits.numpy(), labels, ids))

    def evaluate(self, size: int) -> dict[str, float]:
        """Join the ranks, leave the sampler's copies out, and measure.

        Args:
            size: Number of images of the dataset.

        Returns:
            ``cls/top1``, ``cls/top5`` (with more than five classes), ``cls/ECE`` and, if the
            teacher's predictions are given, ``cls/agreement``, in percent.

        Raises:
            ValueError: If images are missing, logits are not finite (names the images), or the
                teacher's predictions are of other images.
        """
        parts = [part for of_rank in dist.all_gather_object(list(self.results)) for part in of_rank]
        self.results.clear()
        found = _without_copies(parts, size)
        _require_finite(found)
        values = {"top1": _share(found.ranks < 1)}
        if found.classes > _FIVE:
            values["top5"] = _share(found.ranks < _FIVE)
        correct = found.predictions == found.labels
        values["ECE"] = 100 * calibration_error(found.confidences, correct)
        names = tuple((self.dataset_meta or {}).get("classes", ()))
        own = Predictions(found.ids, found.labels, found.predictions, names)
        if self.teacher is not None:
            values["agreement"] = _share(own.predictions == self.teacher.of_the_images_of(own))
        if self.predictions_out is not None and dist.is_main_process():
            write_predictions(self.predictions_out, own)
        return {f"{self.prefix}/{name}": value for name, value in values.items()}

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Not used: ``evaluate`` joins the ranks itself."""
        raise NotImplementedError


def calibration_error(confidences: NDArray[Any], correct: NDArray[Any], bins: int = BINS) -> float:
    """Compute the expected calibration error.

        sum over bins of n_b / n * |accuracy of the bin - mean confidence of the bin|

    Args:
        confidences: Probability of the predicted class, from 0 to 1 (n,).
        correct: Whether the prediction is right, bool (n,).
        bins: Number of bins ((b-1)/bins, b/bins] of equal width; 0 belongs to the first.

    Returns:
        A number from 0 to 1.

    Example:
        >>> round(calibration_error(np.array([0.9, 0.9, 0.6]), np.array([True, False, True])), 4)
        0.4
    """
    bin_of = np.clip(np.ceil(confidences * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(bin_of, weights=correct - confidences, minlength=bins)  # n_b * difference
    return float(np.abs(gaps).sum() / len(confidences))


def _look(logits: NDArray[Any], labels: NDArray[Any], ids: NDArray[Any]) -> _Found:
    """Reduce logits (N, classes) to the values that are measured."""
    if len(labels) and not (0 <= labels.min() and labels.max() < logits.shape[1]):
        raise ValueError(
            f"labels must be 0 to {logits.shape[1] - 1}, as the model has {logits.shape[1]} "
            f"classes, but they are {labels.min()} to {labels.max()}."
        )
    of_label = logits[np.arange(len(labels)), labels][:, None]  # (N, 1)
    earlier = np.arange(logits.shape[1]) < labels[:, None]
    ranks = ((logits > of_label) | ((logits == of_label) & earlier)).sum(axis=1)
    highest = logits.max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        confidences = 1 / np.exp(logits - highest).sum(axis=1)
    return _Found(ids, labels, logits.argmax(axis=1), ranks, confidences, logits.shape[1])


def _without_copies(parts: Sequence[_Found], size: int) -> _Found:
    """Join the images of all batches and ranks, each id once, in the order of their ids."""
    ids = np.concatenate([part.ids for part in parts]) if parts else np.zeros(0, np.int64)
    numbers, first = np.unique(ids, return_index=True)
    if len(numbers) != size:
        raise ValueError(
            f"the dataset has {size} images, but {len(numbers)} different ids were classified. "
            "Ids must be unique in a dataset, and no batch may be dropped (drop_last=False)."
        )
    columns = ("labels", "predictions", "ranks", "confidences")
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in columns}
    return _Found(
        ids=numbers,
        classes=parts[0].classes,
        **{name: values[first] for name, values in joined.items()},
    )


def _require_finite(found: _Found) -> None:
    bad = found.ids[~np.isfinite(found.confidences)]
    if len(bad):
        shown = ", ".join(str(one) for one in bad[:_SHOWN])
        raise ValueError(
            f"logits must be finite, but those of {len(bad)} (id {shown}"
            f"{', ...' if len(bad) > _SHOWN else ''}) of {len(found.ids)} images are not. The "
            "training diverged (lower the learning rate, clip the gradient), or the weights are "
            "damaged."
        )


def _share(hits: NDArray[np.bool_]) -> float:
    return 100 * float(hits.mean())
