"""Base class of retrieval datasets: images with a class, an id and a role."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from kd_engine.data.image_lists import first_repeat
from kd_engine.data.images import read_image
from kd_engine.data.splits import check_split
from kd_engine.data.transforms import build_transforms

BOTH, QUERY, GALLERY = 0, 1, 2  # roles: query and gallery, query only, gallery only
_VALIDATION = 5  # one in five training classes is for validation: the last ones


class Record(NamedTuple):
    """One image: its path below the data root, class, id and role."""

    path: str
    label: int
    id: int
    role: int


@dataclass
class Table:
    """All images of a split.

    A million images with paths of 50 characters take 0.14 GB, most of it for the paths, and 0.4 GB
    while their list is read (which takes 2 to 6 seconds).

    Attributes:
        paths: Paths below the data root, with forward slashes.
        labels: Index of each image's class in ``class_names``, int64 (n,).
        ids: Id of each image, int64 (n,), unique over all splits of a dataset.
        class_names: Names of the classes, the same in every split that has them.
        roles: BOTH, QUERY or GALLERY, int64 (n,); None is BOTH for all.
    """

    paths: list[str]
    labels: NDArray[Any]
    ids: NDArray[Any]
    class_names: tuple[str, ...]
    roles: NDArray[Any] | None = None

    def select(self, rows: NDArray[Any]) -> Table:
        """Take rows (a mask or indices), with the classes that they have and labels from 0."""
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        kept, labels = np.unique(self.labels[rows], return_inverse=True)
        return Table(
            paths=[self.paths[i] for i in rows],
            labels=labels.astype(np.int64).reshape(-1),
            ids=self.ids[rows],
            class_names=tuple(self.class_names[label] for label in kept),
            roles=None if self.roles is None else self.roles[rows],
        )

    def half(self, split: str) -> Table:
        """Take the first half of the classes, to train on, or of ``test`` the second."""
        first = self.labels < len(self.class_names) // 2
        return self.select(~first if split == "test" else first)

    def part(self, split: str) -> Table:
        """Take ``train`` or ``val`` from all training classes, or all of them (``trainval``)."""
        check_split(split)
        if split not in ("train", "val"):
            return self
        held_out = max(2, len(self.class_names) // _VALIDATION)
        if len(self.class_names) - held_out < 2:
            raise ValueError(
                "train and val need two classes each, but there are only "
                f"{len(self.class_names)} training classes. Use split='trainval'."
            )
        last = self.labels >= len(self.class_names) - held_out
        return self.select(last if split == "val" else ~last)


class RetrievalDataset(Dataset[dict[str, Any]]):
    """Images with their class, id and role.

    An item is ``dict(inputs=uint8 (3, H, W), labels=int, ids=int, roles=int)``.

    Args:
        data_root: Folder that the paths are relative to.
        table: The images.
        transforms: Configs for :func:`kd_engine.data.transforms.build_transforms`.

    Raises:
        ValueError: If the table has no image, or the same path or id twice.
    """

    def __init__(
        self, data_root: str | Path, table: Table, transforms: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        self.root = Path(data_root)
        if not table.paths:
            raise ValueError(
                f"a dataset must have an image, but this split of {self.root} has none."
            )
        require_unique(table, self.root)
        self.paths, self.class_names = table.paths, table.class_names
        self.labels: Any = table.labels
        self.ids = table.ids
        self.roles = np.full(len(table.ids), BOTH) if table.roles is None else table.roles
        self.transforms = [dict(one) for one in transforms]
        self._transform = build_transforms(self.transforms)
        self.metainfo = dict(classes=self.class_names)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = self._transform(self.read(index))
        return dict(
            inputs=image,
            labels=self.label_of(index),
            ids=int(self.ids[index]),
            roles=int(self.roles[index]),
        )

    def read(self, index: int) -> Any:
        """Decode an image as RGB of PIL, before the transforms.

        Raises:
            ValueError: If it cannot be decoded; names the file.
        """
        return read_image(self.root / self.paths[index])

    def label_of(self, index: int) -> Any:
        """Return the class of an image, an int."""
        return int(self.labels[index])

    @cached_property
    def records(self) -> list[Record]:
        """Every image as a :class:`Record`."""
        rows = zip(self.paths, self.labels, self.ids, self.roles, strict=True)
        return [Record(path, label, int(id_), int(role)) for path, label, id_, role in rows]

    def fingerprint(self) -> str:
        """Return the SHA-256 of path, bytes, class, id and role of every image, in order."""
        total = hashlib.sha256()
        for row, path in enumerate(self.paths):
            name = self.class_of(row)
            line = [path, self.size_of(row), name, int(self.ids[row]), int(self.roles[row])]
            total.update(json.dumps(line).encode())
        return total.hexdigest()

    def size_of(self, index: int) -> int:
        """Return the size of an image's file in bytes."""
        return (self.root / self.paths[index]).stat().st_size

    def class_of(self, index: int) -> Any:
        """Return the name of an image's class."""
        return self.class_names[int(self.labels[index])]

    def transform_key(self) -> str:
        """Return the transforms as text, the same for the same transforms."""
        return json.dumps(self.transforms, sort_keys=True, default=list)


def number_classes(names: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Number the classes by name.

    Args:
        names: The class of each image.

    Returns:
        The different names in order, and the index of each image's name in them.
    """
    classes = tuple(sorted(set(names)))
    place = {name: number for number, name in enumerate(classes)}
    return classes, np.fromiter((place[name] for name in names), dtype=np.int64, count=len(names))


def require_counts(
    name: str,
    table: Table,
    split: str,
    counts: Mapping[str, tuple[int, int]],
    hint: str = "It is another version, or incomplete.",
) -> None:
    """Require the published numbers of images and classes.

    Args:
        name: Name of the dataset.
        table: All training images, or all test images.
        split: Which split was asked for.
        counts: Images and classes of ``trainval`` and ``test``.
        hint: Other possible causes, for the message.

    Raises:
        ValueError: If the numbers differ.
    """
    key = "test" if split == "test" else "trainval"
    found = (len(table.paths), len(table.class_names))
    if found != counts[key]:
        raise ValueError(
            f"{name} must have {counts[key][0]:,} images of {counts[key][1]:,} classes to "
            f"{'search' if key == 'test' else 'train on'}, but there are {found[0]:,} of "
            f"{found[1]:,}. {hint} Fetch it again, or set check_counts=False for a part of it."
        )


def require_unique(table: Table, source: str | Path) -> None:
    """Require that no image and no id occurs twice.

    Args:
        table: The images.
        source: What lists them, for the message.

    Raises:
        ValueError: If one does; names it.
    """
    if repeat := first_repeat(table.paths):
        raise ValueError(
            f"every image must be listed once, but {source} lists {table.paths[repeat[0]]} twice."
        )
    if len(np.unique(table.ids)) < len(table.ids):
        first, second = first_repeat(table.ids.tolist()) or (0, 0)
        raise ValueError(
            f"ids must be unique, but {source} gives id {int(table.ids[first])} to "
            f"{table.paths[first]} and to {table.paths[second]}."
        )
