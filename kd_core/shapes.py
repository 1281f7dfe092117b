"""Shapes of features: the table of a dry run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from kd_core.connectors import kind_for
from kd_core.layers import Features, levels_of
from kd_core.layouts import AllFeatures, Layouts
from kd_core.pairs import LevelPairs
from kd_core.table import format_table
from kd_core.term import Term

_HEAD = ("term", "role", "student layer", "shape", "teacher layer", "shape", "connector")


@dataclass(frozen=True)
class ShapeRow:
    """One pair of feature maps that a term compares."""

    term: str
    role: str
    level: int
    student_layer: str
    student_shape: tuple[int, ...]
    teacher_layer: str
    teacher_shape: tuple[int, ...]
    connector: str  # its kind, or empty
    device: torch.device
    dtype: torch.dtype
    student_layout: str = ""  # "turned" or "of tokens", if the layer gives another one
    teacher_layout: str = ""

    @property
    def key(self) -> str:
        """Name of the pair within its term: ``<role>_<level>``, or ``<level>`` without roles."""
        return connector_key(self.role, self.level)

    def cells(self) -> tuple[str, ...]:
        """Return the row as text."""
        change = f"{self.student_shape[1]} -> {self.teacher_shape[1]}" if self.connector else "-"
        if self.connector not in ("", kind_for(None, len(self.student_shape))):
            change = f"{self.connector} {change}"
        own, other = ("x".join(map(str, of)) for of in (self.student_shape, self.teacher_shape))
        own, other = (
            f"{own} {self.student_layout}".strip(),
            f"{other} {self.teacher_layout}".strip(),
        )
        layers = (self.student_layer, own, self.teacher_layer, other)
        return (self.term, self.role or "-", *layers, change)


class ShapeTable:
    """All pairs of all terms; ``str`` gives an aligned table.

    Args:
        terms: Name to term.
        student: Term name, then role, to the features of the dry run.
        teacher: The same for the teacher.
        layouts: "student" and "teacher" to their layouts; the table marks turned maps.
        pairs: Which level is paired with which; ``None`` for their order.

    Raises:
        ValueError: If a role has different numbers of levels on the two sides.
    """

    def __init__(
        self,
        terms: Mapping[str, Term],
        student: AllFeatures,
        teacher: AllFeatures,
        layouts: Mapping[str, Layouts] | None = None,
        pairs: LevelPairs | None = None,
    ) -> None:
        found = layouts or {side: Layouts(side) for side in ("student", "teacher")}
        pairs = pairs or LevelPairs(terms)
        student, teacher = pairs.select(student, teacher)
        self.notes = pairs.notes()
        self.rows = [
            row
            for name, term in terms.items()
            for role in term.student_layers
            for row in _rows(
                (name, role, term),
                (student[name][role], teacher[name][role]),
                found,
                pairs.of(name, role),
            )
        ]

    def __str__(self) -> str:
        """Return one line for each pair, under a head, and the notes."""
        lines = format_table(_HEAD, (row.cells() for row in self.rows))
        return "\n".join([*lines, *self.notes])


def connector_key(role: str, level: int) -> str:
    """Name a pair within its term: ``<role>_<level>``, or ``<level>`` without roles."""
    return f"{role}_{level}" if role else str(level)


def _rows(
    of: tuple[str, str, Term],
    features: tuple[Features, Features],
    layouts: Mapping[str, Layouts],
    pairs: list[tuple[int, int]],
) -> list[ShapeRow]:
    name, role, term = of
    rows = []
    compared = zip(*map(levels_of, features), pairs, strict=True)
    for level, (own, other, (one, another)) in enumerate(compared):
        several = isinstance(features[0], list)
        student, teacher = (
            ", ".join(layer.text for layer in layers[role]) + (f" #{number}" if several else "")
            for layers, number in ((term.student_layers, one), (term.teacher_layers, another))
        )
        rows.append(
            ShapeRow(
                term=name,
                role=role,
                level=level,
                student_layer=student,
                student_shape=tuple(own.shape),
                teacher_layer=teacher,
                teacher_shape=tuple(other.shape),
                connector=_connector(name, role, term, (own, other)),
                device=own.device,
                dtype=own.dtype,
                student_layout=layouts["student"].said(name, role, one),
                teacher_layout=layouts["teacher"].said(name, role, another),
            )
        )
    return rows


def _connector(name: str, role: str, term: Term, pair: tuple[Tensor, Tensor]) -> str:
    """Return the kind of the connector that a pair gets, or an empty string."""
    student, teacher = pair
    named = term.connector is not None and term.may_connect(role)
    if not named and not (term.must_connect(role) and student.ndim == teacher.ndim in (2, 4)):
        return ""
    if not named and student.shape[1] == teacher.shape[1]:
        return ""
    try:
        return kind_for(term.connector or term.default_connector, student.ndim)
    except ValueError as error:
        raise ValueError(f"term {name!r}: {error}") from error
