"""Table of the boxes of an annotation file: arrays, so that all boxes are checked at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class BoxTable:
    """All boxes of an annotation file.

    Attributes:
        boxes: x, y, width and height in pixels as mmdet reads them, float (B, 4).
        given: The four numbers as the file has them, float (B, 4).
        extents: Width and height of each box's image, NaN where unknown, float (B, 2).
        images: Row of each box's image, int (B,).
        labels: Index of each box's class in the classes of the config, -1 for none, int (B,).
        dropped: Reason to the boxes that mmdet drops in training for that reason, bool (B,). The
            reasons are ``size`` and ``area``, and ``marks`` for boxes that a person marked.
        places: Name of each box in the file, for messages.
        corners: Whether the file gives corners (VOC) and not x, y, width, height (COCO).
    """

    boxes: NDArray[np.float64]
    given: NDArray[np.float64]
    extents: NDArray[np.float64]
    images: NDArray[np.int64]
    labels: NDArray[np.int64]
    dropped: Mapping[str, NDArray[np.bool_]]
    places: Sequence[str]
    corners: bool = False

    @property
    def useful(self) -> int:
        """Number of boxes of a class of the config that mmdet trains on."""
        lost = np.logical_or.reduce(list(self.dropped.values()))
        return int(((self.labels >= 0) & ~lost).sum())

    @property
    def flat(self) -> int:
        """Number of boxes without width or height that mmdet's reader keeps; only VOC's does."""
        kept = (self.labels >= 0) & self.dropped["size"] & ~self.dropped["marks"]
        return int(kept.sum()) if self.corners else 0


def coco_table(
    annotations: Sequence[Mapping[str, Any]],
    boxes: NDArray[np.float64],
    images: NDArray[np.int64],
    extents: NDArray[np.float64],
    labels: NDArray[np.int64],
) -> BoxTable:
    """Arrange COCO annotations.

    Args:
        annotations: B entries with ``id``, ``image_id`` and ``area``.
        boxes: Their x, y, width, height (B, 4).
        images: Row of each one's image (B,).
        extents: Width and height of each one's image (B, 2).
        labels: Index of each one's class in those of the config, or -1 (B,).
    """
    area = np.array([annotation["area"] for annotation in annotations], dtype=np.float64)
    marks = [bool(one.get("iscrowd")) or bool(one.get("ignore")) for one in annotations]
    dropped = {
        "size": boxes[:, 2:].min(axis=1) < 1,
        "area": area <= 0,
        "marks": np.array(marks, dtype=np.bool_),
    }
    places = [f"annotation {one['id']} (image {one['image_id']})" for one in annotations]
    return BoxTable(boxes, boxes, extents, images, labels, dropped, places)


class VocBoxes:
    """Collector of the boxes of VOC files, one by one."""

    def __init__(self) -> None:
        self._numbers: list[tuple[float, ...]] = []
        self._places: list[str] = []

    def add(
        self,
        place: str,
        image: int,
        label: int,
        given: Sequence[float],
        extent: tuple[int | None, int | None],
        difficult: bool,
    ) -> None:
        """Add a box.

        Args:
            place: Its name in the file.
            image: Row of its image.
            label: Index of its class.
            given: xmin, ymin, xmax, ymax as the file has them.
            extent: Width and height of its image, None where unknown.
            difficult: Whether it is marked as difficult.
        """
        sides = [np.nan if side is None else float(side) for side in extent]
        self._numbers.append((float(image), float(label), float(difficult), *given, *sides))
        self._places.append(place)

    def table(self) -> BoxTable:
        """Arrange them as mmdet reads them: corners without decimals, less one."""
        rows = np.array(self._numbers, dtype=np.float64).reshape(-1, 9)
        corners = np.trunc(rows[:, 3:7]) - 1
        boxes = np.column_stack([corners[:, :2], corners[:, 2:] - corners[:, :2]])
        none = np.zeros(len(rows), dtype=np.bool_)
        size = boxes[:, 2:].min(axis=1) <= 0
        return BoxTable(
            boxes=boxes,
            given=rows[:, 3:7],
            extents=rows[:, 7:],
            images=rows[:, 0].astype(np.int64),
            labels=rows[:, 1].astype(np.int64),
            dropped={"size": size, "area": none, "marks": rows[:, 2] > 0},
            places=self._places,
            corners=True,
        )
