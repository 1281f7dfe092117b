"""What a dry run found: which layer has which shape, and where a connector is needed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from kd_core.layouts import Layouts
from kd_core.table import format_table
from kd_core.term import Features, Term

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
    connected: bool
    device: torch.device
    dtype: torch.dtype
    student_turned: bool = False
    teacher_turned: bool = False

    @property
    def is_map(self) -> bool:
        """Whether the student's feature is a map (N, C, H, W)."""
        return len(self.student_shape) == 4

    @property
    def key(self) -> str:
        """Name of the pair within its term: ``<role>_<level>``, or ``<level>`` without roles."""
        return connector_key(self.role, self.level)

    def cells(self) -> tuple[str, ...]:
        """Return the row as text."""
        change = f"{self.student_shape[1]} -> {self.teacher_shape[1]}" if self.connected else "-"
        return (
            self.term,
            self.role or "-",
            self.student_layer,
            _text(self.student_shape, self.student_turned),
            self.teacher_layer,
            _text(self.teacher_shape, self.teacher_turned),
            change,
        )


class ShapeTable:
    """All pairs of all terms; ``str`` gives an aligned table.

    Args:
        terms: Name to term.
        student: Term name, then role, to the features of the dry run.
        teacher: The same for the teacher.
        layouts: "student" and "teacher" to what was turned from (N, H, W, C): the table says it.

    Raises:
        ValueError: If a role has different numbers of levels on the two sides.
    """

    def __init__(
        self,
        terms: Mapping[str, Term],
        student: Mapping[str, Mapping[str, Features]],
        teacher: Mapping[str, Mapping[str, Features]],
        layouts: Mapping[str, Layouts] | None = None,
    ) -> None:
        self.rows = [
            _marked(row, layouts or {})
            for name, term in terms.items()
            for role in term.student
            for row in _rows(name, role, term, student[name][role], teacher[name][role])
        ]

    def __str__(self) -> str:
        """Return one line for each pair, under a head."""
        return "\n".join(format_table(_HEAD, (row.cells() for row in self.rows)))


def connector_key(role: str, level: int) -> str:
    """Name a pair within its term: ``<role>_<level>``, or ``<level>`` without roles."""
    return f"{role}_{level}" if role else str(level)


def _rows(name: str, role: str, term: Term, student: Features, teacher: Features) -> list[ShapeRow]:
    students = student if isinstance(student, list) else [student]
    teachers = teacher if isinstance(teacher, list) else [teacher]
    if len(students) != len(teachers):
        raise ValueError(
            f"term {name!r} selects {len(students)} levels of the student and {len(teachers)} of "
            "the teacher. Select as many layers on both sides."
        )
    layers = [", ".join(s.text for s in side[role]) for side in (term.student, term.teacher)]
    return [
        ShapeRow(
            term=name,
            role=role,
            level=level,
            student_layer=_layer(layers[0], level, len(students)),
            student_shape=tuple(one.shape),
            teacher_layer=_layer(layers[1], level, len(students)),
            teacher_shape=tuple(other.shape),
            connected=term.must_connect(role) and _differ(one, other),
            device=one.device,
            dtype=one.dtype,
        )
        for level, (one, other) in enumerate(zip(students, teachers, strict=True))
    ]


def _differ(student: torch.Tensor, teacher: torch.Tensor) -> bool:
    can_connect = student.ndim == teacher.ndim and student.ndim in (2, 4)
    return can_connect and student.shape[1] != teacher.shape[1]


def _layer(text: str, level: int, levels: int) -> str:
    return text if levels == 1 else f"{text} #{level}"


def _marked(row: ShapeRow, layouts: Mapping[str, Layouts]) -> ShapeRow:
    key = row.term, row.role, row.level
    turned = {side: found.is_turned(*key) for side, found in layouts.items()}
    return dataclasses.replace(
        row,
        student_turned=turned.get("student", False),
        teacher_turned=turned.get("teacher", False),
    )


def _text(shape: tuple[int, ...], turned: bool) -> str:
    return "x".join(map(str, shape)) + (" turned" if turned else "")
