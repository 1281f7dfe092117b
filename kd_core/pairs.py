"""Pairs of levels: of two pyramids those of one size, otherwise in their order."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from kd_core.layers import Features, levels_of
from kd_core.layouts import AllFeatures
from kd_core.masks import SCORES
from kd_core.term import Term

_Kept = dict[str, dict[str, Features]]
Pair = tuple[int, int]  # numbers of a level of the student and of one of the teacher


class LevelPairs:
    """Pairs of levels of every term and role, found once and then kept.

    A level of the student is paired with that of the teacher's whose height and width are the same
    within half an octave: levels of one stride, if both see one image size. That holds

    - where one layer gives all levels of a side, as ``neck[0:4]`` does, and those in order are not
      of one size: P2 to P5 against P3 to P6;
    - where the two sides have different numbers of levels, and one layer gives all of a side.

    Levels without a partner are left out. Everything else is paired in its order: layers that are
    named one by one, levels that are no maps, and pyramids that have no size in common.

    Args:
        terms: Name to term.
    """

    def __init__(self, terms: Mapping[str, Term]) -> None:
        self.terms = terms
        self._found: dict[tuple[str, str], list[Pair]] = {}
        self._notes: dict[tuple[str, str], str] = {}

    def select(self, student: AllFeatures, teacher: AllFeatures) -> tuple[_Kept, _Kept]:
        """Return the levels of both sides that are compared, in order.

        Args:
            student: Term, then role, to its features.
            teacher: The same.

        Raises:
            ValueError: If two sides have different numbers of levels and are not paired by size.
        """
        sides: tuple[_Kept, _Kept] = ({}, {})
        for term, roles in student.items():
            for side in sides:
                side[term] = {}
            for role, own in roles.items():
                other = teacher[term][role]
                pairs = self._pairs(term, role, levels_of(own), levels_of(other))
                several = isinstance(own, list) or isinstance(other, list)
                for axis, found in enumerate((own, other)):
                    levels = levels_of(found)
                    kept = [levels[pair[axis]] for pair in pairs]
                    sides[axis][term][role] = kept if several else kept[0]
            if SCORES in teacher[term]:
                sides[1][term][SCORES] = teacher[term][SCORES]
        return sides

    def of(self, term: str, role: str) -> list[Pair]:
        """Return the pairs of a term's role, once they are found."""
        return self._found[term, role]

    def notes(self) -> list[str]:
        """Return what a reader of the shapes should know, a sentence for each role."""
        return list(self._notes.values())

    def _pairs(
        self, term: str, role: str, student: list[Tensor], teacher: list[Tensor]
    ) -> list[Pair]:
        key = term, role
        if key not in self._found:
            self._found[key] = self._find(term, role, student, teacher)
        return self._found[key]

    def _find(
        self, term: str, role: str, student: list[Tensor], teacher: list[Tensor]
    ) -> list[Pair]:
        in_order = [(level, level) for level in range(min(len(student), len(teacher)))]
        equal = len(student) == len(teacher)
        alike = [_is_alike(student[one], teacher[other]) for one, other in in_order]
        if equal and (all(alike) or not _are_maps(student + teacher)):
            return in_order
        of = f"term {term!r}" + (f", role {role!r}" if role else "")
        same_size = _same_size(student, teacher)
        pyramids = [
            len(levels) > 1 and len(self.terms[term].layers(side)[role]) == 1
            for side, levels in (("student", student), ("teacher", teacher))
        ]
        by_size = all(pyramids) and len(same_size) > sum(alike) if equal else any(pyramids)
        if same_size and by_size:
            self._notes[term, role] = f"{of}: {_left_out(student, teacher, same_size)}"
            return same_size
        if equal:
            unlike = ", ".join(
                f"{tuple(student[one].shape)} with {tuple(teacher[one].shape)}"
                for one, good in enumerate(alike)
                if not good
            )
            self._notes[term, role] = (
                f"{of}: compares maps of unequal strides, {unlike}. If that is not meant, name the "
                "teacher's own in teacher_layers."
            )
            return in_order
        raise ValueError(
            f"term {term!r} selects {len(student)} levels of the student and {len(teacher)} of the "
            "teacher, and only levels of one layer, such as neck[0:4], are paired by their size, "
            f"where they share one: {_shapes(student)} and {_shapes(teacher)}. Select as many "
            "layers on both sides."
        )


def _same_size(student: list[Tensor], teacher: list[Tensor]) -> list[Pair]:
    """Pair levels of one size, each at most once, in the student's order."""
    pairs: list[Pair] = []
    free = list(range(len(teacher)))
    for one, own in enumerate(student):
        match = next((other for other in free if _is_alike(own, teacher[other])), None)
        if match is not None and _are_maps([own, teacher[match]]):
            pairs.append((one, match))
            free.remove(match)
    return pairs


def _is_alike(student: Tensor, teacher: Tensor) -> bool:
    if not _are_maps([student, teacher]):
        return student.dim() == teacher.dim()
    sizes = zip(student.shape[2:], teacher.shape[2:], strict=True)
    return all(abs(math.log2(own / other)) < 0.5 for own, other in sizes)


def _are_maps(levels: list[Tensor]) -> bool:
    return all(level.dim() == 4 for level in levels)


def _left_out(student: list[Tensor], teacher: list[Tensor], pairs: list[Pair]) -> str:
    said = "levels are paired by stride, that is by their size"
    for axis, name, levels in ((0, "the student's", student), (1, "the teacher's", teacher)):
        used = {pair[axis] for pair in pairs}
        rest = [f"#{one} {tuple(of.shape)}" for one, of in enumerate(levels) if one not in used]
        said += f"; {name} {', '.join(rest)} left out" if rest else ""
    return f"{said}."


def _shapes(levels: list[Tensor]) -> str:
    return ", ".join(str(tuple(level.shape)) for level in levels)
