"""Classes behind the rows of mmdet's heads, for the message about weights that do not fit."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from kd_core.checkpoint.remedy import CLASS_COUNTS, ClassCount, layer_of


def classes_of_head(
    key: str, rows: int, ours: Mapping[str, Any], changed: Collection[str]
) -> ClassCount | None:
    """Return the classes behind the rows of a head's weight or bias, where its name settles it.

    Args:
        key: Its key.
        rows: Its rows, in the file or in the model.
        ours: The model's state dict.
        changed: Keys whose shapes differ.
    """
    path, layer = layer_of(key)
    if layer == "fc_reg":  # Four box sides for each class; four rows serve any number.
        return ClassCount(rows // 4) if rows % 4 == 0 and rows > 4 else None
    if layer in ("fc_cls", "cls_score"):
        return ClassCount(rows - 1, background=True)
    if layer in ("conv_logits", "gfl_cls"):
        return ClassCount(rows)
    if layer.endswith(("retina_cls", "conv_cls", "atss_cls")):  # A block of rows for each anchor.
        before, _, after = path.rpartition("_cls")
        sibling = f"{before}_reg{after}.bias"
        if sibling not in ours or sibling in changed:
            return None
        anchors = len(ours[sibling]) // 4
        return ClassCount(rows // anchors) if anchors and rows % anchors == 0 else None
    return None


def provide_class_counts() -> None:
    """Let the message name the classes of mmdet's heads."""
    if classes_of_head not in CLASS_COUNTS:
        CLASS_COUNTS.append(classes_of_head)
