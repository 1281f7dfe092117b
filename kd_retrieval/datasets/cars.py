"""Cars196 in its native layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kd_retrieval.datasets.records import RetrievalDataset, Table, check_split, require_counts

COUNTS = {"trainval": (8054, 98), "test": (8131, 98)}  # images, classes


class Cars196(RetrievalDataset):
    """Cars: classes 1 to 98 to train on (8,054 images), 99 to 196 to search (8,131).

    Krause, Stark, Deng and Fei-Fei, "3D Object Representations for Fine-Grained Categorization",
    2013. Its own train/test split is of images and is not used. ``val`` is the last 19 of the
    training classes.

    Args:
        data_root: Folder with ``cars_annos.mat`` and ``car_ims/``.
        split: ``train``, ``val``, ``trainval`` or ``test``.
        transforms: Configs of transforms.
        check_counts: Require the published numbers.

    Raises:
        FileNotFoundError: If ``cars_annos.mat`` is missing.
        ValueError: If it cannot be read, or the counts are others.
    """

    def __init__(
        self,
        data_root: str,
        split: str = "trainval",
        transforms: Sequence[Mapping[str, Any]] = (),
        check_counts: bool = True,
    ) -> None:
        check_split(split)
        table = _read(Path(data_root) / "cars_annos.mat")
        first_half = table.labels < len(table.class_names) // 2
        chosen = table.select(~first_half if split == "test" else first_half)
        if check_counts:
            require_counts("Cars196", chosen, split, COUNTS)
        super().__init__(data_root, chosen.part(split), transforms)


def _read(path: Path) -> Table:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing. docs/retrieval_data.md shows the layout and where to get the data."
        )
    try:
        content = loadmat(path, squeeze_me=True)
        annotations, names = content["annotations"], content["class_names"]
        paths = [str(one) for one in annotations["relative_im_path"]]
        labels = annotations["class"].astype(np.int64) - 1
    except (MatReadError, ValueError, KeyError, TypeError, IndexError) as error:
        raise ValueError(
            f"{path} must hold the annotations of Cars196 (relative_im_path, class, class_names), "
            f"but reading it fails: {error!r}. Fetch it again."
        ) from error
    classes = tuple(str(name) for name in np.atleast_1d(names))
    return Table(paths, labels, np.arange(1, len(paths) + 1), classes)
