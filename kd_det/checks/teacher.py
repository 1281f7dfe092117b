"""Check that a teacher whose class scores are compared knows the classes of the data."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config

from kd_det.checks.data import dataset_classes
from kd_engine.config.text import texts_in
from kd_engine.weights.teacher_classes import compare_classes

_SCORES = re.compile(r"cls|cls_score|.*_cls|.*score|.*logits?|.*_head")  # a layer, or a whole head
_NO_CLASSES = ("backbone", "neck", "rpn_head")


def check_teacher(config: Config) -> list[str]:
    """Compare the classes in the teacher's checkpoint with those of the training data.

    Returns:
        A line about a teacher that knows other classes, which is fine for terms on features.

    Raises:
        ValueError: If a term compares class scores of equally many but other classes.
    """
    loader = config.get("train_dataloader")
    found = dataset_classes(loader["dataset"]) if loader else []
    if not found:
        return []
    scored = any(map(_has_scores, _layers(config.model.get("terms") or {})))
    return compare_classes(config, found[0], scored)


def _layers(terms: Mapping[str, Any]) -> Iterator[str]:
    for term in terms.values():
        for key in ("layers", "teacher_layers"):
            yield from texts_in(term.get(key))


def _has_scores(layer: str) -> bool:
    """Return whether a layer selector selects class scores, not features or boxes."""
    names = [name for name in layer.split("[")[0].split(".") if not name.isdigit()]
    return names[0] not in _NO_CLASSES and _SCORES.fullmatch(names[-1]) is not None
