"""Image folders with a sub-folder for each class, as ImageNet has them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kd_cls.datasets.samples import ClassificationDataset, ImageFiles, Samples
from kd_engine.data.image_folder import find_images

_SHOWN = 5


class ImageFolder(ClassificationDataset):
    """Images below ``<data_root>/<split>/<class>/``.

    The classes are the folders of ``train``, by name, unless they are given; every split must
    have the same ones, each with an image. An image in a folder within a class folder belongs to
    that class. Images are known by their suffixes; other files are left out with a warning,
    hidden ones without. They are decoded each time; ImageNet's 1.3 million paths take 50 MB. An
    id is an image's place among the paths of its split plus a number made from the split's name.

    Args:
        data_root: The folder.
        split: Name of a folder in it, such as ``train``, ``val`` or ``test``.
        transforms: Configs of transforms.
        classes: Names of the class folders, in the order of their labels.

    Raises:
        FileNotFoundError: If a folder is missing.
        ValueError: If there are fewer than two classes, a class folder is empty, missing or too
            many, or an image lies outside of them.
    """

    def __init__(
        self,
        data_root: str,
        split: str = "train",
        transforms: Sequence[Mapping[str, Any]] = (),
        classes: Sequence[str] | None = None,
    ) -> None:
        root = Path(data_root)
        folder = _require_folder(root, split)
        names = tuple(classes or _class_folders(_require_folder(root, "train")))
        if len(set(names)) != len(names) or len(names) < 2:
            raise ValueError(
                f"there must be two or more different classes, but for {root} they are "
                f"{', '.join(names) or 'none'}."
            )
        _require_same(folder, names)
        paths = find_images(folder)
        place = {name: label for label, name in enumerate(names)}
        if lost := [path for path in paths if path.split("/")[0] not in place]:
            raise ValueError(
                f"every image must lie in the folder of its class, but {folder / lost[0]} does not."
            )
        labels = [place[path.split("/", 1)[0]] for path in paths]
        samples = Samples(
            ImageFiles(folder, paths),
            np.array(labels, dtype=np.int64),
            (zlib.crc32(split.encode()) << 24) + np.arange(len(paths)),
            names,
        )
        super().__init__(folder, samples, transforms)


def _require_folder(root: Path, split: str) -> Path:
    folder = root / split
    if not split or not folder.is_dir():
        found = sorted(one.name for one in root.iterdir()) if root.is_dir() else []
        raise FileNotFoundError(
            f"the folder {folder} is missing. {root} has {', '.join(found[:_SHOWN]) or 'nothing'}; "
            "set split to one of its folders, and give classes if there is no train."
        )
    return folder


def _class_folders(folder: Path) -> list[str]:
    return sorted(
        one.name for one in folder.iterdir() if one.is_dir() and not one.name.startswith(".")
    )


def _require_same(folder: Path, names: Sequence[str]) -> None:
    found = _class_folders(folder)
    missing, unknown = sorted(set(names) - set(found)), sorted(set(found) - set(names))
    if missing or unknown:
        raise ValueError(
            f"{folder} must have a folder for each of the {len(names)} classes and no other, but "
            f"it lacks {', '.join(missing[:_SHOWN]) or 'none'} and has also "
            f"{', '.join(unknown[:_SHOWN]) or 'none'}."
        )
