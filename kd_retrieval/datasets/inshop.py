"""In-Shop Clothes Retrieval (DeepFashion) in its native layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kd_retrieval.datasets.records import (
    BOTH,
    GALLERY,
    QUERY,
    RetrievalDataset,
    Table,
    check_split,
    require_counts,
)
from kd_retrieval.datasets.text import read_rows

LIST = "list_eval_partition.txt"
COUNTS = {"trainval": (25882, 3997), "test": (26830, 3985)}  # images, items
ROLE_COUNTS = {QUERY: 14218, GALLERY: 12612}
_ROLES = {"train": BOTH, "query": QUERY, "gallery": GALLERY}


class InShop(RetrievalDataset):
    """Clothes: 3,997 items to train on; 14,218 queries are searched in a gallery of 12,612.

    Liu, Luo, Qiu, Wang and Tang, "DeepFashion", CVPR 2016. ``val`` is the last fifth of the
    training items, each image query and gallery.

    Args:
        data_root: Folder with ``Eval/list_eval_partition.txt`` (or the list itself) and ``img/``.
        split: ``train``, ``val``, ``trainval`` or ``test``.
        transforms: Configs of transforms.
        check_counts: Require the published numbers.

    Raises:
        FileNotFoundError: If the list is missing.
        ValueError: If a line is broken, or the counts are others.
    """

    def __init__(
        self,
        data_root: str,
        split: str = "trainval",
        transforms: Sequence[Mapping[str, Any]] = (),
        check_counts: bool = True,
    ) -> None:
        check_split(split)
        root = Path(data_root)
        path = next((p for p in (root / "Eval" / LIST, root / LIST) if p.is_file()), root / LIST)
        rows = read_rows(path, 3, skip=2)  # path, item, status
        if unknown := {row[2] for row in rows} - set(_ROLES):
            raise ValueError(
                f"{path} must say train, query or gallery, but it also says {sorted(unknown)}."
            )
        items, labels = np.unique([row[1] for row in rows], return_inverse=True)
        roles = np.array([_ROLES[row[2]] for row in rows])
        numbers = np.arange(1, len(rows) + 1)
        table = Table(
            [row[0] for row in rows], labels.reshape(-1), numbers, tuple(map(str, items)), roles
        )
        chosen = table.select((roles != BOTH) if split == "test" else (roles == BOTH))
        if check_counts:
            require_counts("In-Shop", chosen, split, COUNTS)
            if split == "test":
                _require_roles(chosen)
        super().__init__(data_root, chosen.part(split), transforms)


def _require_roles(table: Table) -> None:
    found = {role: int((table.roles == role).sum()) for role in ROLE_COUNTS}
    if found != ROLE_COUNTS:
        raise ValueError(
            "In-Shop must have 14,218 queries and 12,612 gallery images, but it has "
            f"{found[QUERY]:,} and {found[GALLERY]:,}. It is another version, or incomplete."
        )
