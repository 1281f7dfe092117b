"""Classes that a network was trained on, as its checkpoint names them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config

from kd_core.checkpoint.load import CheckpointError
from kd_engine.doctor.data_warnings import warning_line
from kd_engine.run.prerequisites import references_of
from kd_engine.weights.source import read_engine_checkpoint

SAME_CLASSES = "same_classes"  # of a reference: the names differ, the classes do not
CLASSES = "classes"  # of a reference: those that its scores are mapped to, by name
_SHOWN = 3


def compare_classes(config: Config, classes: Sequence[str], scored: bool) -> list[str]:
    """Compare the classes that the config's trained networks know with those of the data.

    A checkpoint that names no classes, or cannot be read, is skipped: the training that reads it
    reports it.

    Args:
        config: A run's config.
        classes: Names of the data's classes, in order.
        scored: Whether the networks' scores are compared with the student's, class by class.

    Returns:
        A line for each network that knows other classes and teaches only features; a warning if
        there are equally many.

    Raises:
        ValueError: If scores of equally many but other classes are compared.
    """
    lines = []
    for name, reference in references_of(config.model):
        known = saved_classes(reference["checkpoint"])
        settled = reference.get(SAME_CLASSES) or reference.get(CLASSES)
        if not known or settled or not (what := _difference(known, classes)):
            continue
        as_many = len(known) == len(classes)
        if as_many and scored:
            raise ValueError(
                f"scores are compared class by class, so the {name} must know the data's classes "
                f"in their order, but {what}. Take a {name} of this data, or compare features "
                f"alone. If these are two names of the same classes, set model.{name}."
                f"{SAME_CLASSES}=True."
            )
        text = f"the {name} has learned other classes than the data has: {what}"
        lines.append(warning_line(text) if as_many else f"  {text}")
    return lines


def saved_classes(checkpoint: str | None) -> tuple[str, ...]:
    """Return the classes that a checkpoint names; none if it names none or cannot be read."""
    try:
        meta = {} if checkpoint is None else read_engine_checkpoint(checkpoint).get("meta")
    except (OSError, CheckpointError):
        return ()
    dataset: Any = (meta.get("dataset_meta") if isinstance(meta, Mapping) else None) or {}
    found = dataset.get("classes") if isinstance(dataset, Mapping) else None
    named = isinstance(found, list | tuple) and all(isinstance(one, str) for one in found)
    return tuple(found) if named and found else ()


def classes_by_name(reference: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the student's classes and the teacher's, of a reference that has ``classes``.

    Args:
        reference: Its ``classes`` are the student's names, or ``dict(student=, teacher=)``; without
            the teacher's, those that its checkpoint names.

    Raises:
        ValueError: If the teacher's are unknown.
    """
    named = reference[CLASSES]
    given = named if isinstance(named, Mapping) else {"student": named}
    checkpoint = reference.get("checkpoint")
    known = given.get("teacher") or saved_classes(checkpoint)
    if not known or set(given) - {"student", "teacher"} or not given.get("student"):
        raise ValueError(
            "classes of a teacher must be the student's class names, which are looked up among "
            f"those that its checkpoint ({checkpoint}) names, or "
            f"dict(student=[...], teacher=[...]), but they are {named!r}."
        )
    return list(given["student"]), list(known)


def _difference(known: Sequence[str], classes: Sequence[str]) -> str:
    """Return how two lists of classes differ, "" if only in case and the like."""
    ours, theirs = [[plain_name(one) for one in names] for names in (classes, known)]
    if ours == theirs or not ours:
        return ""
    if len(ours) != len(theirs):
        return f"it knows {len(known)} ({_some(known)}), the data has {len(classes)}"
    place = next(i for i, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1])
    order = " in another order" if sorted(ours) == sorted(theirs) else ""
    return (
        f"it knows {len(known)}{order}: number {place} is {known[place]!r} there and "
        f"{classes[place]!r} in the data"
    )


def plain_name(name: str) -> str:
    """Return a class's name in lower case, with spaces for "_" and "-"."""
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


def _some(names: Sequence[str]) -> str:
    return f"{', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''}"
