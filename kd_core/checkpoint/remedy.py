"""Remedies for weights that do not fit, found in the keys and shapes of both sides."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Mismatch = tuple[str, tuple[int, ...], tuple[int, ...]]  # key, shape in the file, in the model


@dataclass(frozen=True)
class ClassCount:
    """Classes behind the rows of a layer.

    Attributes:
        classes: Their number.
        background: Whether this takes one more row for the background, which is not sure.
    """

    classes: int
    background: bool = False


# (key, its rows, the model's state dict, the keys whose shapes differ) -> classes, where known
Counting = Callable[[str, int, Mapping[str, Any], Collection[str]], ClassCount | None]


def load_remedy(
    mismatched: Sequence[Mismatch], ours: Mapping[str, Any], theirs: Mapping[str, Any]
) -> str:
    """Return a sentence with the remedy for weights that do not fit.

    Args:
        mismatched: Keys with another shape.
        ours: The model's state dict.
        theirs: The file's.
    """
    return (
        _count_remedy(mismatched, ours)
        or _place_remedy(ours, theirs)
        or ("Give the checkpoint that belongs to this model, or the model that belongs to it.")
    )


def _place_remedy(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """Return a remedy if one side is a part of the other."""
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


def layer_of(key: str) -> tuple[str, str]:
    """Return the path of the layer that a key belongs to, and its name; a number is not a name."""
    path = key.rpartition(".")[0]
    return path, re.sub(r"\.\d+$", "", path).rpartition(".")[2]


def classes_of_classifier(
    key: str, rows: int, ours: Mapping[str, Any], changed: Collection[str]
) -> ClassCount | None:
    """Return the classes behind the rows of a classifier's last layer, by its usual names."""
    return ClassCount(rows) if layer_of(key)[1] in ("fc", "head", "classifier") else None


# How classes are counted by a layer's name; a task appends what its heads need.
CLASS_COUNTS: list[Counting] = [classes_of_classifier]


def classes_behind(
    key: str, rows: int, ours: Mapping[str, Any], changed: Collection[str]
) -> ClassCount | None:
    """Return the classes behind the rows of a layer, as the first of CLASS_COUNTS knows them.

    Args:
        key: Key of the layer's weight or bias.
        rows: Its rows.
        ours: The model's state dict.
        changed: Keys whose shapes differ.
    """
    found = (count(key, rows, ours, changed) for count in CLASS_COUNTS)
    return next((one for one in found if one is not None), None)


def _count_remedy(mismatched: Sequence[Mismatch], ours: Mapping[str, Any]) -> str:
    changed = {key for key, _, _ in mismatched}
    guess = ""
    for key, there, here in mismatched:
        if not there or not here or there[1:] != here[1:]:
            continue
        theirs, mine = (classes_behind(key, shape[0], ours, changed) for shape in (there, here))
        if not (theirs and mine and theirs.classes and mine.classes):
            continue
        sure = " if one row is the background" if mine.background else ""
        text = (
            f"The checkpoint has {theirs.classes} classes, the model {mine.classes}{sure} ({key}). "
            "Build the model with as many classes as the checkpoint."
        )
        if not mine.background:
            return text
        guess = guess or text
    return guess
