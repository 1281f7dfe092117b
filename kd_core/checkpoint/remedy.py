"""What to do about weights that do not fit, read from the keys and shapes of both sides."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

Mismatch = tuple[str, tuple[int, ...], tuple[int, ...]]  # key, shape in the file, in the model


def load_remedy(
    mismatched: Sequence[Mismatch], ours: Mapping[str, Any], theirs: Mapping[str, Any]
) -> str:
    """Return the sentence that says what to do about weights that do not fit.

    Args:
        mismatched: What has another shape.
        ours: The model's state dict.
        theirs: The file's.
    """
    return (
        _count_remedy(mismatched, ours)
        or _place_remedy(ours, theirs)
        or ("Give the checkpoint that belongs to this model, or the model that belongs to it.")
    )


def _place_remedy(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """Say so where one side is a part of the other."""
    if (prefix := _prefix_of_all(ours, theirs)) is not None:
        return (
            f"Every key of the model is in the file behind {prefix!r}. "
            f"prefix={prefix!r} takes those alone."
        )
    if (prefix := _prefix_of_all(theirs, ours)) is not None:
        return (
            f"The file has the weights of the model's part {prefix[:-1]!r} alone. Give it to that "
            "part, or the checkpoint of the whole model to this."
        )
    return ""


def _prefix_of_all(part: Mapping[str, Any], whole: Mapping[str, Any]) -> str | None:
    if not part:
        return None
    names = [name for name in part if not name.endswith("num_batches_tracked")] or list(part)
    for name in whole:
        prefix = name.removesuffix(names[0])
        if prefix.endswith(".") and all(prefix + one in whole for one in names):
            return prefix
    return None


def _count_remedy(mismatched: Sequence[Mismatch], ours: Mapping[str, Any]) -> str:
    changed = {key for key, _, _ in mismatched}
    # A box regressor or mask head settles the count; a classifier may count the background.
    for key, there, here in sorted(mismatched, key=lambda row: "cls" in row[0]):
        if not there or not here or there[1:] != here[1:]:
            continue
        theirs_count = _classes(key, there[0], ours, changed)
        ours_count = _classes(key, here[0], ours, changed)
        if theirs_count and ours_count:
            sure = " if one row is the background" if _has_background(key) else ""
            return (
                f"The checkpoint has {theirs_count} classes, the model {ours_count}{sure} ({key}). "
                "Build the model with as many classes as the checkpoint."
            )
    return ""


def _layer(key: str) -> tuple[str, str]:
    path = key.rpartition(".")[0]
    return path, re.sub(r"\.\d+$", "", path).rpartition(".")[2]


def _has_background(key: str) -> bool:
    return _layer(key)[1] in ("fc_cls", "cls_score")


def _classes(key: str, rows: int, ours: Mapping[str, Any], changed: set[str]) -> int | None:
    """Classes behind the rows of a head's weight or bias, where the head's name settles it."""
    path, layer = _layer(key)
    if layer == "fc_reg":  # Four box sides for each class; four rows serve any number.
        return rows // 4 if rows % 4 == 0 and rows > 4 else None
    if _has_background(key):
        return rows - 1
    if layer.endswith(("retina_cls", "conv_cls", "atss_cls")):  # A block of rows for each anchor.
        before, _, after = path.rpartition("_cls")
        sibling = f"{before}_reg{after}.bias"
        if sibling not in ours or sibling in changed:
            return None
        anchors = len(ours[sibling]) // 4
        return rows // anchors if anchors and rows % anchors == 0 else None
    return rows if layer in ("fc", "head", "classifier", "conv_logits", "gfl_cls") else None
