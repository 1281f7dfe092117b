"""Predictions of a classifier on a dataset, in a file."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kd_engine.weights.checkpoint import AtomicLocalBackend

_KEYS = ("ids", "labels", "predictions", "class_names")


@dataclass
class Predictions:
    """Predictions of a classifier for some images.

    Attributes:
        ids: Id of each image, int64 (n,), in order.
        labels: Its class, int64 (n,).
        predictions: The class that the model predicts, int64 (n,).
        class_names: Names of the classes, if they are known.
    """

    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    predictions: NDArray[np.int64]
    class_names: tuple[str, ...] = ()

    def of_the_images_of(self, other: Predictions) -> NDArray[np.int64]:
        """Return the predictions (n,), if both are of the same images.

        Raises:
            ValueError: If images, their labels or the classes differ.
        """
        if self.class_names and other.class_names and self.class_names != other.class_names:
            raise ValueError(
                "predictions must be over the same classes in the same order, but the teacher's "
                f"file has {len(self.class_names)} ({', '.join(self.class_names[:3])}, ...) and "
                f"the data {len(other.class_names)} ({', '.join(other.class_names[:3])}, ...)."
            )
        same_ids = np.array_equal(self.ids, other.ids)
        if not same_ids or not np.array_equal(self.labels, other.labels):
            shared = len(np.intersect1d(self.ids, other.ids))
            differ = "labels differ" if same_ids else f"{shared} ids are the same"
            raise ValueError(
                f"predictions must be of the same images, but the teacher's file has "
                f"{len(self.ids)} and the data {len(other.ids)}, and {differ}. Write the file "
                "again, from the same test data."
            )
        return self.predictions


def check_target(path: str) -> None:
    """Require a name that predictions can be written to; only predictions are replaced.

    Raises:
        ValueError: If it does not end in ``.npz``, or holds something else.
    """
    if Path(path).suffix != ".npz":
        raise ValueError(f"predictions go to a file that ends in .npz, but it is {path}.")
    if Path(path).exists():
        read_predictions(path)


def write_predictions(path: str, predictions: Predictions) -> None:
    """Write predictions as ``.npz``, whole or not at all; the folder is made if necessary."""
    content = io.BytesIO()
    np.savez(
        content,
        ids=predictions.ids,
        labels=predictions.labels,
        predictions=predictions.predictions,
        class_names=np.array(predictions.class_names, dtype=np.str_),
    )
    AtomicLocalBackend().put(content.getbuffer(), path)


def read_predictions(path: str) -> Predictions:
    """Read what :func:`write_predictions` wrote; nothing is unpickled.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is another or damaged.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"there are no predictions {path}. Write them: kdkit test CONFIG --teacher "
            f"--cfg-options test_evaluator.predictions_out={path}"
        )
    try:
        with np.load(path, allow_pickle=False) as content:
            found = [content[key] for key in _KEYS]
        if not all(isinstance(one, np.ndarray) for one in found):
            raise ValueError("numpy finds no array there")
        ids, labels, predictions, names = found
    except PermissionError:
        raise
    except Exception as error:  # a damaged file makes numpy and zipfile raise nearly anything
        raise ValueError(
            f"{path} must hold {', '.join(_KEYS)}, as predictions_out writes them, but reading it "
            f"fails: {error!r}."
        ) from error
    if any(one.dtype != np.int64 for one in (ids, labels, predictions)) or names.ndim != 1:
        raise ValueError(
            f"{path} must have int64 ids, labels and predictions and a list of names, but they are "
            f"{ids.dtype}, {labels.dtype}, {predictions.dtype} and {names.shape}."
        )
    if not (ids.ndim == 1 and ids.shape == labels.shape == predictions.shape):
        raise ValueError(
            f"{path} must have a label and a prediction for each id, but their shapes are "
            f"{ids.shape}, {labels.shape} and {predictions.shape}."
        )
    return Predictions(ids, labels, predictions, tuple(str(name) for name in names))
