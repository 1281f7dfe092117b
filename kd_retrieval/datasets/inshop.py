"""In-Shop Clothes Retrieval (DeepFashion) in its native layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd_engine.data.image_lists import ListRows, read_rows
from kd_engine.data.splits import check_split
from kd_retrieval.datasets.base import (
    BOTH,
    GALLERY,
    QUERY,
    RetrievalDataset,
    Table,
    number_classes,
    require_counts,
    require_unique,
)

LIST = "list_eval_partition.txt"
COUNTS = {"trainval": (25882, 3997), "test": (26830, 3985)}  # images, items
ROLE_COUNTS = {QUERY: 14218, GALLERY: 12612}
_ROLES = {"train": BOTH, "query": QUERY, "gallery": GALLERY}


class InShop(RetrievalDataset):
    """Clothes: 3,997 items to train on; 14,218 queries are searched in a gallery of 12,612.

    Liu, Luo, Qiu, Wang and Tang, "DeepFashion", CVPR 2016. ``val`` is the last fifth of the
    training items, each image query and gallery.

    Args:
        data_root: Folder with ``Eval/list_eval_partition.txt`` (or the list itself) and the images
            in ``Img/img/`` or ``img/``.
        split: ``train``, ``val``, ``trainval`` or ``test``.
        transforms: Configs of transforms.
        check_counts: Require the published numbers.

    Raises:
        FileNotFoundError: If the list is missing.
        ValueError: If a line is broken, an image comes twice, an item is both trained on and
            searched, or the counts are others.
    """

    def __init__(
        self,
        data_root: str,
        split: str = "trainval",
        transforms: Sequence[Mapping[str, Any]] = (),
        check_counts: bool = True,
    ) -> None:
        check_split(split)
        table, searched = _read(Path(data_root))
        chosen = table.select(searched if split == "test" else ~searched)
        if check_counts:
            require_counts("In-Shop", chosen, split, COUNTS)
            if split == "test":
                _require_roles(chosen)
        super().__init__(data_root, chosen.part(split), transforms)


def _read(root: Path) -> tuple[Table, NDArray[np.bool_]]:
    """Read all images, and which of them are to be searched."""
    path = next((p for p in (root / "Eval" / LIST, root / LIST) if p.is_file()), root / LIST)
    rows = read_rows(path, "path item status", ("", "image_name "), path_first=True)
    _, names, status = rows.columns
    unknown = [row for row, text in enumerate(status) if text not in _ROLES]
    if unknown:
        raise ValueError(
            f"{rows.where(unknown[0])} must say train, query or gallery, but says "
            f"{status[unknown[0]]!r}."
        )
    above = "Img/" if (root / "Img" / "img").is_dir() else ""
    paths = rows.paths(0, root / above)
    items, labels = number_classes(names)
    roles = np.array([_ROLES[text] for text in status], dtype=np.int64)
    table = Table(
        [above + path for path in paths],
        labels,
        np.arange(1, len(paths) + 1),
        items,
        roles,
    )
    require_unique(table, path)
    searched = np.asarray(roles != BOTH)
    _require_disjoint(rows, table, searched)
    return table, searched


def _require_disjoint(rows: ListRows, table: Table, searched: NDArray[np.bool_]) -> None:
    trained_on = np.zeros(len(table.class_names), dtype=bool)
    trained_on[table.labels[~searched]] = True
    both = np.flatnonzero(searched & trained_on[table.labels])
    if len(both):
        raise ValueError(
            f"items to be searched must not be trained on, but {rows.where(int(both[0]))} has "
            f"{rows.columns[1][both[0]]}, which other lines train on."
        )


def _require_roles(table: Table) -> None:
    roles = np.asarray(table.roles)
    found = {role: int(np.count_nonzero(roles == role)) for role in ROLE_COUNTS}
    if found != ROLE_COUNTS:
        raise ValueError(
            f"In-Shop must have {ROLE_COUNTS[QUERY]:,} queries and {ROLE_COUNTS[GALLERY]:,} "
            f"gallery images, but it has {found[QUERY]:,} and {found[GALLERY]:,}. It is another "
            "version, or incomplete: fetch it again."
        )
